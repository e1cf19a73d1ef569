"""What `dispatch` must give and change for events that jobs subscribe to, or none."""

from __future__ import annotations

from headrace_worker.protocol.dispatching import Dispatched, Matched
from tests.scripts.cases.case import BODY, LARGE, LARGEST_INLINE, NO_RETENTION, Step, case, header, run_line, seed_queue
from tests.scripts.cases.dispatch.events import JOB, MAIL, RUNG, SHOP, TWO, acknowledged, dispatch, seed_event
from tests.scripts.state import Keyspace


@case
def one_job(keyspace: Keyspace) -> Step:
    """An event's entry is gone, and its one run is queued with its body and in the record; an idle worker is woken."""
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def several_jobs(keyspace: Keyspace) -> Step:
    """An event has one run for each job, in the queue of each, and its record counts those that are open."""
    seed_queue(keyspace, "mail")
    seed_queue(keyspace, "default", "shop")
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "queue:app/default new-2": {"e": "e1", "j": "two", "s": "", "b": BODY},
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "queue:shop/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="4"),
        "event:e1 o": "4",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e1 r:app/two": run_line("q", "new-2"),
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "event:e1 r:shop/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
        "wake-up:shop": "stream",
        "wake-up:shop new-1": RUNG,
    }
    batch = [Matched(event, [JOB, TWO, MAIL, SHOP])]
    return dispatch(keyspace, batch, Dispatched(1, 4, 0), changes, full="refused")


@case
def several_events(keyspace: Keyspace) -> Step:
    """Each event of a batch goes to its own jobs; a wake-up stream that was rung has one element still."""
    keyspace.entry("wake-up:app", "1-0", RUNG)
    both, one, none = (
        seed_event(keyspace, "both"),
        seed_event(keyspace, "one", "6-0"),
        seed_event(keyspace, "none", "7-0"),
    )
    changes = {
        "events 5-0": None,
        "events 6-0": None,
        "events 7-0": None,
        "events dispatch w1": "",
        "queue:app/default new-1": {"e": "both", "j": "two", "s": "", "b": BODY},
        "queue:app/default new-2": {"e": "both", "j": "job", "s": "", "b": BODY},
        "queue:app/default new-3": {"e": "one", "j": "job", "s": "", "b": BODY},
        "event:both m": header(runs="2"),
        "event:both o": "2",
        "event:both r:app/two": run_line("q", "new-1"),
        "event:both r:app/job": run_line("q", "new-2"),
        "event:one m": header(runs="1"),
        "event:one r:app/job": run_line("q", "new-3"),
        "event:none m": header(runs="0"),
        "event:none ttl": "<now+2000s>",
        "fading none": "<now+1000s>",
        "wake-up:app 1-0": None,
        "wake-up:app new-1": RUNG,
    }
    batch = [Matched(both, [TWO, JOB]), Matched(one, [JOB]), Matched(none, [])]
    return dispatch(keyspace, batch, Dispatched(3, 3, 0), changes, full="refused")


@case
def a_large_body(keyspace: Keyspace) -> Step:
    """A body over 8 kB is not copied: each entry's state has its size."""
    event = seed_event(keyspace, body=LARGE, inline=False)
    state = f"1 0 0 0 {len(LARGE)}"
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": state, "b": ""},
        "queue:app/default new-2": {"e": "e1", "j": "two", "s": state, "b": ""},
        "event:e1 m": header(runs="2"),
        "event:e1 o": "2",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e1 r:app/two": run_line("q", "new-2"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB, TWO])], Dispatched(1, 2, 0), changes, full="refused")


@case
def the_largest_body_inside(keyspace: Keyspace) -> Step:
    """A body of 8 kB is copied."""
    event = seed_event(keyspace, body=LARGEST_INLINE)
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": LARGEST_INLINE},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def no_match(keyspace: Keyspace) -> Step:
    """An event that nothing matches is settled: its record ends after the sender's dedupe."""
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
    }
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_of_an_id_by_the_client(keyspace: Keyspace) -> Step:
    """The record of an event whose id the client made ends with the retention of successes."""
    event = seed_event(keyspace, kind="c")
    changes = acknowledged() | {"event:e1 m": header(kind="c", runs="0"), "event:e1 ttl": "<now+1000s>"}
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_of_a_derived_id(keyspace: Keyspace) -> Step:
    """The record of an event whose id is derived is kept as long as failures are."""
    event = seed_event(keyspace, kind="d")
    changes = acknowledged() | {
        "event:e1 m": header(kind="d", runs="0"),
        "event:e1 ttl": "<now+5000s>",
        "fading e1": "<now+1000s>",
    }
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_while_someone_waits(keyspace: Keyspace) -> Step:
    """A client that waits for an event without a matching job receives its end."""
    event = seed_event(keyspace, waited=True)
    changes = acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
        "published settled:e1": "",
    }
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_without_retention(keyspace: Keyspace) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    event = seed_event(keyspace, kind="c")
    changes = acknowledged() | {
        "event:e1 m": header(kind="c", runs="0"),
        "event:e1 e": None,
        "event:e1 ttl": "<now+100s>",
    }
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes, retention=NO_RETENTION)
