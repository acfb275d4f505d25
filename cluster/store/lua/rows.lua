-- Note rows of one source as read, and some of them as invalid. Noting a row twice counts it once; the last word on whether
-- it is valid counts.
-- KEYS: bitmap of rows, bitmap of invalid rows, letters of the run
-- ARGV: number of the source, how many stretches of rows, first and last row of each, then row, field, letter for each
-- invalid row
local is_new = {}
for number, key in ipairs(KEYS) do is_new[number] = redis.call('EXISTS', key) == 0 end
local letters = 3 + 2 * ARGV[2]
for i = 3, letters - 1, 2 do
  for row = ARGV[i], ARGV[i + 1] do
    local noted = redis.pcall('SETBIT', KEYS[1], row, 1)
    if type(noted) == 'table' then return failed(noted) end
    if not is_new[2] and redis.call('GETBIT', KEYS[2], row) == 1 then
      redis.call('SETBIT', KEYS[2], row, 0)
      redis.call('HDEL', KEYS[3], ARGV[1] .. ':' .. row)
    end
  end
end
for i = letters, #ARGV, 3 do
  redis.call('SETBIT', KEYS[2], ARGV[i], 1)
  redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i + 2])
end
for number, key in ipairs(KEYS) do
  if is_new[number] then redis.call('EXPIRE', key, run_seconds) end
end
return redis.status_reply('OK')
