"""Who a worker is in one partition: its current name, how long the name's lease holds, and what the name may do."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from typing import Literal

from headrace_worker.clock import monotonic
from headrace_worker.membership.loops import wait_either


def new_name() -> str:
    """Return a name that no worker has had: a restarted process must not look like its old self."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:24] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Identity:
    """The worker's name and rights in one partition. Only `Partition` changes the name, only leases the rights.

    Attributes:
        name: new at each start and, for this partition, after each fencing.
        is_registered: set while the name has a lease, so that entries read under it can be rescued.
        may_dispatch: set while this worker may dispatch.
        is_leader: set while this worker leads: it promotes and rescues.
        stopping: set once this worker takes no new work.
        is_quiet: whether this worker fetches no more runs, and goes on otherwise.
        lease_until: until when the lease surely holds, by the monotonic clock in seconds; the lease's thread sets it.
        renewed: set at each renewal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_registered = asyncio.Event()
        self.may_dispatch = asyncio.Event()
        self.is_leader = asyncio.Event()
        self.stopping = asyncio.Event()
        self.is_quiet = False
        self.lease_until = 0.0
        self.renewed = asyncio.Event()

    @property
    def state(self) -> Literal["live", "quiet", "stopping"]:
        """What this worker says of itself: `quiet` once it fetches no more runs, `stopping` once it stops."""
        return "stopping" if self.stopping.is_set() else "quiet" if self.is_quiet else "live"

    def take_new_name(self) -> None:
        """Replace the name by a new one, which has no lease and no rights yet."""
        for right in (self.is_registered, self.may_dispatch, self.is_leader):
            right.clear()  # before the name: the lease's thread must not renew a name that is not registered
        self.name = new_name()

    async def wait_for_lease(self) -> None:
        """Return when the lease holds, as far as this worker can know, or when the worker stops.

        The name of a worker that stood still for long may be forgotten: entries read under it would have no lease.
        """
        while monotonic() >= self.lease_until and not self.stopping.is_set():
            self.renewed.clear()
            await wait_either(self.renewed, self.stopping)
