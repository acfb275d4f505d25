-- Enter molecules of one bucket into a run.
-- KEYS: accepted, dead, pending, members of the run, counters of the run
-- ARGV: key, owner, key, owner, ...   (an owner is the row that brought the molecule)
-- Returns a string with one character a molecule: '1' to be annotated, '0' not (a duplicate, or already done).
-- Registering the same row again gives the same answer, so a task that is run again loses nothing.
local answer = {}
for i = 1, #ARGV, 2 do
  local key, owner = ARGV[i], ARGV[i + 1]
  local entered = redis.pcall('HSETNX', KEYS[4], key, owner)
  if type(entered) == 'table' then return failed(entered) end
  local mine = entered == 1 or redis.call('HGET', KEYS[4], key) == owner
  local todo = mine and redis.call('HEXISTS', KEYS[1], key) == 0 and redis.call('HEXISTS', KEYS[2], key) == 0
  if todo then redis.call('HSETNX', KEYS[3], key, 0) end
  if todo and entered == 1 then redis.call('HINCRBY', KEYS[5], 'todo', 1) end
  answer[#answer + 1] = todo and '1' or '0'
end
return table.concat(answer)
