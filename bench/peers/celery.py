"""Celery with its Redis transport."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from celery import Celery

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("celery", "kombu", "redis", "hiredis")
SETTINGS = (
    "--pool solo, worker_prefetch_multiplier=1000, no gossip, mingle, heartbeat or rate limits; "
    "results ignored (no backend is the default)"
)

tally = Tally()
app = Celery("bench", broker=url())
app.conf.update(worker_prefetch_multiplier=1000, worker_disable_rate_limits=True, task_ignore_result=True)


@app.task(name="noop")
def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    yield Sender(noop.delay)
    app.close()


def work() -> None:
    """Run one worker process until it is ended."""
    options = ["--pool", "solo", "--loglevel", "WARNING"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "bench.peers.celery", "worker", *options])
