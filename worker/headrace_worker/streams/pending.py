"""The entries that are pending under this worker's name, some of them perhaps unseen by the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from headrace_worker.membership.identity import Identity
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Entry, Stream


class Pending:
    """What one loop knows of the entries that are pending under the worker's name.

    Entries may be unseen after a failed call, whose lost reply may have delivered them; and after each new connection,
    as the server may have been restarted with older data.
    """

    def __init__(self, server: ServerAccess, identity: Identity) -> None:
        self._server = server
        self._identity = identity
        self._is_doubted = False
        self._looked_at_connection = 0

    def doubt(self) -> None:
        """Note that a call has failed."""
        self._is_doubted = True

    @property
    def is_doubted(self) -> bool:
        """Whether a call has failed since the last look."""
        return self._is_doubted

    @property
    def may_be_unseen(self) -> bool:
        """Whether a call has failed, or a connection was made, since the last look."""
        return self._is_doubted or self._looked_at_connection != self._server.connections

    async def look(self, streams: Sequence[Stream]) -> AsyncIterator[tuple[Stream, list[Entry]]]:
        """Yield the pending entries of these streams, page by page; the doubt ends with the last page.

        The doubt stays if the worker takes a new name meanwhile.
        """
        self._looked_at_connection = self._server.connections  # before: a connection that the look makes is new
        name = self._identity.name
        for stream in streams:
            async for page in pending_entries(self._server, stream, name):
                yield stream, page
        self._is_doubted = name != self._identity.name


async def pending_entries(server: ServerAccess, stream: Stream, name: str) -> AsyncIterator[list[Entry]]:
    """Yield the entries of a stream that are pending under a name of this worker, page by page."""
    after = "0"
    while True:
        call = reading.read_own(stream.group, name, stream.key, after, reading.MAX_READ)
        (page,) = await server.commands.run([call])
        if not page:
            return
        yield page
        after = page[-1][0].decode()
