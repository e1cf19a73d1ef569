"""A worker as a member of one partition: the parts that its loops share there, and its registration."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace import PermissionMissing, ServerFull
from headrace.calls import checking
from headrace.plans.checks import check_count
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.identity import Identity, new_name
from headrace_worker.membership.observer import Observer
from headrace_worker.membership.run_counts import RunCounts
from headrace_worker.membership.server import ServerAccess
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol import leases
from headrace_worker.tasks.guard import Guard

log = get_logger("headrace.worker")


class Member(msgspec.Struct, frozen=True):
    """The parts that the loops of a worker share in one partition. A loop keeps only the parts that it uses.

    Attributes:
        setup: what does not change.
        server: reaches the partition's server.
        identity: the name, its lease and its rights.
        observer: receives what happens.
        guard: starts tasks, timers and threads.
        counts: what became of the runs, for the worker's reports.
        on_name: receives each name before anything is delivered to the name.
    """

    setup: WorkerSetup
    server: ServerAccess
    identity: Identity
    observer: Observer
    guard: Guard
    counts: RunCounts
    on_name: Callable[[str], None] | None = None

    @classmethod
    def of(
        cls,
        setup: WorkerSetup,
        *,
        name: str | None = None,
        observer: Observer | None = None,
        guard: Guard | None = None,
        on_name: Callable[[str], None] | None = None,
    ) -> Member:
        """Return a member that is not registered yet; connect nothing yet."""
        server, identity = ServerAccess(setup.url, setup.keys), Identity(name or new_name())
        return cls(
            setup, server, identity, observer or Observer(), guard or Guard(), RunCounts(setup.app.jobs), on_name
        )

    async def register(self) -> None:
        """Get a lease for the current name, and make every group that this worker reads.

        Raises:
            ConfigurationError: the namespace has another number of partitions.
        """
        await self._check_partitions()
        setup, identity = self.setup, self.identity
        name = identity.name
        if self.on_name is not None:
            self.on_name(name)
        call = leases.register(setup.keys, name, setup.config.lease_ms, setup.registration)
        asked_at = monotonic()
        await self.server.commands.run([call])
        if name == identity.name:
            identity.lease_until = asked_at + setup.config.lease_s
            identity.is_registered.set()

    async def _check_partitions(self) -> None:
        partitions = self.setup.partitions
        call = checking.divide(self.setup.keys, len(partitions))
        try:
            (count,) = await self.server.commands.run([call])
        except (PermissionMissing, ServerFull) as exc:
            log.warning("the namespace's number of partitions is not checked", error=str(exc))
        else:
            check_count(partitions, count)
