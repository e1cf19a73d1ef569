"""dramatiq with its Redis broker."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("dramatiq", "redis", "hiredis")
SETTINGS = "--processes 1 --threads 4, dramatiq_queue_prefetch=1000 (default: 2 a thread); no results (default)"

tally = Tally()
broker = RedisBroker(url=url())
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    yield Sender(noop.send)
    broker.close()


def work() -> None:
    """Run one worker process until it is ended."""
    os.environ["dramatiq_queue_prefetch"] = "1000"  # noqa: SIM112 - its name
    options = ["--processes", "1", "--threads", "4"]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "bench.peers.dramatiq", *options])
