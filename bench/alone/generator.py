"""Sends at a steady rate: `python -m bench.alone.generator RATE SECONDS`, in small batches a hundred times a second."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from bench.side import PAYLOAD, url
from bench.worker import WorkerProcess
from headrace import Client, Event

TICKS = 100


def main() -> None:
    """Send, and catches up where it fell behind."""
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    begun = time.monotonic()
    sent = 0
    with Client(url()) as client:
        while (now := time.monotonic()) < begun + seconds:
            owed = int((now - begun) * rate) - sent
            if owed > 0:
                client.send_events([Event("bench", PAYLOAD)] * min(owed, 500))
                sent += min(owed, 500)
            if owed <= 500:
                time.sleep(1 / TICKS)


@contextlib.contextmanager
def steady(server_url: str, rate: float, seconds: float) -> Iterator[WorkerProcess]:
    """Send at the rate beside what the caller does, for at most so many seconds."""
    command = [sys.executable, "-m", "bench.alone.generator", str(rate), str(seconds)]
    with WorkerProcess(command, server_url, 0) as generator:
        yield generator


if __name__ == "__main__":
    main()
