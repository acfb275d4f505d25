-- Claim molecules of one bucket for a run, and count an attempt on each, before the engine sees it.
-- KEYS: pending
-- ARGV: the run, how many other runs are alive, those runs, then the molecules' keys
-- A pending molecule holds its attempts and, once it was claimed, a space and the run that did.
-- Returns the attempts of each molecule, this one included; 0 where it is no longer pending, -1 where a run that is
-- alive holds it.
local run, others = ARGV[1], {}
for i = 3, 2 + ARGV[2] do others[ARGV[i]] = true end
local answers = {}
for i = 3 + ARGV[2], #ARGV do
  local answer, pending = 0, redis.call('HGET', KEYS[1], ARGV[i])
  if pending then
    local attempts, holder = string.match(pending, '^(%d+) ?(.*)$')
    if others[holder] then
      answer = -1
    else
      answer = attempts + 1
      local put = redis.pcall('HSET', KEYS[1], ARGV[i], answer .. ' ' .. run)
      if type(put) == 'table' then return failed(put) end
    end
  end
  answers[#answers + 1] = answer
end
return answers
