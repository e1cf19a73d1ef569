"""huey with its Redis storage."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from huey import RedisHuey

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("huey", "redis", "hiredis")
SETTINGS = "--workers 4 --worker-type thread; results kept (default) of jobs that return something; these do not"

tally = Tally()
huey = RedisHuey("bench", url=url())


@huey.task()
def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    yield Sender(noop)


def work() -> None:
    """Run one worker process until it is ended."""
    options = ["--workers", "4", "--worker-type", "thread", "--quiet"]
    consumer = "import sys; from huey.bin.huey_consumer import consumer_main; consumer_main()"
    os.execv(sys.executable, [sys.executable, "-c", consumer, "bench.peers.huey.huey", *options])
