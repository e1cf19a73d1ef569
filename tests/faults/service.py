"""A service that sentinels watch, under load: senders, workers, and what has become of each event."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis as redis_py

from headrace import Client, Event, EventNotFound, EventRecord, SentEvent
from headrace.formats.keys import Keys
from headrace_worker import WorkerConfig
from tests.faults.calls import CallLog
from tests.support.processes import Process, Processes
from tests.support.sentinels import Watched
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until

NAMESPACE = "failover"
ATTEMPTS = 60
"""Many more than an election takes."""
UNREACHED = (redis_py.RedisError, OSError)


class Sender:
    """Send events in a thread, a few at a time, until `stop`.

    Attributes:
        sent: what was acknowledged.
        longest_s: how long the longest call took.
    """

    def __init__(self, url: str, *, pause_s: float = 0.01, **options: Any) -> None:
        self.sent: list[SentEvent] = []
        self.longest_s = 0.0
        self._pause_s = pause_s
        self._options = options
        self._client = Client(url, namespace=NAMESPACE, attempts=ATTEMPTS, timeout=None)
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        try:
            while not self._over.wait(self._pause_s):
                began = time.monotonic()
                self.sent += self._client.send_events([Event("load")] * 10, **self._options)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
        except Exception as exc:  # noqa: BLE001 - the test shows it
            self._failure = exc
        finally:
            self._client.close()

    def stop(self) -> None:
        """Send nothing more; raise what a send has raised."""
        self._over.set()
        self._thread.join(120)
        if self._failure is not None:
            raise self._failure


class Service:
    """What works on the service, and what can be seen of it.

    Attributes:
        watched: the service.
        client: a client of it.
        calls: the calls of the workers' functions.
    """

    def __init__(self, watched: Watched, client: Client, processes: Processes, folder: Path) -> None:
        self.watched = watched
        self.client = client
        self.calls = CallLog(folder / "calls")
        self._processes = processes
        self._folder = folder

    def start_workers(self, count: int = 2, lease_s: float = 3) -> list[Process]:
        """Start worker processes of the app `load`, and return them when they work."""
        config = msgspec.json.encode(WorkerConfig(lease=lease_s, block=0.5, concurrency=100)).decode()
        env = {
            "HEADRACE_URL": self.watched.url(),
            "HEADRACE_NAMESPACE": NAMESPACE,
            "HEADRACE_FAULTS_FOLDER": str(self._folder),
            "HEADRACE_FAULTS_CONFIG": config,
        }
        workers = [
            self._processes.python("-m", "tests.faults.runner", "load", env=env, name="load-worker")
            for _ in range(count)
        ]
        for worker in workers:
            worker.wait_for_line("worker started", 30)
        return workers

    def kill_master(self) -> tuple[ControlledServer, float]:
        """Return the server that was killed, and after how long every sentinel named another master."""
        dead = self.watched.master
        dead.kill()
        began = time.monotonic()

        def is_known() -> bool:
            return all(sentinel.state()["port"] != str(dead.port) for sentinel in self.watched.sentinels)

        wait_until(is_known, 60, what="another master")
        return dead, time.monotonic() - began

    def wait_for_calls(self, count: int) -> None:
        """Return when so many more functions were called."""
        until = self.calls.count() + count
        wait_until(lambda: self.calls.count() >= until, 60, what=f"{count} calls")

    def wait_drained(self) -> None:
        """Return when everything that is there has settled."""
        wait_until(self._is_drained, 120, what="drained queues", ignoring=UNREACHED)

    def _is_drained(self) -> bool:
        keys = Keys(NAMESPACE)
        with redis_py.Redis.from_url(self.watched.master.tcp_url) as redis:
            counts: list[Any] = [redis.xlen(keys.events), redis.xlen(keys.queue("load", "default"))]
            return not any([*counts, redis.zcard(keys.due)])

    def record_of(self, event: SentEvent) -> EventRecord | None:
        """Return what the service knows of an event."""
        try:
            return self.client.get_event(event.id)
        except EventNotFound:
            return None

    def lost_of(self, events: Sequence[SentEvent]) -> list[str]:
        """Return the ids that the service does not know; every other event has succeeded in every job."""
        counts, lost = self.calls.counts(), []
        for event in events:
            record = self.record_of(event)
            if record is None:
                lost.append(event.id)
                continue
            assert [run.status for run in record.runs] == ["succeeded"] * 3
            assert all(counts[event.id, job] for job in "abc")
        return lost

    def called_again(self) -> int:
        """Return how many calls there were beyond one for each run."""
        counts = self.calls.counts()
        return sum(counts.values()) - len(counts)
