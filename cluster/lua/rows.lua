-- Note rows of one source as read, and some of them as invalid. Noting a row twice counts it once.
-- KEYS: bitmap of rows, bitmap of invalid rows, letters of the run
-- ARGV: first row, last row, then row, field, letter for each invalid row
for row = ARGV[1], ARGV[2] do
  local noted = redis.pcall('SETBIT', KEYS[1], row, 1)
  if type(noted) == 'table' then return failed(noted) end
end
for i = 3, #ARGV, 3 do
  redis.call('SETBIT', KEYS[2], ARGV[i], 1)
  redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i + 2])
end
return redis.status_reply('OK')
