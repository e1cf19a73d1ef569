"""docs/security.md says what each user of deploy/acl can do with its rights that it should not; here each does it.

Every row of the page's table is an attempt, made by each of the three users on a namespace that is in use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from redis.exceptions import NoPermissionError

from headrace import Client, Event, PermissionMissing
from headrace.formats.codec import INLINE_BYTES, encode_event
from headrace.scripts import load
from headrace.transport.faults import translate
from tests.scripts import users
from tests.scripts.cases import seed_bystanders
from tests.scripts.limits import Limits

_PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_USERS = ("sender", "producer", "worker")
_OURS, _THEIRS = "headrace:{limited:0}:", "headrace:{other:0}:"
_BODY = encode_event("user.new", "shop", 0, "forged", None, None)

Attempt = Callable[[redis.Redis, Limits], Any]
ATTEMPTS: dict[str, Attempt] = {}


def _attempt(row: str) -> Callable[[Attempt], Attempt]:
    def add(attempt: Attempt) -> Attempt:
        ATTEMPTS[row] = attempt
        return attempt

    return add


@_attempt("send events of any name, source, account and payload")
def _(_user: redis.Redis, limits: Limits) -> Any:
    with Client(limits.url, namespace="limited", attempts=1) as client:
        return client.send_event(Event("any", "thing", source="any"), account_id="any").delivered_at


@_attempt("send as many as the server has memory for")
def _(_user: redis.Redis, limits: Limits) -> Any:
    with Client(limits.url, namespace="limited", attempts=1) as client:
        return len(client.send_events([Event("flood", "x" * 100)] * 2_000)) == 2_000


@_attempt("run Lua of its own, and so keep the server busy as long as it likes")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command("EVAL", "local n = 0 for i = 1, 1000 do n = n + i end return n", 0)


@_attempt("read the payload of an event whose id it knows")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.hget(f"{_OURS}event:dispatching", "e")


@_attempt("list the ids of delayed events, read them, bring them forward or keep them from being delivered")
def _(user: redis.Redis, _limits: Limits) -> Any:
    (member, *_) = user.execute_command("ZRANGE", f"{_OURS}due", 0, -1)
    user.execute_command("ZADD", f"{_OURS}due", 1, member)
    return member == b"e:later" and user.execute_command("ZREM", f"{_OURS}due", member)


@_attempt("write what it likes into the record of an event whose id it knows, outcomes of its runs included")
def _(user: redis.Redis, _limits: Limits) -> Any:
    record = f"{_OURS}event:executing"
    user.execute_command("HSET", record, "r:app/job", "s 1 0 0 0 default 1-0 - 1 2")
    return user.execute_command("HGET", record, "r:app/job").startswith(b"s ")


@_attempt("list the ids and names of all recently sent events")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command("XRANGE", f"{_OURS}recent", "-", "+")


@_attempt("read queues and dead letters")
def _(user: redis.Redis, _limits: Limits) -> Any:
    queue = user.execute_command("XRANGE", f"{_OURS}queue:app/default", "-", "+")
    return queue and user.execute_command("XRANGE", f"{_OURS}dead", "-", "+")


@_attempt("send an event to one job, past its filters")
def _(user: redis.Redis, _limits: Limits) -> Any:
    body = encode_event("user.new", "shop", 0, "forged", None, None, job="app/job")
    return user.execute_command("XADD", f"{_OURS}events", "*", "i", "forged", "z", len(body), "b", body)


@_attempt("start a run of any job, past its trigger")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command("XADD", f"{_OURS}queue:app/default", "*", "e", "e", "j", "job", "s", "", "b", _BODY)


@_attempt("delete entries of queues, and records")
def _(user: redis.Redis, _limits: Limits) -> Any:
    gone = user.execute_command("XDEL", f"{_OURS}queue:app/default", "1-0")
    return gone and user.execute_command("DEL", f"{_OURS}event:executing")


@_attempt("change which jobs receive which events")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command("HSET", f"{_OURS}routes:app", "s:f1", "none") or True


@_attempt("end a worker's lease, so that other workers get its runs")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command("ZADD", f"{_OURS}workers", "CH", 1, "w0")


@_attempt("fetch runs as a worker does, with their payloads")
def _(user: redis.Redis, _limits: Limits) -> Any:
    return user.execute_command(
        "XREADGROUP", "GROUP", "workers", "thief", "STREAMS", f"{_OURS}queue:app/default", "0"
    )  # fmt: skip


@_attempt("settle a run, or run any other script of a worker that acknowledges")
def _(user: redis.Redis, _limits: Limits) -> Any:
    keys = (f"{_OURS}queue:app/default", f"{_OURS}dead", f"{_OURS}runs", f"{_OURS}fading")
    policy = {"success": 60_000, "failure": 60_000, "dedupe": {}, "channel": ""}
    entry = {"group": "workers", "entry": "1-0", "reason": "forged", "error": ""}
    arguments = {"policy": policy, "listed": 100, **entry, "id": "", "job": "", "member": ""}
    argv = (msgspec.msgpack.encode(arguments), "")
    return user.execute_command("EVAL", load("dead_letter").text, len(keys), *keys, *argv)


@_attempt("touch another namespace, or any key that is not Headrace's")
def _(user: redis.Redis, _limits: Limits) -> Any:
    for key in (f"{_THEIRS}events", f"{_THEIRS}event:e", "session:1"):
        for command in (("HGET", key, "e"), ("HSET", key, "e", "x"), ("XADD", key, "*", "a", "b")):
            try:
                return user.execute_command(*command)
            except NoPermissionError:
                continue
    send = load("send")
    names = [f"{_OURS}{name}" for name in ("events", "due", "wake", "recent")]
    call = {"token": "t", "listed": 10, "inline": INLINE_BYTES, "ordering_key": "", "events": [("e", "c", "", "n", 1)]}
    argv = (msgspec.msgpack.encode(call), _BODY)
    return user.execute_command("EVAL", send.text, 5, *names, f"{_THEIRS}event:e", *argv)


@_attempt("search for keys, change settings or users, stop or empty the server, monitor other users")
def _(user: redis.Redis, _limits: Limits) -> Any:
    commands = (
        "KEYS *", "SCAN 0", "CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL WHOAMI", "FLUSHALL", "FLUSHDB",
        "SHUTDOWN", "MONITOR", "SCRIPT FLUSH", "SCRIPT KILL", "CLIENT LIST", "DEBUG SLEEP 0", "SELECT 1", "SWAPDB 0 1",
        "MIGRATE h 1 k 0 1", "REPLICAOF NO ONE", "MODULE LIST", "PSUBSCRIBE *", "RENAME a b", "DUMP a", "SAVE",
    )  # fmt: skip
    return [command for command in commands if not _is_denied(user, *command.split())]


def _is_denied(user: redis.Redis, *command: str) -> bool:
    try:
        user.execute_command(*command)
    except NoPermissionError:
        return True
    return False


def table() -> dict[str, list[str]]:
    """Return the rows of the page's table: what, and for each user whether it can."""
    rows = re.findall(r"^\| (.*?) \| (yes|no) \| (yes|no) \| (yes|no) \|$", _PAGE.read_text("utf-8"), re.MULTILINE)
    return {row[0]: list(row[1:]) for row in rows}


@pytest.fixture
def attacked(limits: Limits) -> Iterator[Limits]:
    """A namespace that is in use, and another."""
    limits.keyspace.empty()
    seed_bystanders(limits.keyspace)
    limits.keyspace.seed_now()
    admin = limits.keyspace.admin
    admin.hset(f"{_THEIRS}event:e", "e", "theirs")
    yield limits
    assert admin.hget(f"{_THEIRS}event:e", "e") == b"theirs"
    limits.keyspace.empty()


def test_the_page_names_what_is_tried() -> None:
    """Each row of the table has its attempt, and each attempt its row."""
    assert list(table()) == list(ATTEMPTS)


@pytest.mark.parametrize("user", _USERS)
@pytest.mark.parametrize("row", ATTEMPTS)
def test_each_user_can_do_what_the_page_says(row: str, user: str, attacked: Limits) -> None:
    """And what the page says it can't do is refused by the server, for want of a right."""
    attacked.allow(*users.rules_for_the_limited(f"headrace-{user}"))
    with redis.Redis.from_url(attacked.url) as client:
        try:
            result = ATTEMPTS[row](client, attacked)
        except redis.ResponseError as exc:
            if not isinstance(translate(exc), PermissionMissing):
                raise
            result = None
    assert ("yes" if result else "no") == table()[row][_USERS.index(user)]
