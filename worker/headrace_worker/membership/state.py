"""What the loops of one worker share: its current name, what it may do, and whether it stops."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Callable
from typing import Any

from headrace import PermissionMissing, ServerFull
from headrace.calls import checking
from headrace.connect import open_async_transport
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.plans.checks import check_count
from headrace_worker.app.app import App
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.clock import monotonic
from headrace_worker.config import WorkerConfig
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.loops import wait_either
from headrace_worker.membership.observer import Observer
from headrace_worker.membership.timed_codec import TimedCodec
from headrace_worker.protocol import leases, reading
from headrace_worker.protocol.leases import Registration
from headrace_worker.tasks.guard import Guard

log = get_logger("headrace.worker")


def new_name() -> str:
    """Return a name that no worker has had: a restarted process must not look like its old self."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:24] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class WorkerState:
    """The worker's identity and rights in one partition. Only `partition` changes the name, only leases the rights.

    Attributes:
        guard: starts tasks, timers and threads.
        keys: those of the partition.
        name: new at each start and, for this partition, after each fencing.
        codec: the app's, timed; None if the app has none.
        seal: seals and opens with that codec.
        observer: receives what happens.
        is_registered: set while the name has a lease, so that entries read under it can be rescued.
        may_dispatch: set while this worker may dispatch.
        is_leader: set while this worker leads: it promotes and rescues.
        stopping: set once this worker takes no new work.
        lease_until: until when the lease surely holds, by the monotonic clock in seconds; the lease's thread sets it.
        renewed: set at each renewal.
        connections: how many were made. After a new one the view of this worker may be stale: the server may have
            lost data, or delivered entries in a reply that was lost. A connection lost between calls fails no call.
    """

    def __init__(  # noqa: PLR0913 - what a partition works with
        self,
        app: App,
        partitions: Partitions,
        url: str,
        config: WorkerConfig,
        on_name: Callable[[str], None] | None = None,
        *,
        partition: int = 0,
        guard: Guard | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.app = app
        self.guard = guard or Guard()
        self.partitions = partitions
        self.keys = keys = partitions.all[partition]
        self.url = url
        self.config = config
        self.codec = None if app.codec is None else TimedCodec(app.codec)
        self.seal = Seal.of(self.codec, keys.namespace)
        self.name = new_name()
        self.observer = observer or Observer()
        self._on_name = on_name
        names = config.queues if config.queues is not None else app.queues
        self.queues = tuple(reading.queue_stream(keys, app.name, name) for name in names)
        blob = subscriptions_of(app)
        every_queue = tuple(sorted({*app.queues, *names}))
        self.registration = Registration(app.name, fingerprint_of(blob), blob, every_queue)
        self.commands = open_async_transport(url, attempts=1, on_connect=self.note_connection, home=keys.events)
        self.is_registered = asyncio.Event()
        self.may_dispatch = asyncio.Event()
        self.is_leader = asyncio.Event()
        self.stopping = asyncio.Event()
        self.lease_until = 0.0
        self.renewed = asyncio.Event()
        self.connections = 0

    async def note_connection(self, connection: Any) -> None:
        """Prepare the connection, and count it."""
        await connection.on_connect()
        self.connections += 1

    async def register(self) -> None:
        """Get a lease for the current name, and make every group that this worker reads.

        Raises:
            ConfigurationError: the namespace has another number of partitions.
        """
        await self._check_partitions()
        name = self.name
        if self._on_name is not None:
            self._on_name(name)
        call = leases.register(self.keys, name, self.config.lease_ms, self.registration)
        asked_at = monotonic()
        await self.commands.run([call])
        if name == self.name:
            self.lease_until = asked_at + self.config.lease_s
            self.is_registered.set()

    async def _check_partitions(self) -> None:
        call = checking.divide(self.keys, len(self.partitions))
        try:
            (count,) = await self.commands.run([call])
        except (PermissionMissing, ServerFull) as exc:
            log.warning("the namespace's number of partitions is not checked", error=str(exc))
        else:
            check_count(self.partitions, count)

    async def give_way(self) -> None:
        """Let the event loop turn after a slow call of the codec: leases and answers must not wait for many calls."""
        if self.codec is not None and self.codec.is_slow:
            await asyncio.sleep(0)

    async def wait_for_lease(self) -> None:
        """Return when the lease holds, as far as this worker can know, or when the worker stops.

        The name of a worker that stood still for long may be forgotten: entries read under it would have no lease.
        """
        while monotonic() >= self.lease_until and not self.stopping.is_set():
            self.renewed.clear()
            await wait_either(self.renewed, self.stopping)

    def take_new_name(self) -> None:
        """Replace the name by a new one, which has no lease and no rights yet."""
        for right in (self.is_registered, self.may_dispatch, self.is_leader):
            right.clear()  # before the name: the lease's thread must not renew a name that is not registered
        self.name = new_name()

    @property
    def block_ms(self) -> int:
        """How long a read of this worker waits at most."""
        return round(self.config.block_s * 1000)
