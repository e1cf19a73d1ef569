"""What the loops of one worker share: its name of the moment, what it may do, and whether it stops."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Callable

from headrace.keys import Keys
from headrace.seal import Seal
from headrace.transport import AsyncTransport
from headrace_worker import protocol
from headrace_worker.app import App
from headrace_worker.config import WorkerConfig
from headrace_worker.loops import wait_either
from headrace_worker.protocol import Registration
from headrace_worker.route import fingerprint_of, subscriptions_of


def new_name() -> str:
    """Returns a name that no worker has had: a restarted process must not look like its old self."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:24] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class WorkerState:
    """The worker's identity and rights. Only `worker` changes the name, only the lease's answers the rights.

    Attributes:
        name: new at each start and after each fencing.
        seal: the app's codec at work here; None where it has none.
        is_registered: set while the name has a lease, so that what is read under it can be rescued.
        has_seat: set while this worker may dispatch.
        is_leader: set while it promotes and rescues.
        stopping: set once it takes no new work.
        lease_until: until when the lease surely holds, by the monotonic clock in seconds; the lease's thread sets it.
        renewed: set at each renewal.
    """

    def __init__(
        self, app: App, keys: Keys, url: str, config: WorkerConfig, on_name: Callable[[str], None] | None = None
    ) -> None:
        self.app = app
        self.keys = keys
        self.url = url
        self.config = config
        self.seal = Seal.of(app.codec, keys.namespace)
        self.name = new_name()
        self._on_name = on_name
        names = config.queues if config.queues is not None else app.queues
        self.queues = tuple(protocol.queue_stream(keys, app.name, name) for name in names)
        blob = subscriptions_of(app)
        every_queue = tuple(sorted({*app.queues, *names}))
        self.registration = Registration(app.name, fingerprint_of(blob), blob, every_queue)
        self.commands = AsyncTransport(url, attempts=1)
        self.is_registered = asyncio.Event()
        self.has_seat = asyncio.Event()
        self.is_leader = asyncio.Event()
        self.stopping = asyncio.Event()
        self.lease_until = 0.0
        self.renewed = asyncio.Event()

    async def register(self) -> None:
        """The name of the moment has a lease, and every group that this worker reads exists."""
        name = self.name
        if self._on_name is not None:
            self._on_name(name)
        call = protocol.register(self.keys, name, self.config.lease_ms, self.registration)
        asked_at = time.monotonic()
        await self.commands.run([call])
        if name == self.name:
            self.lease_until = asked_at + self.config.lease_s
            self.is_registered.set()

    async def wait_for_lease(self) -> None:
        """Returns when the lease holds, as far as this worker can know, or when it stops.

        One that stood still for long may be dead and forgotten: what it reads then is in the hands of nobody.
        """
        while time.monotonic() >= self.lease_until and not self.stopping.is_set():
            self.renewed.clear()
            await wait_either(self.renewed, self.stopping)

    def take_new_name(self) -> None:
        """The old name is not used any more; the new one has no lease and no rights yet."""
        for right in (self.is_registered, self.has_seat, self.is_leader):
            right.clear()  # before the name: the lease's thread must not renew one that is not registered
        self.name = new_name()

    @property
    def block_ms(self) -> int:
        """How long a read of this worker waits at most."""
        return round(self.config.block_s * 1000)
