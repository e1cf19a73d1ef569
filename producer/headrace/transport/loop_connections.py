"""Keeps the connections of an awaited transport, a set for each event loop, as a connection works in its own loop only.

A client may be used by one event loop after another, and by those of several threads at once. The connections of a loop
are closed when it ends; those of a loop that was closed without an end are closed when another one first calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

import redis

_abandoned: list[Any] = []
"""The connections of a parent, in its fork: to close one would tell the parent's event loop to forget its own."""


_LOOK = "can_read" if hasattr(redis.asyncio.Connection, "can_read") else "can_read_destructive"
"""Says whether bytes have come, or the server has closed the connection; redis-py 8 has renamed it."""


async def is_stale(connection: Any) -> bool:
    """Return whether something has come that no call waits for: most likely the server has closed the connection."""
    try:
        found: bool = await getattr(connection, _LOOK)()
    except redis.ConnectionError:  # so an older redis-py says that it was closed
        return True
    return found


class LoopConnections:
    """The connections of one event loop.

    Attributes:
        loop: the event loop; None for what stands in before there is one.
        pool: makes the connections.
        idle: those that no call uses; each spares the next call the pool's bookkeeping.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None, pool: Any) -> None:
        self.loop = loop
        self.pool = pool
        self.idle: list[Any] = []
        self._ending: AsyncGenerator[None, None] | None = None

    async def close_with_loop(self) -> None:
        """Let the end of the event loop close the connections."""
        self._ending = _until_loop_ends(weakref.ref(self))
        await anext(self._ending)

    async def borrow(self) -> Any:
        """Return a connection that no other call has."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_connected and not await is_stale(connection):
                return connection
            await self.drop(connection)
        return await self.pool.get_connection()

    async def drop(self, connection: Any) -> None:
        """Close a connection; nothing is waited for."""
        await connection.disconnect(nowait=True)
        await self.pool.release(connection)

    async def drop_idle(self) -> None:
        """Close what no call uses; the next call connects anew, to where the server is then."""
        while self.idle:
            await self.drop(self.idle.pop())

    async def close(self) -> None:
        """Close all connections; to be awaited in their own event loop."""
        ending, self._ending = self._ending, None
        if ending is not None:
            await ending.aclose()
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close all connections, and leave it to the end of the event loop to close what is opened since."""
        while self.idle:
            await self.pool.release(self.idle.pop())
        with contextlib.suppress(redis.RedisError):  # one that does not close in order in its time is dropped
            await self.pool.disconnect()

    async def leave(self) -> None:
        """Close the connections from another event loop; theirs is not waited for."""
        if self.loop is not None and not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed in this moment
                self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.close()))
            return
        while self.idle:
            await _disconnect_without_loop(self.idle.pop())


async def _until_loop_ends(connections: weakref.ref[LoopConnections]) -> AsyncGenerator[None, None]:
    """Close the connections when the event loop ends: it closes the asynchronous generators that it knows first."""
    try:
        yield
    finally:
        found = connections()
        if found is not None:
            await found.disconnect()


async def _disconnect_without_loop(connection: Any) -> None:
    """Close a connection whose event loop is closed, so that the server need not keep it."""
    writer = connection._writer  # noqa: SLF001 - its own way to close needs its event loop
    if writer is not None and (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(RuntimeError, redis.RedisError):
        await connection.disconnect(nowait=True)


class ConnectionSets:
    """The connections of one transport.

    Attributes:
        current: those of the event loop that has called last.
    """

    def __init__(self, make_pool: Callable[[], Any]) -> None:
        """Begin without connections; raise as `make_pool` does."""
        self._make_pool = make_pool
        self._sets: dict[asyncio.AbstractEventLoop, LoopConnections] = {}
        self._none = self.current = LoopConnections(None, make_pool())
        _all.add(self)

    async def enter(self) -> LoopConnections:
        """Return the connections of the event loop that runs here."""
        loop = asyncio.get_running_loop()
        found = self._sets.get(loop)
        if found is None:
            for ended in [each for each in self._sets if each.is_closed()]:
                if (left := self._sets.pop(ended, None)) is not None:
                    await left.leave()
            found = self._sets[loop] = LoopConnections(loop, self._make_pool())
            await found.close_with_loop()
        self.current = found
        return found

    async def close(self) -> None:
        """Close all connections, those of other event loops without waiting for them."""
        self.current = self._none
        if not self._sets:  # nothing was sent, perhaps as asyncio does not run here
            return
        here = asyncio.get_running_loop()
        while self._sets:
            loop, connections = self._sets.popitem()
            await (connections.close() if loop is here else connections.leave())

    def forget(self) -> None:
        """Leave all connections as they are: they are the parent's, of which this process is a fork."""
        _abandoned.append((self.current, self._sets))
        self._sets, self.current = {}, self._none


_all: weakref.WeakSet[ConnectionSets] = weakref.WeakSet()


def _forget_all() -> None:
    for sets in list(_all):
        sets.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
