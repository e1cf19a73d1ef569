"""A server, a namespace on it, the workers there, and what a test of faults reads of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis as redis_py

from headrace import Client, Event, EventRecord, RunRecord
from headrace.formats.partitions import Partitions
from headrace.transport.single import Transport
from headrace_worker import App, Worker, WorkerConfig
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Registration
from tests.faults.apps import APPS, gate_path
from tests.faults.calls import CallLog
from tests.support.leaks import find_leaks
from tests.support.processes import Process, Processes
from tests.support.servers import ControlledServer
from tests.support.waiting import await_until, wait_until

OUTAGE = (redis_py.RedisError, OSError)
"""What a look at a server that is away may raise."""
_OPEN_WORK = """
local open = 0
for i = 1, #KEYS do
  open = open + redis.call(i <= tonumber(ARGV[1]) and 'ZCARD' or 'XLEN', KEYS[i])
end
return open
"""


class Deployment:
    """One server and one namespace of it.

    Attributes:
        keys: those of its partition, or of the first.
    """

    def __init__(
        self, server: ControlledServer, namespace: str, processes: Processes, folder: Path, partitions: int = 1
    ) -> None:
        self.server = server
        self.url = server.url
        self.namespace = namespace
        self.folder = folder
        self.partitions = Partitions(namespace, partitions)
        self.keys = self.partitions.first
        self.client = Client(server.url, namespace=namespace, partitions=partitions, attempts=30, timeout=None)
        self.redis: Any = redis_py.Redis.from_url(server.url)
        self.calls = CallLog(folder / "calls")
        self._processes = processes

    def close(self) -> None:
        """Close the deployment's connections."""
        self.client.close()
        self.redis.close()
        self.calls.close()

    # workers

    def start_worker(
        self,
        app: str,
        *,
        url: str | None = None,
        runner: str = "tests.faults.runner",
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Process:
        """Start a worker process, which has no runs yet; `worker_name` waits for it."""
        config = msgspec.json.encode(WorkerConfig(**settings)).decode()
        full_env = {**self.environment(url), **(env or {}), "HEADRACE_FAULTS_CONFIG": config}
        return self._processes.python("-m", runner, app, env=full_env, name=f"{app}-worker")

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return the environment that a process needs to find the deployment."""
        return {
            "HEADRACE_URL": url or self.url,
            "HEADRACE_NAMESPACE": self.namespace,
            "HEADRACE_PARTITIONS": str(len(self.partitions)),
            "HEADRACE_FAULTS_FOLDER": str(self.folder),
        }

    def register_dead(self, name: str, app: str | App) -> None:
        """Give a worker of this name a lease that has expired."""
        whole = self.app(app) if isinstance(app, str) else app
        blob = subscriptions_of(whole)
        registration = Registration(whole.name, fingerprint_of(blob), blob, ("default",))
        transport = Transport(self.url)
        transport.run([leases.register(self.keys, name, 1, registration)])
        transport.close()

    def app(self, name: str) -> App:
        """Return an app whose worker is to run on the test's own event loop."""
        return APPS[name](self.folder)

    @asynccontextmanager
    async def working(self, app: App, *, url: str | None = None, **settings: Any) -> AsyncIterator[Worker]:
        """Run a registered worker on this event loop; stop it in order at the end."""
        config, count = WorkerConfig(**settings), len(self.partitions)
        worker = Worker(app, url or self.url, namespace=self.namespace, partitions=count, config=config)
        running = asyncio.ensure_future(worker.run())
        try:
            await await_until(lambda: running.done() or self.is_registered(worker.name), 30, what="a registered worker")
            yield worker
            assert not running.done(), "the worker has ended by itself"
        except BaseException:
            worker.stop_now()
            await asyncio.wait([running], timeout=10)
            raise
        worker.stop()
        await asyncio.wait_for(running, 30)

    def is_registered(self, name: str | None) -> bool:
        """Return whether the worker has a lease, expired or not."""
        return name is not None and self.redis.zscore(self.keys.workers, name) is not None

    def workers(self) -> set[str]:
        """Return the names that have a lease, or that the leader will look at again."""
        return {name.decode() for name in self.redis.zrange(self.keys.workers, 0, -1)}

    def is_fenced(self, name: str | None) -> bool:
        """Return whether the name is marked as fenced."""
        return bool(self.redis.hexists(self.keys.worker(name or ""), "fenced"))

    def leader(self) -> str:
        """Return the name of the worker that leads, or led last."""
        return (self.redis.get(self.keys.leader) or b"").decode().partition(" ")[0]

    # gates and events

    def open_gate(self, name: str) -> None:
        """Let the functions go on that wait at the gate."""
        gate_path(self.folder, name).touch()

    def send(self, name: str, payload: Any = None, **options: Any) -> str:
        """Send an event, and return its id."""
        return self.client.send_event(Event(name, payload=payload), **options).id

    def send_many(self, name: str, count: int) -> list[str]:
        """Send so many events, and return their ids."""
        return [sent.id for sent in self.client.send_events([Event(name) for _ in range(count)])]

    def see_through(self, name: str, payload: Any = None, timeout: float = 20, **options: Any) -> RunRecord:
        """Send an event for one job, and return its run once it has settled."""
        (run,) = self.client.wait_for_event(self.send(name, payload, **options), timeout).runs
        return run

    # what can be seen

    def queue(self, app: str, queue: str = "default") -> str:
        """Return the key of a queue."""
        return self.keys.queue(app, queue)

    def held_by(self, worker: str, app: str, queue: str = "default") -> list[tuple[str, str]]:
        """Return the (event, job) of each run that is pending under a worker's name."""
        key = self.queue(app, queue)
        rows = self.redis.xpending_range(key, "workers", "-", "+", 100_000, worker)
        held = []
        for row in rows:
            for _, fields in self.redis.xrange(key, row["message_id"], row["message_id"]):
                held.append((fields[b"e"].decode(), fields[b"j"].decode()))
        return held

    def consumers(self, stream: str, group: str) -> set[str]:
        """Return the names that a group knows."""
        return {row["name"].decode() for row in self.redis.xinfo_consumers(stream, group)}

    def undispatched(self, worker: str) -> int:
        """Return how many entries of `events` are pending under a worker's name."""
        return len(self.redis.xpending_range(self.keys.events, "dispatch", "-", "+", 100_000, worker))

    def open_work(self, app: str, *queues: str) -> int:
        """Return how much is still to be dispatched, promoted or settled."""
        # All at one moment, and not in MULTI: there a full Redis 6.2 refuses even what only reads.
        due = [keys.due for keys in self.partitions.all]
        streams = [keys.events for keys in self.partitions.all]
        streams += [keys.queue(app, queue) for keys in self.partitions.all for queue in queues or ("default",)]
        return int(self.redis.eval(_OPEN_WORK, len(due) + len(streams), *due, *streams, len(due)))

    def wait_drained(self, app: str, timeout: float = 60) -> None:
        """Return when everything that was sent has settled."""
        wait_until(lambda: self.open_work(app) == 0, timeout, what="drained queues", interval=0.02, ignoring=OUTAGE)

    async def drained(self, app: str, *queues: str, timeout: float = 60) -> None:
        """As `wait_drained`, while the event loop goes on."""
        await await_until(
            lambda: self.open_work(app, *queues) == 0,
            timeout,
            what="drained queues",
            interval=0.02,
            ignoring=OUTAGE,
        )

    def records(self, ids: Sequence[str]) -> list[EventRecord]:
        """Return the events' records."""
        return [self.client.get_event(event_id) for event_id in ids]

    def statuses(self, event_id: str) -> dict[str, str]:
        """Return each job's run of an event, by the job's id: its status."""
        return {run.job.partition("/")[2]: run.status for run in self.client.get_event(event_id).runs}

    def now_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = self.redis.time()
        return int(seconds * 1000 + micros // 1000)

    async def passed(self, seconds: float) -> None:
        """Return when so many seconds have passed by the server's clock."""
        until = self.now_ms() + seconds * 1000
        await await_until(lambda: self.now_ms() > until, 60, what=f"{seconds:g} s", interval=0.05)

    def leaks(self) -> list[str]:
        """Return the keys of the namespace that nothing will ever remove."""
        return find_leaks(self.redis, self.namespace)


def worker_name(process: Process) -> str:
    """Return the name under which a worker process has started, once it has."""
    line = process.wait_for_line(r"^\{.*\"worker started\".*$", 30)[0]
    found = re.search(r'"worker": "([^"]+)"', line)
    assert found is not None
    return found[1]
