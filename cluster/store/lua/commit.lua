-- Move molecules to accepted or dead. The first accepted record wins; what comes later changes nothing.
-- KEYS, for each bucket: accepted, dead, pending, counters of the run
-- ARGV, for each bucket: prompt tokens, completion tokens, then key, 'accepted' | 'dead', value, key, ...
-- What the run counts goes to the counters of the first bucket.
-- Returns, for each bucket, how many molecules moved.
local counted = {accepted = 0, dead = 0, prompt_tokens = 0, completion_tokens = 0}
local answers = each_bucket(1, function(keys, arguments)
  local moved = 0
  counted.prompt_tokens = counted.prompt_tokens + arguments[1]
  counted.completion_tokens = counted.completion_tokens + arguments[2]
  for i = 3, #arguments, 3 do
    local molecule, outcome, value = arguments[i], arguments[i + 1], arguments[i + 2]
    local changed = 0
    if outcome == 'accepted' then
      changed = redis.pcall('HSETNX', keys[1], molecule, value)
      if type(changed) == 'table' then return failed(changed) end
      if changed == 1 then redis.call('HDEL', keys[2], molecule) end
    elseif redis.call('HEXISTS', keys[1], molecule) == 0 and redis.call('HEXISTS', keys[2], molecule) == 0 then
      changed = redis.pcall('HSET', keys[2], molecule, value)
      if type(changed) == 'table' then return failed(changed) end
    end
    redis.call('HDEL', keys[3], molecule)
    counted[outcome] = counted[outcome] + changed
    moved = moved + changed
  end
  return moved
end)
if answers.err then return answers end
count(KEYS[4], counted)
return answers
