"""A connection over a Unix socket that waits while the server's backlog is full.

The system refuses such a connect with EAGAIN where the socket does not block, and asyncio takes that for one that is
under way and done a moment later: the connection would be lost at its first use.
"""

from __future__ import annotations

import asyncio
import random
import socket

from redis.asyncio import UnixDomainSocketConnection

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


class PatientConnection(UnixDomainSocketConnection):
    """Connects again until the server has room, for as long as any connect may take."""

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            reader, writer = await asyncio.open_unix_connection(sock=await _connected(self.path))
        self._reader, self._writer = reader, writer


async def _connected(path: str) -> socket.socket:
    """Return a socket that the server has taken into its backlog."""
    pause_s = _FIRST_PAUSE_S
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(0)
            sock.connect(path)
        except BlockingIOError:
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
