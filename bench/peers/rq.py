"""RQ with its worker that runs jobs in its own process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from redis import Redis
from rq import Queue, SimpleWorker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("rq", "redis", "hiredis")
SETTINGS = "SimpleWorker (no fork a job); results kept 500 s (default)"

tally = Tally()


def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    with Redis.from_url(url()) as client:
        queue = Queue(connection=client)

        def one(payload: Payload) -> None:
            queue.enqueue(noop, payload)

        def many(payloads: list[Payload]) -> None:
            queue.enqueue_many([Queue.prepare_data(noop, [payload]) for payload in payloads])

        yield Sender(one, many)


def work() -> None:
    """Run one worker process until it is ended."""
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    client = Redis.from_url(url())
    queue = Queue(connection=client)
    SimpleWorker([queue], connection=client).work(logging_level="WARNING")
