"""What a worker asks is built from what it knows, and the server's replies become our types."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Retention
from headrace.formats.codec import INLINE_BYTES
from headrace.formats.keys import Keys
from headrace_worker.protocol import dispatching, due, leases, reading, rescuing
from headrace_worker.protocol.dispatching import QueuesFull, RoutesStale
from headrace_worker.protocol.due import DueMember, Promoted
from headrace_worker.protocol.leases import Fenced, Renewed
from headrace_worker.protocol.rescuing import WorkerFacts
from tests.support.calls import arguments_of

KEYS = Keys("test")
P = KEYS.prefix


@pytest.mark.parametrize(
    ("member", "event_id", "stream", "wake_up"),
    [
        ("e:x", "x", "events", "events"),
        ("e:x:y/z é", "x:y/z é", "events", "events"),
        ("e::", ":", "events", "events"),
        ("r:default:x:app/job", "x", "queue:app/default", "wake-up:app"),
        ("r:q.1:a:b:app/c:shop/job-2", "a:b:app/c", "queue:shop/q.1", "wake-up:shop"),
    ],
)
def test_a_member_of_due_says_where_it_belongs(member: str, event_id: str, stream: str, wake_up: str) -> None:
    """Its record, its stream and its wake-up stream; an event's id may hold any character."""
    call = due.promote(KEYS, [member], 5)
    names = ["due", "events", f"event:{event_id}", stream, wake_up]
    assert list(call.args[2:8]) == [5, *(P + name for name in names)]
    assert arguments_of(call) == {"inline": INLINE_BYTES, "ahead": 5, "members": [member], "ordered": {}}
    assert due.event_of(member) == event_id


@pytest.mark.parametrize("key", ["k", "a:b", "é:1:", "r:q:x:app/job", "5:", "😀" * 256])
def test_a_member_of_a_run_with_an_ordering_key_names_it(key: str) -> None:
    """Whatever characters are in key and event id: the member alone names record, queue, wake-up stream and line."""
    member = due.member_of("q.1", "a:b/c:app/job", key)
    call = due.promote(KEYS, [member], 5)
    names = ["due", "events", "event:a:b/c", "queue:app/q.1", "wake-up:app", f"line:app/job:{key}"]
    assert list(call.args[2:9]) == [6, *(P + name for name in names)]
    assert due.line_of(KEYS, member) == f"{P}line:app/job:{key}"
    assert due.event_of(member) == "a:b/c"


def test_a_member_without_an_ordering_key_stands_in_no_turns() -> None:
    """Neither a run's nor an event's."""
    assert due.line_of(KEYS, due.member_of("q", "x:app/job")) is None
    assert due.line_of(KEYS, "e:x") is None
    assert due.line_of(KEYS, "hello") is None


_FOREIGN: list[bytes] = [
    b"", b"e", b"e:", b"x:y", b"r:", b"r:q", b"r:q:x", b"r:q::app/job", b"r::x:app/job", b"r:q:x:app", b"r:q:x:/job",
    b"r:q:x:app/", b"r:q:x:a/b/c", b"r:a b:x:app/job", b"r:q:x:a b/job", b"\xff", b"e:\xff", b"E:x",
    b"o:", b"o:1", b"o:1:k", b"o:1:k:", b"o:0::q:x:app/job", b"o:2:k:q:x:app/job", b"o:1:k:q:x:app",
    b"o:-1:k:q:x:app/job", b"o:9999999:k:q:x:app/job", b"o:x:k:q:x:app/job",
]  # fmt: skip


@pytest.mark.parametrize("member", _FOREIGN)
def test_what_headrace_did_not_write_into_due_is_told_apart(member: bytes) -> None:
    """As bytes, so that it can be taken out."""
    reply = [1000, 2, 1, [], b"e:x", b"5", member, b"6", b"r:q:x:app/job", b"7"]
    ahead = [DueMember("e:x", 5), DueMember("r:q:x:app/job", 7)]
    assert due.promote(KEYS, [], 5).read(reply) == Promoted(1000, 2, 1, ahead, [member])


def test_no_script_is_asked_to_move_what_is_no_member() -> None:
    """A key that only Headrace may touch is never made of it."""
    with pytest.raises(ValueError, match="is no member of due"):
        due.promote(KEYS, ["r:a b:x:app/job"], 5)
    assert due.event_of("hello") == ""


@pytest.mark.parametrize(
    ("score", "due_ms"), [(b"1.7e+12", 1_700_000_000_000), (b"inf", 2**53), (b"-inf", 0), (b"1.9", 1)]
)
def test_any_score_is_a_time(score: bytes, due_ms: int) -> None:
    """Also one that Headrace did not write."""
    assert due.promote(KEYS, [], 5).read([1, 0, 0, [], b"e:x", score]).ahead == [DueMember("e:x", due_ms)]


def test_a_renewal_says_what_the_worker_may_do() -> None:
    """Or that its name is fenced."""
    call = leases.renew(KEYS, "w", 15_000, "moves", dispatchers=8, keep_dead_ms=9_000)
    reply: list[Any] = [b"held", 1, 0, b"7", 4_000, [b"a"], [b"b", b"c"], 1_700_000_000_000, 1, 0, b"3", b"stop"]
    gives = Renewed(True, False, "7", 4_000, ["a"], ["b", "c"], 1_700_000_000_000, True, controls="3", wanted="stop")  # noqa: FBT003 - the struct's order
    assert call.read(reply) == gives
    assert call.read([b"fenced"]) == Fenced()


def test_a_dispatch_says_what_it_did_or_why_not() -> None:
    """Its answers are told apart by their first word."""
    call = dispatching.dispatch(KEYS, [], "1", Retention())
    assert call.read([b"done", 3, 5, 1]) == dispatching.Dispatched(3, 5, 1)
    assert call.read([b"stale", b"2"]) == RoutesStale()
    assert call.read([b"full"]) == QueuesFull()
    assert call.read([b"behind", 1, 3]) == dispatching.EventsBehind([0, 2])


def test_a_take_gives_each_queue_its_entries() -> None:
    """The script names queues by their places."""
    queues = [reading.queue_stream(KEYS, "app", name) for name in ("a", "b", "c")]
    shares = [reading.Share(queue, 5) for queue in queues]
    reply = [b"7", [3], 1, [[b"1-0", [b"e", b"x"]]], 3, [[b"2-0", None]]]
    taken = reading.take(KEYS, "w", shares, 5).read(reply)
    assert taken.entries == [(queues[0], [(b"1-0", [b"e", b"x"])]), (queues[2], [(b"2-0", None)])]
    assert (taken.controls, taken.limited) == ("7", frozenset({queues[2].key}))


def test_what_is_stored_of_a_worker() -> None:
    """Nothing, where its hash is gone."""
    call = rescuing.read_worker(KEYS, "w")
    assert call.read([b"app", b"app/a app/b"]) == WorkerFacts("app", ("app/a", "app/b"))
    assert call.read([b"app", None]) == WorkerFacts("app", ())
    assert call.read([None, None]) is None


def test_the_apps_are_those_of_the_queues() -> None:
    """Each once, in order."""
    assert dispatching.read_apps(KEYS).read([b"shop/b", b"app/a", b"shop/a"]) == ["app", "shop"]


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, "0.002"), (-1.0, "0.002"), (0.25, "0.250"), (5.0, "5.000")])
def test_a_wait_for_an_earlier_time_always_ends(seconds: float, asked: str) -> None:
    """BLPOP takes 0 for ever, and Redis 6.2 makes 0 of a millisecond."""
    assert due.listen_wake(KEYS, seconds).args == ("BLPOP", KEYS.wake, asked)
