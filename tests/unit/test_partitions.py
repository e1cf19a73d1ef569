"""An event's partition is always the same, and all partitions are used alike."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from headrace import ConfigurationError, Event, PermissionMissing, ServerNotReady
from headrace.formats import codec
from headrace.formats.partitions import Partitions
from headrace.lists import dead_letters, runs
from headrace.lists.dead_letters import DeadLetterFilter
from headrace.lists.runs import RunFilter
from headrace.model.event import DeadLetter
from headrace.plans import send
from headrace.plans.checks import check_server
from headrace.plans.plan import Plan
from headrace.plans.prepare import SendOptions, prepare

FOUR = Partitions("prod", 4)


def test_a_partition_is_crc16_of_the_text() -> None:
    """The hash that the slots of a cluster are made of; some values by hand, so that it never changes."""
    found = {text: Partitions("prod", 16).of(text).partition for text in ("", "a", "123456789", "ключ")}
    assert found == {"": 0, "a": 7, "123456789": 3, "ключ": key_slot("ключ".encode()) % 16}


def test_partitions_are_used_alike() -> None:
    """Of ids such as the client makes."""
    prepared = prepare([Event("a")] * 4_000, SendOptions(), now=lambda: codec.from_millis(1))
    counts = Counter(FOUR.of(event.event_id).partition for event in prepared)
    assert len(counts) == 4
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_keys_of_a_partition_share_a_slot() -> None:
    """Each partition's are its own."""
    slots = {key_slot(key.encode()) for keys in FOUR.all for key in (keys.events, keys.meta, keys.event("x{y}"))}
    assert len(slots) == 4
    assert FOUR.all[3].events == "headrace:{prod:3}:events"


def test_a_number_that_may_not_be_asked_for_is_not_checked() -> None:
    """A user with few rights is not refused for it; another number than the namespace's is."""
    plan = check_server(FOUR)
    next(plan)
    with pytest.raises(StopIteration) as done:
        plan.send([PermissionMissing("INFO"), PermissionMissing("EVALSHA")])
    assert done.value.value is True
    plan = check_server(FOUR)
    next(plan)
    with pytest.raises(ConfigurationError, match="has had 2 partitions since it was first used, not the 4"):
        plan.send([PermissionMissing("INFO"), 2])


def test_any_partition_that_answers_says_how_many_there_are() -> None:
    """While partition 0 is away another is believed, and an outage of all is one."""
    away = ServerNotReady("CLUSTERDOWN", "down")
    plan = check_server(FOUR)
    assert len(list(next(plan))) == 5
    with pytest.raises(StopIteration) as done:
        plan.send([away, away, 4, away, 4])
    assert done.value.value is True
    plan = check_server(FOUR)
    next(plan)
    with pytest.raises(ConfigurationError, match="has had 2 partitions"):
        plan.send([away, away, 2, away, away])
    plan = check_server(FOUR)
    next(plan)
    with pytest.raises(ServerNotReady):
        plan.send([away] * 5)


Streams = list[list[tuple[int, int]]]
_ids = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=8, unique=True)


@given(st.lists(_ids, min_size=1, max_size=4), st.integers(1, 5))
def test_pages_of_dead_letters_are_the_whole_in_order(streams: Streams, limit: int) -> None:
    """Whatever entry ids several partitions have in common, each is on one page."""
    partitions = Partitions("prod", len(streams))
    expected = sorted(
        ((entry, -number) for number, entries in enumerate(streams) for entry in entries), reverse=True
    )  # fmt: skip
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = _run(dead_letters.list_dead_letters(partitions, DeadLetterFilter(), cursor, limit), partitions, streams)
        listed += [entry.id for entry in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert listed == [f"{ms}-{n}{f'~{-number}' if number else ''}" for (ms, n), number in expected]


@given(st.lists(_ids, min_size=1, max_size=4), st.integers(1, 5))
def test_pages_of_runs_are_the_whole_in_order(streams: Streams, limit: int) -> None:
    """Of entries with several events too, which a page may end within."""
    partitions = Partitions("prod", len(streams))
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = _run(runs.list_runs(partitions, RunFilter(), cursor, limit), partitions, streams)
        listed += [run.event_id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    expected = sorted(
        ((entry, -number) for number, entries in enumerate(streams) for entry in entries), reverse=True
    )  # fmt: skip
    assert listed == [f"{-number}:{ms}-{n}:{nth}" for (ms, n), number in expected for nth in range(3)]


def _run(plan: Plan[Any], partitions: Partitions, streams: Streams) -> Any:
    """Return what a listing gives when each partition's stream has these entries, of three events each."""
    answers: list[Any] | None = None
    while True:
        try:
            asked = plan.send(answers)  # type: ignore[arg-type]
        except StopIteration as done:
            return done.value
        answers = [call.read(_reply(call.args, partitions, streams)) for call in asked]


def _reply(args: tuple[Any, ...], partitions: Partitions, streams: Streams) -> Any:
    if args[0] == "HGETALL":
        return [b"r:app/job", b"s 1 0 0 0 default 1-0 - 0 0"]
    number = next(keys.partition for keys in partitions.all if args[1] in (keys.dead, keys.recent))
    if args[0] == "XRANGE":
        assert args[2:] == ("-", "+", "COUNT", 1)
        return [(b"%d-%d" % entry, [b"reason", b"x"]) for entry in sorted(streams[number])[:1]]
    if args[0] == "XLEN":
        return len(streams[number])
    assert args[0] == "XREVRANGE"
    end = (2**64, 0) if args[2] == "+" else tuple(int(part) for part in args[2].removeprefix("(").split("-"))
    found = sorted((entry for entry in streams[number] if entry < end), reverse=True)[: args[5]]
    if args[1] == partitions.all[number].dead:
        return [(b"%d-%d" % entry, [b"reason", b"x"]) for entry in found]
    return [
        (b"%d-%d" % entry, [text for nth in (2, 1, 0) for text in (b"%d:%d-%d:%d" % (number, *entry, nth), b"name")])
        for entry in found
    ]


def test_a_dead_letter_of_partition_0_keeps_its_id() -> None:
    """So that nothing changes where there is one partition."""
    (letter,) = _run(
        dead_letters.list_dead_letters(FOUR, DeadLetterFilter(), None, 5), FOUR, [[(1, 2)], [], [], []]
    ).items
    assert isinstance(letter, DeadLetter)
    assert letter.id == "1-2"


def test_events_with_an_ordering_key_go_to_its_partition() -> None:
    """All of a call go there together, whatever their ids are."""
    partitions = Partitions("test", 8)
    options = SendOptions(ordering_key="user-1")
    events = prepare([Event("a")] * 20, options, now=lambda: datetime.now(UTC))
    (call,) = next(send.send(partitions, events, "token"))
    assert call.args[3] == partitions.of("user-1").events
    assert partitions.of("user-1").order("user-1") in call.args
