-- Returns the error if the user lacks the right to one of these commands, which the script may call later; else nil.
-- The server checks a right only when a script reaches the command, and earlier writes of the script would stay.
-- Redis 6.2 has no such check: to try a command there would be the script's first write, by which a full server judges
-- the script.
-- Redis 8.10 checks a command only with its fewest arguments; this is how many of them follow the key.
local arguments_of = {
  XACK = 2, XADD = 3, XCLAIM = 4, XDEL = 1, HSET = 2, HDEL = 1, HINCRBY = 2, PEXPIRE = 1, PERSIST = 0, DEL = 0, LPOP = 0,
  XTRIM = 2, LREM = 2, RPUSH = 1, SADD = 1, SET = 1, INCR = 0, ZADD = 2, ZREM = 1,
}
local any = { '1', '1', '1', '1' }
local function lacking(stream, ...)
  for _, command in ipairs(redis.acl_check_cmd and { ... } or {}) do
    local may
    if command == 'XGROUP SETID' then
      may = redis.acl_check_cmd('XGROUP', 'SETID', stream, '1', '1')
    else
      may = redis.acl_check_cmd(command, stream, unpack(any, 1, arguments_of[command]))
    end
    if not may then
      return { err = 'NOPERM this script comes to ' .. command .. ', which the user may not call' }
    end
  end
end
