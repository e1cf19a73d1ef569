"""One event for one job, and the record of its one run."""

from __future__ import annotations

from typing import Any

from headrace import Client, Event, RunRecord
from headrace_worker import App, Retry, event_trigger
from tests.support.workers import WorkerHost

ONCE = Retry(max_attempts=1)
SOON = Retry(max_attempts=3, min_delay=0.01, jitter=False)
TRIGGER = event_trigger("asked")


def run_of(client: Client, event_id: str, job: str = "job") -> RunRecord:
    """Return the record of the event's one run of a job."""
    (run,) = [run for run in client.get_event(event_id).runs if run.job.endswith(f"/{job}")]
    return run


async def run_one(host: WorkerHost, client: Client, function: Any, payload: Any = None, **options: Any) -> RunRecord:
    """Send one event, execute its run with this function, and return the run's record."""
    return await run_in(App("app"), host, client, function, payload, **options)


async def run_in(
    app: App, host: WorkerHost, client: Client, function: Any, payload: Any = None, **options: Any
) -> RunRecord:
    """As `run_one`, in an app that may have more."""
    app.job(**{"id": "job", "trigger": TRIGGER, "retry": ONCE, **options})(function)
    sent = client.send_event(Event("asked", payload=payload))
    await host.settle(app)
    return run_of(client, sent.id)


def never(payload: Any) -> None:
    raise AssertionError(f"called with {payload}")


def never_asked() -> None:
    raise AssertionError("called")
