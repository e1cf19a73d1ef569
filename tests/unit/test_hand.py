"""A slot is free again when its run is settled and has ended, in whatever order."""

from __future__ import annotations

import asyncio

from headrace.formats.codec import RunState
from headrace_worker.membership.in_flight import Hand, Held
from headrace_worker.protocol.delivery import Delivery, Stream

QUEUE = Stream("queue:app/default", "workers", "bell:app", "app", "default")


def _held(entry: str, hand: Hand) -> Held:
    held = Held(Delivery(QUEUE, entry, "event", "job", RunState(), b"body", 0), "worker-1", 10.0)
    hand.take(held)
    return held


def test_a_slot_is_free_when_its_run_is_settled_and_has_ended() -> None:
    """One of both is not enough, and the order does not matter."""
    hand = Hand(2)
    first, second = _held("1-0", hand), _held("2-0", hand)
    assert hand.free == 0
    hand.settled(first)
    hand.ended(second)
    assert hand.free == 0
    hand.ended(first)
    assert hand.free == 1
    hand.settled(second)
    assert (hand.free, hand.held) == (2, {})


def test_the_same_entry_again_is_another_run_in_hand() -> None:
    """What happens to the earlier one does not take the later one out."""
    hand = Hand(2)
    earlier = _held("1-0", hand)
    later = _held("1-0", hand)
    hand.settled(earlier)
    hand.ended(earlier)
    assert list(hand.held.values()) == [later]


def test_a_run_is_open_until_its_outcome_is_recorded() -> None:
    """Whether its function has ended or not."""
    hand = Hand(2)
    held = _held("1-0", hand)
    assert (hand.has_open, hand.is_open(held.key), hand.is_open(("queue", "9-9"))) == (True, True, False)
    hand.settled(held)
    assert (hand.has_open, hand.is_open(held.key), len(hand.held)) == (False, False, 1)


async def test_whoever_waits_hears_of_the_next_change() -> None:
    """Not of earlier ones; a poke is a change, and everybody who waits hears of it."""
    hand = Hand(1)
    held = _held("1-0", hand)
    hand.poke()
    waits = [asyncio.ensure_future(hand.wait_change()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    hand.settled(held)
    await asyncio.wait_for(asyncio.gather(*waits), 5)
    wait = asyncio.ensure_future(hand.wait_change())
    await asyncio.sleep(0)
    assert not wait.done()
    hand.ended(held)
    await asyncio.wait_for(wait, 5)
    wait = asyncio.ensure_future(hand.wait_change())
    await asyncio.sleep(0)
    hand.poke()
    await asyncio.wait_for(wait, 5)


def test_time_since_the_start_is_whole_milliseconds() -> None:
    """It is what the scripts count back from the server's time."""
    assert _held("1-0", Hand(1)).elapsed_ms(10.0126) == 13
