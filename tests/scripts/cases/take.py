"""What `take` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Entry, Stream
from tests.scripts.cases.case import BODY, Step, case, queue, seed_queue
from tests.scripts.state import Changes, World


def _entry(entry: str, event_id: str) -> Entry:
    fields = {"e": event_id, "j": "job", "s": "", "b": BODY}
    return entry.encode(), [part.encode() for pair in fields.items() for part in pair]


def _seed_waiting(world: World, name: str, *entries: str) -> None:
    for entry in entries:
        world.entry(f"queue:app/{name}", entry, {"e": f"e{entry[0]}", "j": "job", "s": "", "b": BODY})


def _take(queues: Sequence[Stream], free: int, gives: list[tuple[Stream, list[Entry]]], changes: Changes) -> Step:
    return Step(reading.take("w1", queues, free), gives, changes)


@case
def from_every_queue(world: World) -> Step:
    """Runs are taken from all queues, in the order in which they were asked for."""
    seed_queue(world, "mail")
    _seed_waiting(world, "default", "5-0", "6-0")
    _seed_waiting(world, "mail", "7-0")
    default, mail = queue(world), queue(world, "mail")
    changes: Changes = {
        "queue:app/mail workers": "7-0",
        "queue:app/mail workers w1": "7-0",
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
    }
    gives = [(mail, [_entry("7-0", "e7")]), (default, [_entry("5-0", "e5"), _entry("6-0", "e6")])]
    return _take([mail, default], 10, gives, changes)


@case
def no_more_than_free_slots(world: World) -> Step:
    """What is taken from all queues together is no more than there are free slots."""
    seed_queue(world, "mail")
    _seed_waiting(world, "default", "5-0", "6-0")
    _seed_waiting(world, "mail", "7-0", "8-0")
    default, mail = queue(world), queue(world, "mail")
    changes: Changes = {
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
        "queue:app/mail workers": "7-0",
        "queue:app/mail workers w1": "7-0",
    }
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")]), (mail, [_entry("7-0", "e7")])]
    return _take([default, mail], 3, gives, changes)


@case
def the_first_queue_fills_the_slots(world: World) -> Step:
    """Once the slots are taken the queues behind are left alone, which is why the order rotates."""
    seed_queue(world, "mail")
    _seed_waiting(world, "default", "5-0", "6-0")
    _seed_waiting(world, "mail", "7-0")
    default, mail = queue(world), queue(world, "mail")
    changes: Changes = {"queue:app/mail workers": "7-0", "queue:app/mail workers w1": "7-0"}
    return _take([mail, default], 1, [(mail, [_entry("7-0", "e7")])], changes)


@case
def no_free_slot(world: World) -> Step:
    """Without a free slot nothing is taken."""
    _seed_waiting(world, "default", "5-0")
    return _take([queue(world)], 0, [], {})


@case
def nothing_waits(world: World) -> Step:
    """Of empty queues nothing comes, and what is in other hands stays there."""
    world.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    return _take([queue(world)], 10, [], {})


@case
def a_queue_that_is_gone_behind_others(world: World) -> Step:
    """What was delivered before a queue failed is told, as its reply would be lost with the error."""
    _seed_waiting(world, "default", "5-0")
    default = queue(world)
    changes: Changes = {"queue:app/default workers": "5-0", "queue:app/default workers w1": "5-0"}
    return _take([default, queue(world, "mail")], 10, [(default, [_entry("5-0", "e5")])], changes)
