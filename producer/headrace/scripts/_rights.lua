-- Why a script must not begin: its user may not call one of these commands, each of which it may come to; nil if it may.
-- The server asks for a right only when a script comes to the command, and what was written before that would stay.
-- Redis 6.2 can't be asked. To try a command there would be the script's first write, by which a full server judges it.
local function lacking(stream, ...)
  for _, command in ipairs(redis.acl_check_cmd and { ... } or {}) do
    if not redis.acl_check_cmd(command, stream) then
      return { err = 'NOPERM this script comes to ' .. command .. ', which the user may not call' }
    end
  end
end
