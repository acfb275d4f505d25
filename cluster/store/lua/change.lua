-- Replace a field of a hash, unless it is no more what it was.
-- KEYS: the hash      ARGV: the field, what it was, what it is to be      Returns 1, or 0 where it is something else.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local put = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[3])
if type(put) == 'table' then return failed(put) end
return 1
