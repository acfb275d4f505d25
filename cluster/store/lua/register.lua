-- Enter molecules into a run.
-- KEYS, for each bucket: accepted, dead, pending, members of the run, counters of the run
-- ARGV, for each bucket: key, owner, key, owner, ...   (an owner is the row that brought the molecule)
-- What the run counts goes to the counters of the first bucket.
-- Returns, for each bucket, a string with one character a molecule: '1' to be annotated, '0' already done, '2' a duplicate
-- of another row. Registering the same row again gives the same answer, so a task that is run again loses nothing.
local new = 0
local answers = each_bucket(1, function(keys, arguments)
  local answer, is_new = {}, redis.call('EXISTS', keys[4]) == 0
  for i = 1, #arguments, 2 do
    local key, owner = arguments[i], arguments[i + 1]
    local entered = redis.pcall('HSETNX', keys[4], key, owner)
    if type(entered) == 'table' then return failed(entered) end
    local mine = entered == 1 or redis.call('HGET', keys[4], key) == owner
    local todo = mine and redis.call('HEXISTS', keys[1], key) == 0 and redis.call('HEXISTS', keys[2], key) == 0
    if todo then redis.call('HSETNX', keys[3], key, 0) end
    if todo and entered == 1 then new = new + 1 end
    answer[#answer + 1] = todo and '1' or mine and '0' or '2'
  end
  if is_new then redis.call('EXPIRE', keys[4], run_seconds) end
  return table.concat(answer)
end)
if answers.err then return answers end
if new > 0 then count(KEYS[5], {todo = new}) end
return answers
