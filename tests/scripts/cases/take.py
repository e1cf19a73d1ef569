"""What `take` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Entry, Stream
from tests.scripts.cases.case import BODY, Step, case, queue, seed_queue
from tests.scripts.state import Changes, Keyspace


def _entry(entry: str, event_id: str) -> Entry:
    fields = {"e": event_id, "j": "job", "s": "", "b": BODY}
    return entry.encode(), [part.encode() for pair in fields.items() for part in pair]


def _seed_waiting(keyspace: Keyspace, name: str, *entries: str) -> None:
    for entry in entries:
        keyspace.entry(f"queue:app/{name}", entry, {"e": f"e{entry[0]}", "j": "job", "s": "", "b": BODY})


def _take(queues: Sequence[Stream], free: int, gives: list[tuple[Stream, list[Entry]]], changes: Changes) -> Step:
    return Step(reading.take("w1", queues, free), gives, changes)


@case
def from_every_queue(keyspace: Keyspace) -> Step:
    """Run are taken from all queues, in the order in which they were asked for."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    _seed_waiting(keyspace, "mail", "7-0")
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {
        "queue:app/mail workers": "7-0",
        "queue:app/mail workers w1": "7-0",
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
    }
    gives = [(mail, [_entry("7-0", "e7")]), (default, [_entry("5-0", "e5"), _entry("6-0", "e6")])]
    return _take([mail, default], 10, gives, changes)


@case
def no_more_than_free_slots(keyspace: Keyspace) -> Step:
    """What is taken from all queues together is no more than there are free slots."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    _seed_waiting(keyspace, "mail", "7-0", "8-0")
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
        "queue:app/mail workers": "7-0",
        "queue:app/mail workers w1": "7-0",
    }
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")]), (mail, [_entry("7-0", "e7")])]
    return _take([default, mail], 3, gives, changes)


@case
def the_first_queue_fills_the_slots(keyspace: Keyspace) -> Step:
    """Once the slots are taken the queues behind are left alone, which is why the order rotates."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    _seed_waiting(keyspace, "mail", "7-0")
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {"queue:app/mail workers": "7-0", "queue:app/mail workers w1": "7-0"}
    return _take([mail, default], 1, [(mail, [_entry("7-0", "e7")])], changes)


@case
def no_free_slot(keyspace: Keyspace) -> Step:
    """Without a free slot nothing is taken."""
    _seed_waiting(keyspace, "default", "5-0")
    return _take([queue(keyspace)], 0, [], {})


@case
def nothing_waits(keyspace: Keyspace) -> Step:
    """Empty queues give nothing, and entries that are pending under other workers stay there."""
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    return _take([queue(keyspace)], 10, [], {})


@case
def a_queue_that_is_gone_behind_others(keyspace: Keyspace) -> Step:
    """Entries that were delivered before a queue failed are in the answer, as an error would lose them."""
    _seed_waiting(keyspace, "default", "5-0")
    default = queue(keyspace)
    changes: Changes = {"queue:app/default workers": "5-0", "queue:app/default workers w1": "5-0"}
    return _take([default, queue(keyspace, "mail")], 10, [(default, [_entry("5-0", "e5")])], changes)
