"""What a measured job does: it counts itself, and tells the runner or the prober by a datagram. Standard library only.

A probe (its payload names a port) answers with the time of the job's first line; any other job only counts.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

PARTS = 10
"""How many times the runner hears of progress, the end included."""


class Tally:
    """Counts the jobs of one worker process."""

    def __init__(self) -> None:
        """BENCH_JOBS says how many jobs there will be, BENCH_PORT where the runner listens."""
        jobs = int(os.environ.get("BENCH_JOBS", "0"))
        self._runner = ("127.0.0.1", int(os.environ.get("BENCH_PORT", "0")))
        self._reported_at = {0, *(jobs * part // PARTS - 1 for part in range(1, PARTS + 1))}
        self._numbers = itertools.count()  # one step of it is atomic, so threads may share it
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def mark(self, payload: Mapping[str, Any]) -> None:
        """The job has begun: the whole of what a measured job does."""
        port = payload.get("port")
        if port is not None:
            self._tell(("127.0.0.1", port), {"ns": time.monotonic_ns(), "at": payload["at"], "now": time.time()})
            return
        number = next(self._numbers)
        if number in self._reported_at:
            self._tell(self._runner, {"ns": time.monotonic_ns(), "done": number + 1, "pid": os.getpid()})

    def _tell(self, whom: tuple[str, int], what: dict[str, object]) -> None:
        self._socket.sendto(json.dumps(what).encode(), whom)
