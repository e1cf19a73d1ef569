"""The master of a service that sentinels watch dies under load, and what its replicas have is run to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_py

from headrace import Client, Event, EventNotFound, EventRecord, HeadraceError, SentEvent
from headrace.keys import Keys
from headrace_worker import WorkerConfig
from tests.faults.calls import CallLog
from tests.support.processes import Process, Processes
from tests.support.sentinels import Watched
from tests.support.waiting import wait_until

_NAMESPACE = "failover"
_ATTEMPTS = 60
"""Many more than an election takes."""
_UNREACHED = (redis_py.RedisError, OSError)


@pytest.fixture
def watched(tmp_path: Path, server_binary: Path) -> Iterator[Watched]:
    with Watched(tmp_path, server_binary) as watched:
        yield watched


@pytest.fixture
def client(watched: Watched) -> Iterator[Client]:
    with Client(watched.url(), namespace=_NAMESPACE, attempts=_ATTEMPTS) as client:
        yield client


class Sender:
    """Sends events in a thread, a few at a time, until it is told to stop; `sent` is what was acknowledged."""

    def __init__(self, url: str, **options: Any) -> None:
        self.sent: list[SentEvent] = []
        self.longest_s = 0.0
        self._options = options
        self._client = Client(url, namespace=_NAMESPACE, attempts=_ATTEMPTS)
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        try:
            while not self._over.wait(0.01):
                began = time.monotonic()
                self.sent += self._client.send_events([Event("load")] * 10, **self._options)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
        except Exception as exc:  # noqa: BLE001 - the test shows it
            self._failure = exc
        finally:
            self._client.close()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(120)
        if self._failure is not None:
            raise self._failure


def start_worker(processes: Processes, watched: Watched, folder: Path) -> Process:
    config = msgspec.json.encode(WorkerConfig(lease_s=3, block_s=0.5, concurrency=100)).decode()
    env = {
        "HEADRACE_URL": watched.url(),
        "HEADRACE_NAMESPACE": _NAMESPACE,
        "HEADRACE_FAULTS_FOLDER": str(folder),
        "HEADRACE_FAULTS_CONFIG": config,
    }
    return processes.python("-m", "tests.faults.runner", "load", env=env, name="load-worker")


def kill_master(watched: Watched) -> float:
    """Returns after how long every sentinel names another master than the one that was killed."""
    dead = watched.master
    dead.kill()
    began = time.monotonic()

    def is_known() -> bool:
        return all(sentinel.state()["port"] != str(dead.port) for sentinel in watched.sentinels)

    wait_until(is_known, 60, what="another master")
    return time.monotonic() - began


def is_drained(watched: Watched) -> bool:
    keys = Keys(_NAMESPACE)
    with redis_py.Redis.from_url(watched.master.tcp_url) as redis:
        counts: list[Any] = [redis.xlen(keys.events), redis.xlen(keys.queue("load", "default")), redis.zcard(keys.due)]
    return not any(counts)


def record_of(client: Client, event: SentEvent) -> EventRecord | None:
    try:
        return client.get_event(event.id)
    except EventNotFound:
        return None


def wait_for_calls(calls: CallLog, count: int) -> None:
    until = calls.count() + count
    wait_until(lambda: calls.count() >= until, 60, what=f"{count} calls")


@pytest.mark.parametrize("nth", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 8))])
def test_a_failover_under_load_loses_nothing_that_every_replica_has(
    watched: Watched,
    client: Client,
    processes: Processes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    nth: int,
) -> None:
    """What was sent with `wait_replicas=2` and has two is run to its end; workers live on, and everything drains."""
    calls = CallLog(tmp_path / "calls")
    workers = [start_worker(processes, watched, tmp_path) for _ in range(2)]
    for worker in workers:
        worker.wait_for_line("worker started", 30)
    sure, loose = Sender(watched.url(), wait_replicas=2, wait_replicas_timeout=0.5), Sender(watched.url())
    try:
        wait_for_calls(calls, 600)
        election_s = kill_master(watched)
        wait_for_calls(calls, 600)
    finally:
        sure.stop()
        loose.stop()
    wait_until(lambda: is_drained(watched), 60, what="drained queues", ignoring=_UNREACHED)
    records = {event.id: record_of(client, event) for event in (*sure.sent, *loose.sent)}
    counts = calls.counts()
    replicated = [event.id for event in sure.sent if event.replicas == 2]
    assert [] == [event_id for event_id in replicated if records[event_id] is None] != replicated
    for event_id, record in records.items():
        if record is not None:
            assert [run.status for run in record.runs] == ["succeeded"] * 3
            assert all(counts[event_id, job] for job in "abc")
    assert all(worker.is_running for worker in workers)
    calls.close()
    with capsys.disabled():
        print(
            f"\nfailover {nth}; with wait_replicas=2: {len(sure.sent)} events, {len(replicated)} of them on both "
            f"replicas, {sum(records[event.id] is None for event in sure.sent)} lost; "
            f"without: {len(loose.sent)} events, {sum(records[event.id] is None for event in loose.sent)} lost; "
            f"{len(counts)} runs, {sum(counts.values()) - len(counts)} called again; another master after "
            f"{election_s:.1f} s, longest send {max(sure.longest_s, loose.longest_s):.1f} s"
        )


def test_what_no_replica_has_is_lost_with_its_master(watched: Watched, client: Client) -> None:
    """`replicas` tells it: both mean kept, none may mean lost; sending it again with its id is safe either way."""
    kept = client.send_event(Event("work"), wait_replicas=2, wait_replicas_timeout=5)
    assert kept.replicas == 2
    replicas = watched.replicas
    for replica in replicas:
        replica.pause()
    with redis_py.Redis.from_url(watched.master.tcp_url) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "replica")  # or the kernel would keep what they are sent
    lost = client.send_event(Event("work"), wait_replicas=1, wait_replicas_timeout=0.05)
    assert lost.replicas == 0
    watched.master.kill()
    for replica in replicas:
        replica.resume()
    wait_until(lambda: client.get_event(kept.id), 60, what="another master", ignoring=(HeadraceError,))
    assert record_of(client, lost) is None
    again = client.send_event(Event("work", id=lost.id), wait_replicas=1, wait_replicas_timeout=5)
    assert (again.duplicate, again.replicas) == (False, 1)
    assert client.send_event(Event("work", id=kept.id)).duplicate
