"""Blocked reads that end on request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar

import redis.exceptions

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.connect import open_async_transport
from headrace_worker import protocol
from headrace_worker.membership.state import WorkerState
from headrace_worker.membership.watch import Pulse

T = TypeVar("T")


class Reader:
    """One connection for one loop's blocked reads.

    A read is never cancelled: what the server had just handed out would stay in this worker's hands unseen. It is
    ended through the server instead, or runs until its time is up.
    """

    def __init__(self, state: WorkerState, pulse: Pulse, longest_s: float | None = None) -> None:
        """Nothing is connected yet.

        Args:
            pulse: that of the loop which reads.
            longest_s: how long a read may wait; as long as the worker's settings say if None.
        """
        self._state = state
        self._pulse = pulse
        self._longest_s = state.config.block_s if longest_s is None else longest_s
        self._client_id: int | None = None
        self._is_reading = False
        self._ending: asyncio.Task[None] | None = None
        self._transport = open_async_transport(
            state.url,
            attempts=1,
            reply_timeout_s=self._longest_s + 5,
            on_connect=self._note_client_id,
        )

    async def _note_client_id(self, connection: Any) -> None:
        await self._state.note_connection(connection)
        await connection.send_command("CLIENT", "ID")
        self._client_id = None
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            self._client_id = await connection.read_response()

    async def read(self, call: Call[T]) -> T:
        """Returns what the read gives; it may wait as long as the call says."""
        self._is_reading = True
        self._pulse.allow(self._longest_s)
        try:
            (result,) = await self._transport.run([call])
        finally:
            self._is_reading = False
        found: T = result
        return found

    async def read_until(self, seconds: float, call: Call[T]) -> T:
        """Returns what the read gives, or what it gives when it is ended after so many seconds.

        The server looks at the times of blocked reads ten times a second only, so its own end of this one may come a
        tenth of a second late. It is the rescue for a user who may not end reads.
        """
        timer = self._state.guard.later(seconds, self._end_soon)
        try:
            return await self.read(call)
        finally:
            timer.cancel()

    def _end_soon(self) -> None:
        self._ending = self._state.guard.aside("the end of a read", self.end())

    async def end(self) -> None:
        """The read that is open, if one is, ends soon; where the server's user may not do that, at its own time."""
        if self._is_reading and self._client_id is not None:
            with contextlib.suppress(HeadraceError):
                await self._state.commands.run([protocol.unblock(self._client_id)])

    async def close(self) -> None:
        """The connection is closed."""
        await self._transport.close()
