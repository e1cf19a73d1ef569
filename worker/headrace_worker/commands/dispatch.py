"""Says what became of an event: which jobs got it, and what its runs wait for: a worker, or a queue that is paused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from headrace import Client, EventRecord, HeadraceError, RunRecord
from headrace_worker.terminal.controls import note_paused
from headrace_worker.terminal.output import print_note, printable

_LOOK_S = 1.0
"""How long a command waits for workers to dispatch what it has sent: they take milliseconds."""
_PAUSE_S = 0.02
_MOST_NAMED = 5


def describe_dispatch(record: EventRecord) -> str | None:
    """Return which jobs got an event; None for an event that has not come to any worker yet, or never will."""
    if record.status not in ("dispatched", "settled"):
        return None
    if not record.runs:
        return f"no job got it; 'headrace events explain {printable(record.id)}' says why"
    named = ", ".join(printable(run.job) for run in record.runs[:_MOST_NAMED])
    more = len(record.runs) - _MOST_NAMED
    jobs = "1 job" if len(record.runs) == 1 else f"{len(record.runs)} jobs"
    return f"dispatched to {jobs}: {named}{f' and {more} more' if more > 0 else ''}"


def note_dispatch(client: Client, event_id: str) -> None:
    """Print a note on what became of an event that was just sent; a question that fails changes nothing."""
    with contextlib.suppress(HeadraceError):
        if note_missing_workers(client):
            return
        deadline = time.monotonic() + _LOOK_S
        record = client.get_event(event_id)
        while record.status == "pending" and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            record = client.get_event(event_id)
        print_note(describe_dispatch(record) or "no worker has taken it yet")


def note_missing_workers(client: Client) -> bool:
    """Print a note and return true if no worker is alive. A question that fails has no answer, and raises nothing."""
    with contextlib.suppress(HeadraceError):
        if client.has_workers() is False:
            print_note("no worker of this namespace is alive: what was sent waits until one starts")
            return True
    return False


def note_paused_queues(client: Client, runs: Iterable[RunRecord]) -> None:
    """Print a note for each paused queue in which one of the runs waits; ask only if any is queued."""
    queues = {f"{run.job.partition('/')[0]}/{run.queue}" for run in runs if run.status == "queued"}
    if not queues:
        return
    with contextlib.suppress(HeadraceError):
        note_paused(each for each in client.list_queue_controls() if each.queue in queues)
