-- Move molecules of one bucket to accepted or dead. The first accepted record wins; what comes later changes nothing.
-- KEYS: accepted, dead, pending, counters of the run
-- ARGV: key, 'accepted' | 'dead', value, prompt tokens, completion tokens, ...
-- Returns how many molecules moved.
local moved = 0
for i = 1, #ARGV, 5 do
  local key, outcome, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local changed = 0
  if outcome == 'accepted' then
    changed = redis.pcall('HSETNX', KEYS[1], key, value)
    if type(changed) == 'table' then return failed(changed) end
    if changed == 1 then redis.call('HDEL', KEYS[2], key) end
  elseif redis.call('HEXISTS', KEYS[1], key) == 0 and redis.call('HEXISTS', KEYS[2], key) == 0 then
    changed = redis.pcall('HSET', KEYS[2], key, value)
    if type(changed) == 'table' then return failed(changed) end
  end
  redis.call('HDEL', KEYS[3], key)
  if changed == 1 then redis.call('HINCRBY', KEYS[4], outcome, 1) end
  redis.call('HINCRBY', KEYS[4], 'prompt_tokens', ARGV[i + 3])
  redis.call('HINCRBY', KEYS[4], 'completion_tokens', ARGV[i + 4])
  moved = moved + changed
end
return moved
