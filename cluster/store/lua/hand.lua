-- Note that a ready engine has molecules in its hands now. What somebody else has claimed meanwhile is left alone.
-- KEYS, for each bucket: pending
-- ARGV: the run; then for each bucket key, claim, key, claim, ...
-- Returns, for each bucket, how many were noted.
local run = ARGV[1]
return each_bucket(2, function(keys, arguments)
  local noted = 0
  for i = 1, #arguments, 2 do
    local molecule, claim = arguments[i], arguments[i + 1]
    local pending = redis.call('HGET', keys[1], molecule)
    local lost = pending and string.match(pending, '^(%d+)')
    if lost and pending == lost .. ' ' .. run .. ' ' .. claim then
      local put = redis.pcall('HSET', keys[1], molecule, pending .. ' engine')
      if type(put) == 'table' then return failed(put) end
      noted = noted + 1
    end
  end
  return noted
end)
