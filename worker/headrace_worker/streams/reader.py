"""Blocked reads that end on request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar

import redis.exceptions

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.connect import open_async_transport
from headrace_worker.membership.server import ServerAccess
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import reading
from headrace_worker.tasks.guard import Guard

T = TypeVar("T")


class Reader:
    """One connection for one loop's blocked reads.

    A read is never cancelled: entries that the server has just delivered would stay pending unseen. A read is ended
    through the server instead, or waits until its time is up.
    """

    def __init__(self, server: ServerAccess, guard: Guard, pulse: Pulse, longest_s: float) -> None:
        """Connect nothing yet.

        Args:
            pulse: of the loop that reads.
            longest_s: how long a read may wait.
        """
        self._server = server
        self._guard = guard
        self._pulse = pulse
        self._longest_s = longest_s
        self._client_id: int | None = None
        self._is_reading = False
        self._ending: asyncio.Task[None] | None = None
        self._transport = open_async_transport(
            server.url,
            attempts=1,
            reply_timeout_s=self._longest_s + 5,
            on_connect=self._note_client_id,
        )

    async def _note_client_id(self, connection: Any) -> None:
        await self._server.note_connection(connection)
        await connection.send_command("CLIENT", "ID")
        self._client_id = None
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            self._client_id = await connection.read_response()

    @property
    def is_reading(self) -> bool:
        """Whether a read is open."""
        return self._is_reading

    async def read(self, call: Call[T]) -> T:
        """Return the result of the read, which may wait as long as the call says."""
        self._is_reading = True
        self._pulse.allow(self._longest_s)
        try:
            (result,) = await self._transport.run([call])
        finally:
            self._is_reading = False
        found: T = result
        return found

    async def read_until(self, seconds: float, call: Call[T]) -> T:
        """Return the result of the read, and end the read after so many seconds.

        The server checks the timeouts of blocked reads only ten times a second, so its own end of the read may come a
        tenth of a second late. That end is the fallback for a user who may not end reads.
        """
        timer = self._guard.later(seconds, self._end_soon)
        try:
            return await self.read(call)
        finally:
            timer.cancel()

    def _end_soon(self) -> None:
        self._ending = self._guard.detached("the end of a read", self.end())

    async def end(self) -> None:
        """End the open read soon, if there is one; without the right to that, the read ends at its own time."""
        if self._is_reading and self._client_id is not None:
            with contextlib.suppress(HeadraceError):
                await self._server.commands.run([reading.unblock(self._client_id)])

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()
