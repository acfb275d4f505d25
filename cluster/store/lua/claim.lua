-- Claim molecules for a run. Claiming holds a molecule; it counts nothing but the loss of whoever held it before.
-- KEYS, for each bucket: pending
-- ARGV: the run, the claim (an id that a repeated call keeps), how many other runs are alive, those runs, how many runs
-- ended in good order, those runs; then for each bucket the molecules' keys
-- A pending molecule holds how often it was lost in an engine's hands and, once it was claimed, the run and the claim that
-- did, and "engine" from when a ready engine has it.
-- Returns, for each bucket, the losses of each molecule; -1 where it is no longer pending, -2 where a run that is alive
-- holds it.
local run, claim, alive, well = ARGV[1], ARGV[2], {}, {}
local next_argument = 3
for _, set in ipairs({alive, well}) do
  local size = tonumber(ARGV[next_argument])
  for i = next_argument + 1, next_argument + size do set[ARGV[i]] = true end
  next_argument = next_argument + size + 1
end
return each_bucket(next_argument, function(keys, molecules)
  local answers = {}
  for number, molecule in ipairs(molecules) do
    local answer, pending = -1, redis.call('HGET', keys[1], molecule)
    if pending then
      local lost, holder, its_claim, place = string.match(pending, '^(%d+) ?(%S*) ?(%S*) ?(%S*)$')
      if alive[holder] then
        answer = -2
      else
        answer = tonumber(lost)
        -- Another claim handed it to an engine, and whoever made that claim is no more. A run that ended in good
        -- order is no evidence against what it then had in hand.
        if place == 'engine' and its_claim ~= claim and not well[holder] then answer = answer + 1 end
        if its_claim ~= claim then
          local put = redis.pcall('HSET', keys[1], molecule, answer .. ' ' .. run .. ' ' .. claim)
          if type(put) == 'table' then return failed(put) end
        end
      end
    end
    answers[number] = answer
  end
  return answers
end)
