-- Count how the members of a run in one bucket stand now.
-- KEYS: accepted, dead, pending, members of the run      ARGV: other runs
-- Returns members, accepted, dead, and how many of the others, the pending, are held by one of those runs.
local others, accepted, dead, held = {}, 0, 0, 0
for _, other in ipairs(ARGV) do others[other] = true end
local members = redis.call('HKEYS', KEYS[4])
for _, key in ipairs(members) do
  if redis.call('HEXISTS', KEYS[1], key) == 1 then accepted = accepted + 1
  elseif redis.call('HEXISTS', KEYS[2], key) == 1 then dead = dead + 1
  elseif ARGV[1] then
    local pending = redis.call('HGET', KEYS[3], key)
    if pending and others[string.match(pending, '^%d+ (%S+)')] then held = held + 1 end
  end
end
return {#members, accepted, dead, held}
