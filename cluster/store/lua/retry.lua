-- Put the dead letters of one bucket back among the pending, with their attempts forgotten.
-- KEYS: dead, pending      Returns how many.
local keys = redis.call('HKEYS', KEYS[1])
for _, key in ipairs(keys) do
  local put = redis.pcall('HSET', KEYS[2], key, 0)
  if type(put) == 'table' then return failed(put) end
  redis.call('HDEL', KEYS[1], key)
end
return #keys
