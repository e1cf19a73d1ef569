"""The calls that try each command and each key once, to find the rights that a worker's user lacks. Pure.

A script does not roll back. On a server that can't report rights in advance (Redis 6.2), a script that lacks a right
ends half done. So a worker tries every command before it starts. `script_check`, which runs every script, can't replace
this list: one run of a script does not reach each of its branches. Nor can the list come from the scripts: a command
needs arguments with which it does no harm. A test compares the list with the scripts and with deploy/acl.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.calls.call import Argument, Call
from headrace.formats.keys import Keys


def try_commands(keys: Keys) -> list[Call[object]]:
    """Return a harmless use of each command that scripts and loops use, in the order in which to try them."""
    record, stream, queues, due, wake = keys.event("e"), keys.events, keys.queues, keys.due, keys.wake
    commands: list[tuple[Argument, ...]] = [
        ("SET", keys.leader, "x"), ("GET", keys.leader), ("INCR", keys.routes_version), ("TIME",),
        ("HSET", record, "n", 1, "x", 1), ("HGET", record, "n"), ("HMGET", record, "n"), ("HGETALL", record),
        ("HEXISTS", record, "n"), ("HINCRBY", record, "n", 1), ("HDEL", record, "x"),
        ("PEXPIRE", record, 60_000), ("PERSIST", record), ("PTTL", record), ("PUBLISH", keys.settled_channel("e"), ""),
        ("SADD", queues, "x"), ("SCARD", queues), ("SMEMBERS", queues),
        ("ZADD", due, 1, "x"), ("ZCARD", due), ("ZSCORE", due, "x"), ("ZCOUNT", due, 0, 1), ("ZRANGE", due, 0, 0),
        ("ZRANGEBYSCORE", due, 0, 1), ("ZREM", due, "x"),
        ("LPUSH", wake, "x"), ("LLEN", wake), ("BLPOP", wake, 1), ("RPUSH", wake, "x"), ("LINDEX", wake, 0),
        ("LPOS", wake, "x"), ("LRANGE", wake, 0, 0), ("LPOP", wake), ("LREM", wake, 1, "x"),
        ("XADD", stream, "*", "x", ""), ("XLEN", stream), ("XRANGE", stream, "-", "+", "COUNT", 1),
        ("XGROUP", "CREATE", stream, "g", "0"), ("XGROUP", "SETID", stream, "g", "0"),
        ("XREADGROUP", "GROUP", "g", "x", "COUNT", 1, "STREAMS", stream, ">"),
        ("XPENDING", stream, "g", "-", "+", 1), ("XINFO", "CONSUMERS", stream, "g"), ("XACK", stream, "g", "0-1"),
        ("XCLAIM", stream, "g", "x", 0, "0-1", "JUSTID"), ("XDEL", stream, "0-1"), ("XTRIM", stream, "MAXLEN", "~", 1),
        ("XGROUP", "DELCONSUMER", stream, "g", "x"), ("EVAL", "return 0", 1, stream), ("DEL", record),
    ]  # fmt: skip
    return [Call(command, _as_it_is) for command in commands]


def try_client() -> Call[object]:
    """Return the call that each connection of a worker makes when it opens."""
    return Call(("CLIENT", "ID"), _as_it_is)


def try_keys(keys: Sequence[str], channel: str) -> list[Call[object]]:
    """Return, for each key in order and then for the channel, a write that changes nothing: no such key has a TTL."""
    return [*(Call(("PERSIST", key), _as_it_is) for key in keys), Call(("PUBLISH", channel, ""), _as_it_is)]


def every_key(keys: Keys, app: str, queues: Sequence[str], name: str) -> list[str]:
    """Return all keys of a worker of that name: of its app, its queues, and an event of the same name."""
    return [
        keys.events, keys.due, keys.wake, keys.recent, keys.runs, keys.dead, keys.queues, keys.routes_version,
        keys.workers, keys.leader, keys.dispatchers, keys.meta, keys.fading, keys.controls, keys.event(name),
        keys.worker(name), keys.wake_up(app), keys.routes(app), keys.order(name), keys.line(f"{app}/{name}", name),
        keys.tally(0),
        *(keys.queue(app, queue) for queue in queues),
    ]  # fmt: skip


def _as_it_is(reply: object) -> object:
    return reply
