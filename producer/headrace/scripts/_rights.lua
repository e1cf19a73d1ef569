-- Why a script must not begin: its user may not call one of these commands, each of which it may come to; nil if it may.
-- The server asks for a right only when a script comes to the command, and what was written before that would stay.
-- Redis 6.2 can't be asked. To try a command there would be the script's first write, by which a full server judges it.
-- Redis 8.10 wants as many arguments as the command takes at least; this is how many follow the key.
local arguments_of = {
  XACK = 2, XADD = 3, XDEL = 1, HSET = 2, HDEL = 1, HINCRBY = 2, PEXPIRE = 1, PERSIST = 0, DEL = 0, LPOP = 0, LREM = 2,
  RPUSH = 1, SADD = 1, SET = 1, INCR = 0, ZADD = 2, ZREM = 1,
}
local any = { '1', '1', '1' }
local function lacking(stream, ...)
  for _, command in ipairs(redis.acl_check_cmd and { ... } or {}) do
    if not redis.acl_check_cmd(command, stream, unpack(any, 1, arguments_of[command])) then
      return { err = 'NOPERM this script comes to ' .. command .. ', which the user may not call' }
    end
  end
end
