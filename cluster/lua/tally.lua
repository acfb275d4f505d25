-- Count how the members of a run in one bucket stand now.
-- KEYS: accepted, dead, members of the run      Returns members, accepted, dead.
local accepted, dead = 0, 0
local members = redis.call('HKEYS', KEYS[3])
for _, key in ipairs(members) do
  if redis.call('HEXISTS', KEYS[1], key) == 1 then accepted = accepted + 1
  elseif redis.call('HEXISTS', KEYS[2], key) == 1 then dead = dead + 1 end
end
return {#members, accepted, dead}
