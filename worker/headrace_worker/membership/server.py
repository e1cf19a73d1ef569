"""How the loops of a worker reach one partition of the server."""

from __future__ import annotations

from typing import Any

from headrace.connect import open_async_transport
from headrace.formats.keys import Keys


class ServerAccess:
    """The partition's keys, and the connection for calls that do not block.

    Attributes:
        url: for connections of their own, as readers make them.
        keys: those of the partition.
        commands: sends calls; on the worker's event loop only.
        connections: how many were made. After a new one the view of this worker may be stale: the server may have
            lost data, or delivered entries in a reply that was lost. A connection lost between calls fails no call.
    """

    def __init__(self, url: str, keys: Keys) -> None:
        """Connect nothing yet."""
        self.url = url
        self.keys = keys
        self.commands = open_async_transport(url, attempts=1, on_connect=self.note_connection, home=keys.events)
        self.connections = 0

    async def note_connection(self, connection: Any) -> None:
        """Prepare the connection, and count it."""
        await connection.on_connect()
        self.connections += 1
