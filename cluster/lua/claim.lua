-- Claim molecules for a run, and count an attempt on each, before the engine sees it.
-- KEYS, for each bucket: pending
-- ARGV: the run, the most attempts to count up to (0: any number), how many other runs are alive, those runs; then for
-- each bucket the molecules' keys
-- A pending molecule holds its attempts and, once it was claimed, a space and the run that did.
-- Returns, for each bucket, the attempts of each molecule; 0 where it is no longer pending, -1 where a run that is alive
-- holds it.
local run, most, others = ARGV[1], tonumber(ARGV[2]), {}
for i = 4, 3 + ARGV[3] do others[ARGV[i]] = true end
return each_bucket(4 + ARGV[3], function(keys, molecules)
  local answers = {}
  for number, molecule in ipairs(molecules) do
    local answer, pending = 0, redis.call('HGET', keys[1], molecule)
    if pending then
      local attempts, holder = string.match(pending, '^(%d+) ?(.*)$')
      if others[holder] then
        answer = -1
      else
        answer = tonumber(attempts)
        if most == 0 or answer < most then answer = answer + 1 end
        local put = redis.pcall('HSET', keys[1], molecule, answer .. ' ' .. run)
        if type(put) == 'table' then return failed(put) end
      end
    end
    answers[number] = answer
  end
  return answers
end)
