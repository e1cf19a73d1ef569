"""The system under one fault from inside: a server of its own, the worker with the fault, and a whole one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import redis as redis_py

from headrace import Client, Event, EventRecord
from headrace.formats.keys import Keys
from headrace.transport.single import Transport
from headrace_worker import WorkerConfig
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.protocol import leases, reading, rescuing
from tests.faults.calls import Call, CallLog
from tests.faults.inside.app import APP, BLOCKED_PID
from tests.faults.inside.fault import ARMED, Kind, Life
from tests.support.codecs import SCRAMBLER
from tests.support.processes import Process, Processes
from tests.support.waiting import WaitedInVain, wait_until

NAMESPACE = "inside"
LEASE_S = 1.0
CONFIG = WorkerConfig(lease=LEASE_S, stall=2 * LEASE_S, block=0.5, grace=1.5, concurrency=20)
DELAY_S = 0.4
"""Of the delayed events."""
_START_S, _RENAMED_S = 60.0, 3.0


class System:
    """One namespace, its workers, and what can be seen of them.

    Attributes:
        sent: every event that was sent, by its id: its name.
        struck: the worker with the fault inside, once it is started.
    """

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._folder = folder
        self._keys = Keys(NAMESPACE)
        self._processes = Processes(folder, server.url, NAMESPACE)
        self._plain = Client(server.url, namespace=NAMESPACE, attempts=30, timeout=None)
        self._sealing = Client(server.url, namespace=NAMESPACE, attempts=30, timeout=None, codec=SCRAMBLER)
        self._transport = Transport(server.url)
        self._redis: Any = redis_py.Redis.from_url(server.url)
        self._calls = CallLog(folder / "calls")
        self.sent: dict[str, str] = {}
        self.struck: Process | None = None

    def close(self) -> None:
        """End all processes, and close the connections."""
        self._processes.reap()
        self._plain.close()
        self._sealing.close()
        self._transport.close()
        self._redis.close()
        self._calls.close()

    # workers

    def start_struck(self, place: str, kind: Kind, life: Life) -> Process:
        """Start the worker with the fault inside; it leads, and the fault is not armed yet."""
        config = msgspec.structs.replace(CONFIG, queues=("default", "second")) if life == "troubled" else CONFIG
        self.struck = struck = self._start(place, kind.name, life, config=config)
        struck.wait_for_line("worker started", _START_S)
        wait_until(lambda: self._redis.exists(self._keys.leader), _START_S, what="a leader")
        return struck

    def arm(self, struck: Process) -> None:
        """Let the fault strike from now on."""
        os.kill(struck.pid, signal.SIGUSR1)
        struck.wait_for_line(ARMED, _START_S)

    def start_whole(self) -> Process:
        """Start a worker without a fault; it takes runs a moment later."""
        return self._start()

    def _start(self, *args: str, config: WorkerConfig = CONFIG) -> Process:
        env = {
            "HEADRACE_FAULTS_FOLDER": str(self._folder),
            "HEADRACE_FAULTS_CONFIG": msgspec.json.encode(config).decode(),
        }
        return self._processes.python("-m", "tests.faults.inside.runner", *args, env=env, name="worker")

    # what happens to the struck worker besides its fault

    def cut_lines(self) -> None:
        """Close all connections to the server; their owners connect again."""
        with contextlib.suppress(redis_py.ResponseError):  # none was there
            self._redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def fence(self, struck: Process) -> None:
        """Take the struck worker for dead, as the leader does when a lease has run out.

        Return when it has a new name, so that runs are pending only under the new name; or when it seems to get none.
        """
        names = self._names_of(struck)
        for name in names:
            wait_until(partial(self._try_to_fence, name), 10, what="a fenced worker")
        with contextlib.suppress(WaitedInVain):
            wait_until(lambda: not struck.is_running or self._names_of(struck) - names, _RENAMED_S)

    def _names_of(self, process: Process) -> set[str]:
        names = {name.decode() for name in self._redis.zrange(self._keys.workers, 0, -1)}
        return {name for name in names if f"-{process.pid}-" in name}

    def _try_to_fence(self, name: str) -> bool:
        queue = reading.queue_stream(self._keys, APP, "default")
        rescue = rescuing.rescue(self._keys, name, queue, [], dead=True, look_again_ms=CONFIG.look_again_ms, app=APP)
        self._transport.run([leases.end_lease(self._keys, name), rescue])
        return bool(self._redis.hexists(self._keys.worker(name), "fenced"))

    def block(self, struck: Process) -> None:
        """Send an event whose job blocks the event loop of the struck worker for good, and no other's."""
        (self._folder / BLOCKED_PID).write_text(str(struck.pid))
        self._note(self._sealing.send_event(Event("block")).id, "block")

    # events

    def send_load(self) -> None:
        """Send a few events of each kind."""
        for client, payload in ((self._plain, "small"), (self._sealing, "x" * 20_000)):
            self._send(client, "work", payload)
            self._send(client, "work", "soon", deliver_after=DELAY_S)
            self._send(client, "pick", {"n": 2})
            self._send(client, "turn", ordering_key="key")
        for name in ("late", "ask", "strict"):
            self._send(self._sealing, name, "text")
        self._note(self._plain.send_event(Event("pick", {"n": 0})).id, "")

    def _send(self, client: Client, name: str, payload: Any = None, **options: Any) -> None:
        self._note(client.send_event(Event(name, payload), **options).id, name)

    def _note(self, event_id: str, name: str) -> None:
        self.sent[event_id] = name

    # what can be seen

    def is_drained(self) -> bool:
        """Whether everything that was sent has settled, as far as the streams say."""
        with self._redis.pipeline(transaction=True) as moment:
            moment.xlen(self._keys.events)
            moment.xlen(self._keys.queue(APP, "default"))
            moment.zcard(self._keys.due)
            return not any(moment.execute())

    def records(self) -> dict[str, EventRecord]:
        """Return the records of all events that were sent, and of those that jobs have sent."""
        found: dict[str, EventRecord] = {}
        for event_id, name in self.sent.items():
            found[event_id] = record = self._sealing.get_event(event_id)
            if name == "ask":
                for answer in (run.output for run in record.runs if isinstance(run.output, str)):
                    found[answer] = self._sealing.get_event(answer)
        return found

    def calls(self) -> list[Call]:
        """Return all calls of jobs so far."""
        return self._calls.read()

    def now(self) -> datetime:
        """Return the server's time."""
        seconds, micros = self._redis.time()
        return datetime.fromtimestamp(seconds + micros / 1e6).astimezone()

    def outputs(self) -> str:
        """Return what all processes have written."""
        return "\n".join(f"--- {each.name}: {each.returncode}\n{each.output}" for each in self._processes.started)


@contextmanager
def open_system(folder: Path, binary: Path | None) -> Iterator[System]:
    """Provide a system with a server of its own; all that it has started ends with it."""
    with EmbeddedServer(binary=binary) as server:
        system = System(server, folder)
        try:
            yield system
        finally:
            system.close()
