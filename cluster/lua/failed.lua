-- Stands in front of the other scripts. Redis says in which line of a script a command failed; without that, the reply
-- begins with the error's own code (OOM, say), by which clients tell errors apart.
local function failed(reply)
  return redis.error_reply((string.gsub(reply.err, '^@user_script: ?%d+: %-?', '')))
end
