"""What `dispatch` must give and change when it frees an event before it adds the runs, and without a group."""

from __future__ import annotations

from headrace_worker.protocol.dispatching import Dispatched, Matched, QueuesFull
from tests.scripts.cases.case import BODY, Step, case, header, run_line, seed_queue
from tests.scripts.cases.dispatch.events import JOB, MAIL, RUNG, SHOP, acknowledged, dispatch, seed_event
from tests.scripts.state import Keyspace


@case
def free_first_into_an_empty_queue(keyspace: Keyspace) -> Step:
    """On a full server one event goes into queues that are empty, acknowledged first."""
    seed_queue(keyspace, "mail")
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "wake-up:app new-1": RUNG,
    }
    batch = [Matched(event, [MAIL])]
    return dispatch(keyspace, batch, Dispatched(1, 1, 0), changes, free_first=True)


@case
def free_first_into_a_queue_with_entries(keyspace: Keyspace) -> Step:
    """On a full server nothing goes into a queue that has entries, even if another of the event's is empty."""
    seed_queue(keyspace, "mail")
    event = seed_event(keyspace)
    return dispatch(keyspace, [Matched(event, [MAIL, JOB])], QueuesFull(), {}, free_first=True)


@case
def free_first_without_a_match(keyspace: Keyspace) -> Step:
    """On a full server an event that nothing matches is settled."""
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
    }
    return dispatch(keyspace, [Matched(event, [])], Dispatched(1, 0, 0), changes, free_first=True)


@case
def free_first_with_a_lost_record(keyspace: Keyspace) -> Step:
    """On a full server a lost record is made again as well."""
    seed_queue(keyspace, "mail")
    event = seed_event(keyspace, has_record=False)
    changes = acknowledged() | {
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [MAIL])], Dispatched(1, 1, 0), changes, free_first=True)


@case
def a_queue_without_a_group(keyspace: Keyspace) -> Step:
    """A queue that no worker has made yet gets the run, for the group that will be made at its beginning."""
    event = seed_event(keyspace)
    changes = acknowledged() | {
        "queue:shop/default": "stream",
        "queue:shop/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:shop/job": run_line("q", "new-1"),
        "wake-up:shop": "stream",
        "wake-up:shop new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [SHOP])], Dispatched(1, 1, 0), changes, full="refused")
