"""Headrace: one event, one job, records on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.side import Payload, Sender, url
from bench.tally import Tally
from headrace import Client, Event
from headrace_worker import App, Worker, WorkerConfig, event_trigger
from headrace_worker.process.process import run_as_process

PACKAGES = ("headrace", "redis", "hiredis", "msgspec")
SETTINGS = "concurrency=1000; records kept (default)"

tally = Tally()
app = App("bench")


@app.job(id="noop", trigger=event_trigger("bench"))
async def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    with Client(url()) as client:

        def one(payload: Payload) -> None:
            client.send_event(Event("bench", payload))

        def many(payloads: list[Payload]) -> None:
            client.send_events([Event("bench", payload) for payload in payloads])

        yield Sender(one, many)


def work() -> None:
    """Run one worker process until it is ended."""
    worker = Worker(app, url(), config=WorkerConfig(concurrency=1000))
    run_as_process(worker)
