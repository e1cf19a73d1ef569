"""Each list that a script returns or trims has a bound, and times ahead are exact to the millisecond."""

from __future__ import annotations

import pytest

from headrace import ServerNotReady
from headrace.calls import sending
from headrace.model.retention import Retention
from headrace_worker.protocol import forgetting, leases, reading, settling
from headrace_worker.protocol.leases import Movement, Renewed
from headrace_worker.protocol.settling import Settled
from tests.scripts.cases.case import FUTURE, PAST, queue, run_line, seed_record, seed_run
from tests.scripts.cases.send.events import outgoing
from tests.scripts.state import Keyspace
from tests.support.calls import with_argument

pytestmark = pytest.mark.leaves_records

_LEASE_MS = 60_000
_KEEP_DEAD_MS = 100 * 366 * 86_400_000


def _seed_worker(keyspace: Keyspace, leader: str = f"w1 {FUTURE}") -> None:
    keyspace.seed("ZADD", "workers", FUTURE, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app")
    keyspace.seed("SET", "leader", leader)


def _renew(keyspace: Keyspace, movement: Movement = "moves") -> Renewed:
    keyspace.seed_now()
    call = leases.renew(keyspace.keys, "w1", _LEASE_MS, movement, dispatchers=8, keep_dead_ms=_KEEP_DEAD_MS)
    (renewed,) = keyspace.ask(call)
    assert isinstance(renewed, Renewed)
    return renewed


@pytest.mark.parametrize("key", ["workers", "dispatchers"])
def test_the_leader_hears_when_the_next_one_ends(keyspace: Keyspace, key: str) -> None:
    """The answer to the leader has the time until the next lease or dispatcher slot of another worker expires."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", key, keyspace.now_ms() + 20_000, "w9")
    assert 10_000 < _renew(keyspace).next_ms <= 20_000


def test_others_hear_when_the_leadership_ends(keyspace: Keyspace) -> None:
    """The answer to another worker has the time until the leadership expires, and no lease."""
    _seed_worker(keyspace, f"w0 {keyspace.now_ms() + 20_000}")
    keyspace.seed("ZADD", "workers", keyspace.now_ms() + 5_000, "w9")
    assert 10_000 < _renew(keyspace).next_ms <= 20_000


def test_the_leader_hears_when_the_quiet_time_ends(keyspace: Keyspace) -> None:
    """The answer to the leader has the rest of the quiet time, after which it may rescue."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "meta", "quiet", keyspace.now_ms() + 20_000)
    assert 10_000 < _renew(keyspace).next_ms <= 20_000


def test_ones_own_end_is_not_ahead(keyspace: Keyspace) -> None:
    """A slot that a stuck worker is about to lose is no reason to look sooner, and is not reported."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", "workers", keyspace.now_ms() + 5_000, "w1")
    keyspace.seed("ZADD", "dispatchers", keyspace.now_ms() + 5_000, "w1")
    assert _renew(keyspace, "stuck").next_ms == _LEASE_MS
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    renewed = _renew(keyspace, "stuck")
    assert renewed.expired == []
    assert not renewed.may_dispatch


def test_many_ends_are_told_in_parts(keyspace: Keyspace) -> None:
    """Of many expired leases the answer to the leader has the first ones, which are work enough."""
    _seed_worker(keyspace)
    for number in range(100):
        keyspace.seed("ZADD", "workers", PAST + number, f"v{number}")
    dead = _renew(keyspace).dead
    assert 10 <= len(dead) <= 20
    assert dead == [f"v{number}" for number in range(len(dead))]


def test_a_queue_that_is_gone_is_told(keyspace: Keyspace) -> None:
    """A take from a queue without its group fails so that the worker makes it again."""
    keyspace.seed_now()
    with pytest.raises(ServerNotReady) as caught:
        keyspace.ask(
            reading.take(
                keyspace.keys, "w1", [reading.Share(queue(keyspace, "gone"), 10), reading.Share(queue(keyspace), 0)], 10
            )
        )
    assert caught.value.code == "NOGROUP"


def test_dead_letters_go_with_their_retention(keyspace: Keyspace) -> None:
    """A new dead letter takes those with it that are older than failures are kept, but for a rest of a node."""
    for number in range(1, 501):
        keyspace.entry("dead", f"2-{number}", {"run": "r", "reason": "failed", "error": ""})
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed_now()
    (recorded,) = keyspace.ask(settling.settle(keyspace.keys, "w1", [Settled(run, "f", 0, "failed", b"")], Retention()))
    assert recorded.missed == []
    assert keyspace.count("dead") < 250


@pytest.mark.parametrize("stream", ["recent", "runs"])
def test_listings_are_bounded(keyspace: Keyspace, stream: str) -> None:
    """Where no worker leads, each script that adds to an index keeps it in bounds."""
    for number in range(1, 501):
        keyspace.entry(stream, f"2-{number}", {"x": "y"})
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed_now()
    sent = with_argument(sending.send(keyspace.keys, [outgoing("e2")], "tok"), "listed", 100)
    settled = settling.settle(keyspace.keys, "w1", [Settled(run, "s", 0, "", b"")], Retention())
    keyspace.ask(sent if stream == "recent" else with_argument(settled, "listed", 100))
    assert 100 <= keyspace.count(stream) < 250


@pytest.mark.parametrize("setting", [None, "100"], ids=["given", "set"])
@pytest.mark.parametrize("stream", ["recent", "runs"])
def test_an_index_is_trimmed(keyspace: Keyspace, stream: str, setting: str | None) -> None:
    """The leader hears that one has too much, by a whole node of the stream; then as many stay as are kept, about."""
    _seed_worker(keyspace)
    if setting:
        keyspace.seed("HSET", "meta", "index_entries", setting)
    listed = 20 if setting else 100  # what is set comes before what the caller says
    renew = leases.renew(keyspace.keys, "w1", _LEASE_MS, "moves", dispatchers=8, keep_dead_ms=_KEEP_DEAD_MS)
    forget = forgetting.forget(keyspace.keys, [], Retention(), 1)
    heard = []
    for first, last in ((1, 150), (151, 500)):
        for number in range(first, last + 1):
            keyspace.entry(stream, f"2-{number}", {"x": "y"})
        keyspace.seed_now()
        (renewed,) = keyspace.ask(with_argument(renew, "listed", listed))
        heard.append(isinstance(renewed, Renewed) and renewed.fades)
    assert heard == [False, True]
    before = keyspace.count(stream)
    (forgotten,) = keyspace.ask(with_argument(forget, "listed", listed))
    assert 100 <= keyspace.count(stream) < 250
    assert forgotten.trimmed == before - keyspace.count(stream)
    assert keyspace.ask(with_argument(forget, "listed", listed))[0].trimmed == 0
