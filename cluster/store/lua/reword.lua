-- Replace the letters of molecules that are dead. What has been accepted, or put back among the pending, is left alone.
-- KEYS, for each bucket: dead
-- ARGV, for each bucket: key, letter, key, letter, ...
-- Returns, for each bucket, how many letters were replaced.
return each_bucket(1, function(keys, arguments)
  local replaced = 0
  for i = 1, #arguments, 2 do
    if redis.call('HEXISTS', keys[1], arguments[i]) == 1 then
      local put = redis.pcall('HSET', keys[1], arguments[i], arguments[i + 1])
      if type(put) == 'table' then return failed(put) end
      replaced = replaced + 1
    end
  end
  return replaced
end)
