-- Stands in front of the other scripts, after `run_seconds`.

-- Redis says in which line of a script a command failed; without that, the reply begins with the error's own code (OOM,
-- say), by which clients tell errors apart.
local function failed(reply)
  return redis.error_reply((string.gsub(reply.err, '^@user_script: ?%d+: %-?', '')))
end

-- Add to the counters of a run. What a step makes new of a run's keys expires, unless the run, or whoever finds it lost,
-- renews it: so what comes late, after the run's end, does not stay for ever.
local function count(key, counted)
  local is_new = redis.call('EXISTS', key) == 0
  for name, number in pairs(counted) do
    if number > 0 then redis.call('HINCRBY', key, name, number) end
  end
  if is_new then redis.call('EXPIRE', key, run_seconds) end
end

-- Do a step for each bucket of a call. KEYS are those of one bucket after those of the other, equally many for each;
-- ARGV, from `first` on, holds for each bucket how many arguments it has, and then these.
-- Returns what the steps return, or the error of the first that fails.
local function each_bucket(first, step)
  local buckets, i = {}, first
  while i <= #ARGV do
    buckets[#buckets + 1] = i
    i = i + ARGV[i] + 1
  end
  local width, answers = #KEYS / #buckets, {}
  for number, start in ipairs(buckets) do
    local keys, arguments = {}, {}
    for k = 1, width do keys[k] = KEYS[(number - 1) * width + k] end
    for a = 1, ARGV[start] do arguments[a] = ARGV[start + a] end
    local answer = step(keys, arguments)
    if type(answer) == 'table' and answer.err then return answer end
    answers[number] = answer
  end
  return answers
end
