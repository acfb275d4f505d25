-- Count an attempt on each molecule of one bucket that is still pending, before the engine sees it.
-- KEYS: pending      ARGV: key, key, ...
-- Returns the attempts of each molecule, this one included; 0 where it is no longer pending.
local attempts = {}
for i, key in ipairs(ARGV) do
  attempts[i] = 0
  if redis.call('HEXISTS', KEYS[1], key) == 1 then
    local counted = redis.pcall('HINCRBY', KEYS[1], key, 1)
    if type(counted) == 'table' then return failed(counted) end
    attempts[i] = counted
  end
end
return attempts
