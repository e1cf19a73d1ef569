"""Deletes what was kept long enough: contents of events, dead letters, and the oldest entries of the indexes.

The ids of events are remembered for longer. All other data expires on the server. Only the leader deletes; the lease's
answers say when there is anything to delete.
"""

from __future__ import annotations

from headrace import HeadraceError, Retention
from headrace_worker.leader.duty import Duty
from headrace_worker.membership.identity import Identity
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import forgetting

_PAGE = 200


class Forgetter(Duty):
    """Deletes in parts, each a short call for the server."""

    def __init__(self, server: ServerAccess, identity: Identity, retention: Retention) -> None:
        super().__init__("forgetter")
        self._server = server
        self._identity = identity
        self._retention = retention

    def notify(self) -> None:
        """Wake the loop: something was kept long enough."""
        self._wake.set()

    async def _work(self) -> None:
        """Delete all that was kept long enough, while this worker leads."""
        event_ids: list[str] = []
        while self._identity.is_leader.is_set() and not self._identity.stopping.is_set():
            call = forgetting.forget(self._server.keys, event_ids, self._retention, _PAGE)
            (forgotten,) = await self._server.commands.run([call])
            self.pulse.beat()
            event_ids = forgotten.following
            if not event_ids and forgotten.letters < _PAGE and not forgotten.trimmed:
                return

    async def recover(self, error: HeadraceError | None) -> None:
        """Do nothing: the next answer of the lease reports again what is left."""
