-- Why a script must not begin: its user may not call one of these commands, each of which it may come to; nil if it may.
-- The server asks for a right only when a script comes to the command, and what was written before that would stay.
-- Redis 6.2 can't be asked: there a command is tried with arguments that it refuses before it looks at the key, or that
-- change nothing. DEL and some others have no such use, nor has RPUSH but on a stream that holds something.
local REFUSED = {
  HDEL = { '' }, HINCRBY = { '', 'x' }, HSET = { '', '', '' }, LPOP = { 'x' }, LREM = { 'x', '' }, PEXPIRE = { 'x' },
  RPUSH = { '' }, SET = { '', 'x' }, XADD = { 'x', 'r', '' }, XDEL = { '0-1' }, ZADD = { 'x', '' }, ZREM = { '' },
}
local function is_denied(stream, command)
  if redis.acl_check_cmd then
    return not redis.acl_check_cmd(command, stream)
  end
  if command == 'RPUSH' and redis.call('XLEN', stream) == 0 then
    return false
  end
  local tried = REFUSED[command] and redis.pcall(command, stream, unpack(REFUSED[command]))
  local err = type(tried) == 'table' and tried.err or ''
  return string.find(err, "can't run this command", 1, true) or string.find(err, 'no permissions', 1, true)
end
local function lacking(stream, ...)
  for _, command in ipairs({ ... }) do
    if is_denied(stream, command) then
      return { err = 'NOPERM this script comes to ' .. command .. ', which the user may not call' }
    end
  end
end
