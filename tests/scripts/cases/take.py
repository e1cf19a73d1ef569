"""What `take` must give and change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Entry, Stream
from headrace_worker.protocol.reading import Share, Taken
from tests.scripts.cases.case import BODY, PAST, Step, case, queue, seed_queue
from tests.scripts.state import Changes, Keyspace


def _entry(entry: str, event_id: str) -> Entry:
    fields = {"e": event_id, "j": "job", "s": "", "b": BODY}
    return entry.encode(), [part.encode() for pair in fields.items() for part in pair]


def _seed_waiting(keyspace: Keyspace, name: str, *entries: str) -> None:
    for entry in entries:
        keyspace.entry(f"queue:app/{name}", entry, {"e": f"e{entry[0]}", "j": "job", "s": "", "b": BODY})


def _take(
    keyspace: Keyspace,
    wanted: Sequence[Stream | Share],
    free: int,
    gives: list[tuple[Stream, list[Entry]]],
    changes: Changes,
    *,
    limited: Iterable[Stream] = (),
    controls: str = "0",
) -> Step:
    """Return a take; a queue without a share may have all slots."""
    shares = [each if isinstance(each, Share) else Share(each, free) for each in wanted]
    taken = Taken(controls, frozenset(queue.key for queue in limited), gives)
    return Step(reading.take(keyspace.keys, "w1", shares, free), taken, changes)


CLOSED = "18446744073709551615-0"


def seed_controls(keyspace: Keyspace, **fields: str | int) -> None:
    """These are set at run time, by the queues' names (`p_default`, `l_default`); the group is closed if it must be."""
    for field, value in fields.items():
        kind, _, name = field.partition("_")
        keyspace.seed("HSET", "controls", f"{kind}:app/{name}", value)
        if kind == "p" or value != "none":
            keyspace.seed("XGROUP SETID", f"queue:app/{name}", "workers", CLOSED)
    keyspace.seed("HSET", "controls", "version", 7)


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
    return _take(keyspace, [mail, default], 10, gives, changes)


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
    return _take(keyspace, [default, mail], 3, gives, changes)


@case
def the_first_queue_fills_the_slots(keyspace: Keyspace) -> Step:
    """Once the slots are taken the queues behind are left alone, which is why the order rotates."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    _seed_waiting(keyspace, "mail", "7-0")
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {"queue:app/mail workers": "7-0", "queue:app/mail workers w1": "7-0"}
    return _take(keyspace, [mail, default], 1, [(mail, [_entry("7-0", "e7")])], changes)


@case
def no_free_slot(keyspace: Keyspace) -> Step:
    """Without a free slot nothing is taken."""
    _seed_waiting(keyspace, "default", "5-0")
    return _take(keyspace, [queue(keyspace)], 0, [], {})


@case
def nothing_waits(keyspace: Keyspace) -> Step:
    """Empty queues give nothing, and entries that are pending under other workers stay there."""
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    return _take(keyspace, [queue(keyspace)], 10, [], {})


@case
def a_queue_that_is_gone_behind_others(keyspace: Keyspace) -> Step:
    """Entries that were delivered before a queue failed are in the answer, as an error would lose them."""
    _seed_waiting(keyspace, "default", "5-0")
    default = queue(keyspace)
    changes: Changes = {"queue:app/default workers": "5-0", "queue:app/default workers w1": "5-0"}
    return _take(keyspace, [default, queue(keyspace, "mail")], 10, [(default, [_entry("5-0", "e5")])], changes)


# Shares.


@case
def each_queue_gets_its_share(keyspace: Keyspace) -> Step:
    """Each queue gives as much as it has a right to, and the first one takes none of what is the next one's."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0", "6-0", "7-0")
    _seed_waiting(keyspace, "mail", "8-0", "9-0")
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
        "queue:app/mail workers": "8-0",
        "queue:app/mail workers w1": "8-0",
    }
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")]), (mail, [_entry("8-0", "e8")])]
    return _take(keyspace, [Share(default, 2), Share(mail, 1)], 3, gives, changes)


@case
def what_a_queue_leaves_goes_to_those_that_have_more(keyspace: Keyspace) -> Step:
    """Slots that a queue can't fill are filled from the others, also from one that had a right to none."""
    seed_queue(keyspace, "mail")
    seed_queue(keyspace, "other")
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    _seed_waiting(keyspace, "other", "7-0")
    default, mail, other = queue(keyspace), queue(keyspace, "mail"), queue(keyspace, "other")
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/mail", "workers", "w1")
    changes: Changes = {
        "queue:app/default workers": "6-0",
        "queue:app/default workers w1": "5-0 6-0",
        "queue:app/other workers": "7-0",
        "queue:app/other workers w1": "7-0",
    }
    gives = [(default, [_entry("5-0", "e5")]), (default, [_entry("6-0", "e6")]), (other, [_entry("7-0", "e7")])]
    return _take(keyspace, [Share(mail, 2), Share(default, 1), Share(other, 0)], 3, gives, changes)


# Limits.


@case
def up_to_a_declared_limit(keyspace: Keyspace) -> Step:
    """What is pending under other workers counts: the bystander's run and the limit leave room for one."""
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    default = queue(keyspace)
    changes: Changes = {"queue:app/default workers": "5-0", "queue:app/default workers w1": "5-0"}
    gives = [(default, [_entry("5-0", "e5")])]
    return _take(keyspace, [Share(default, 10, limit=2)], 10, gives, changes, limited=[default])


@case
def none_over_a_declared_limit(keyspace: Keyspace) -> Step:
    """A queue with as many runs in flight as its limit gives none."""
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    default = queue(keyspace)
    return _take(keyspace, [Share(default, 10, limit=1)], 10, [], {}, limited=[default])


@case
def up_to_a_limit_at_run_time(keyspace: Keyspace) -> Step:
    """The limit at run time replaces the declared one; the queue goes on behind what is pending, and is closed."""
    _seed_waiting(keyspace, "default", "5-0", "6-0", "7-0")
    seed_controls(keyspace, l_default=3)
    default = queue(keyspace)
    changes: Changes = {"queue:app/default workers w1": "5-0 6-0"}
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")])]
    shares = [Share(default, 10, limit=1)]
    return _take(keyspace, shares, 10, gives, changes, limited=[default], controls="7")


@case
def up_to_a_limit_at_run_time_in_two_parts(keyspace: Keyspace) -> Step:
    """What is beyond its share is taken behind what was taken before, and counts for the limit."""
    seed_queue(keyspace, "mail")
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/mail", "workers", "w1")
    _seed_waiting(keyspace, "default", "5-0", "6-0", "7-0", "8-0")
    seed_controls(keyspace, l_default=4)
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {"queue:app/default workers w1": "5-0 6-0 7-0"}
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")]), (default, [_entry("7-0", "e7")])]
    shares = [Share(mail, 2), Share(default, 2)]
    return _take(keyspace, shares, 4, gives, changes, limited=[default], controls="7")


@case
def from_the_beginning_of_a_limited_queue(keyspace: Keyspace) -> Step:
    """Nothing of it is pending, so all that it has waits."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "mail", "5-0")
    seed_controls(keyspace, l_mail=3)
    mail = queue(keyspace, "mail")
    changes: Changes = {"queue:app/mail workers w1": "5-0"}
    return _take(keyspace, [mail], 10, [(mail, [_entry("5-0", "e5")])], changes, limited=[mail], controls="7")


@case
def a_declared_limit_that_is_lifted(keyspace: Keyspace) -> Step:
    """`none` at run time lets any number be in flight."""
    _seed_waiting(keyspace, "default", "5-0", "6-0")
    seed_controls(keyspace, l_default="none")
    default = queue(keyspace)
    changes: Changes = {"queue:app/default workers": "6-0", "queue:app/default workers w1": "5-0 6-0"}
    gives = [(default, [_entry("5-0", "e5"), _entry("6-0", "e6")])]
    return _take(keyspace, [Share(default, 10, limit=1)], 10, gives, changes, controls="7")


@case
def none_of_a_paused_queue(keyspace: Keyspace) -> Step:
    """A paused queue gives nothing, whatever its limit, and its share goes to the others."""
    seed_queue(keyspace, "mail")
    _seed_waiting(keyspace, "default", "5-0")
    _seed_waiting(keyspace, "mail", "6-0")
    seed_controls(keyspace, p_default=PAST, l_default=9)
    default, mail = queue(keyspace), queue(keyspace, "mail")
    changes: Changes = {"queue:app/mail workers": "6-0", "queue:app/mail workers w1": "6-0"}
    shares = [Share(default, 1), Share(mail, 0)]
    return _take(keyspace, shares, 1, [(mail, [_entry("6-0", "e6")])], changes, limited=[default], controls="7")


@case
def none_of_a_paused_queue_whose_group_is_open(keyspace: Keyspace) -> Step:
    """What is set counts, also where something else has opened the group."""
    _seed_waiting(keyspace, "default", "5-0")
    seed_controls(keyspace, p_default=PAST)
    keyspace.seed("XGROUP SETID", "queue:app/default", "workers", "1-0")
    return _take(keyspace, [queue(keyspace)], 10, [], {}, controls="7")
