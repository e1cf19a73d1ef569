"""Carries calls to a server over redis-py's connections and brings their replies back; knows no keys and no scripts.

The connections have no retry of their own: a hidden retry would hide a lost reply. A call whose script
the server has lost is sent whole.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from headrace.calls.call import Call
from headrace.errors import CallError, ServerNotReady
from headrace.transport.backoff import Backoff
from headrace.transport.bounded import this_thread
from headrace.transport.deadline import Deadline
from headrace.transport.faults import translate
from headrace.transport.loop_connections import ConnectionSets
from headrace.transport.pool import PoolMaker, reply_timeout_of
from headrace.transport.urls import Target, read_url
from headrace.transport.wire import note_earlier, pack, read_error, read_replies, repeated, writes

_DEMOTED = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED"})
"""What a server says that may have been a master once, while another one is now: its name may lead there already."""


def _is_demoted(error: CallError) -> bool:
    return isinstance(error, ServerNotReady) and error.code in _DEMOTED


class Transport:
    """Runs calls from any number of threads, and in a child after a fork; a failed attempt is repeated.

    Whatever is sent through it must be safe to send twice.
    """

    def __init__(self, url: str | Target, *, attempts: int = 8, reply_timeout_s: float | None = None) -> None:
        """Read the settings; connect at the first call.

        Args:
            url: as a client takes it, or what was read of it.
            reply_timeout_s: how long a reply may take, whatever the URL says; as the URL says if None.
        """
        target = url if isinstance(url, Target) else read_url(url)
        options = {"retry": SyncRetry(NoBackoff(), 0), "socket_timeout": reply_timeout_of(target, reply_timeout_s)}
        self._make_pool = PoolMaker(redis.ConnectionPool, target, options)
        self.pool = self._make_pool()
        self._backoff = Backoff(attempts)
        self._idle: list[Any] = []
        self._owner = os.getpid()

    def run(self, calls: Sequence[Call[Any]], *, partial: bool = False, deadline: Deadline | None = None) -> list[Any]:
        """Return the results of the calls, sent in one round trip.

        Args:
            partial: an error of one call stands in the place of its result instead of being raised.
            deadline: when no other attempt is made, and none is waited for; attempts alone are counted if None.

        Raises:
            ServerError: its subclass says what went wrong; see `errors`.
            CallBroken: this process could not carry the calls out.
        """
        if not calls:  # a write of no bytes would keep the connection from closing, from Python 3.12 on
            return []
        failures, may_be_done = 0, False
        while True:
            try:
                results = read_replies(calls, self.exchange(calls, deadline), partial=partial)
            except CallError as exc:
                if _is_demoted(exc):
                    self._drop_idle()
                if may_be_done:
                    note_earlier([exc])
                may_be_done = exc.may_be_done
                failures += 1
                time.sleep(self._backoff.pause_or_raise(exc, failures, deadline))
            else:
                if may_be_done:
                    note_earlier(results)
                return results

    def _drop_idle(self) -> None:
        """Close the connections that no call uses; later calls connect to where the server is then."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread had it
                return
            connection.disconnect()
            self.pool.release(connection)

    def exchange(self, calls: Sequence[Call[Any]], deadline: Deadline | None = None) -> list[Any]:
        """Return the replies to the calls as they came, once tried; what the server refused is an error in its place.

        Raises:
            ServerError: the replies did not come.
            CallBroken: this process could not send the calls, or not read the replies.
        """
        connection: Any = None
        is_sent = False
        around, this_thread.deadline = this_thread.deadline, deadline
        try:
            packed = pack([call.args for call in calls])
            connection = self._borrow()
            is_sent = True
            replies = self._exchange(connection, calls, packed)
        except BaseException as exc:
            if connection is not None:
                connection.disconnect()
                self.pool.release(connection)
            if isinstance(exc, Exception):
                raise translate(exc, is_sent=is_sent and writes(calls)) from exc
            raise
        finally:
            this_thread.deadline = around
        self._idle.append(connection)
        return replies

    def listener(self, key: str) -> Any:  # noqa: ARG002 - in a cluster it says which node
        """Return what can subscribe to a channel."""
        self._leave_to_parent()
        return redis.Redis(connection_pool=self.pool).pubsub()

    def _borrow(self) -> Any:
        """Return a connection that no other call has; one of an earlier call spares the pool's bookkeeping."""
        if self._owner != os.getpid():
            self._leave_to_parent()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self.pool.get_connection()
        try:
            is_stale = connection.can_read()
        except (redis.RedisError, OSError):
            is_stale = True
        if not is_stale:
            return connection
        connection.disconnect()  # most likely the server has closed it
        self.pool.release(connection)
        return self.pool.get_connection()

    def _leave_to_parent(self) -> None:
        """After a fork have connections of this process's own, and locks that no thread of the parent holds."""
        if self._owner != os.getpid():
            self._idle, self.pool = [], self._make_pool()
            self._owner = os.getpid()

    def _exchange(self, connection: Any, calls: Sequence[Call[Any]], packed: list[bytes]) -> list[Any]:
        connection.send(packed)
        replies = [_receive(connection, call) for call in calls]
        if again := repeated(calls, replies):
            connection.send(pack(again))
            replies[-len(again) :] = [_receive(connection, call) for call in calls[-len(again) :]]
        return replies

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._leave_to_parent()
        while self._idle:
            self.pool.release(self._idle.pop())
        self.pool.disconnect()


def _receive(connection: Any, call: Call[Any]) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return read_error(call, exc)


class AsyncTransport:
    """Runs calls for the tasks of event loops, each with connections of its own; a failed attempt is repeated.

    Whatever is sent through it must be safe to send twice, unless `attempts` is 1.
    """

    def __init__(
        self,
        url: str | Target,
        *,
        attempts: int = 8,
        reply_timeout_s: float | None = None,
        on_connect: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """Read the settings; connect at the first call.

        Args:
            url: see `Transport`.
            reply_timeout_s: see `Transport`.
            on_connect: is awaited with each new connection once it is ready.
        """
        target = url if isinstance(url, Target) else read_url(url)
        # One timeout around an exchange is cheaper than redis-py's around each read and write of it.
        options: dict[str, Any] = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": None}
        if on_connect is not None:
            options["redis_connect_func"] = on_connect
        self._connections = ConnectionSets(PoolMaker(redis.asyncio.ConnectionPool, target, options))
        self._backoff = Backoff(attempts)
        self._reply_timeout_s = reply_timeout_of(target, reply_timeout_s)

    @property
    def pool(self) -> Any:
        """The pool of the event loop that has called last."""
        return self._connections.current.pool

    async def run(
        self, calls: Sequence[Call[Any]], *, partial: bool = False, deadline: Deadline | None = None
    ) -> list[Any]:
        """See `Transport.run`."""
        if not calls:  # a write of no bytes would keep the connection from closing, from Python 3.12 on
            return []
        failures, may_be_done = 0, False
        while True:
            try:
                results = read_replies(calls, await self.exchange(calls, deadline), partial=partial)
            except CallError as exc:
                if _is_demoted(exc):
                    await (await self._connections.enter()).drop_idle()
                if may_be_done:
                    note_earlier([exc])
                may_be_done = exc.may_be_done
                failures += 1
                await asyncio.sleep(self._backoff.pause_or_raise(exc, failures, deadline))
            else:
                if may_be_done:
                    note_earlier(results)
                return results

    async def exchange(self, calls: Sequence[Call[Any]], deadline: Deadline | None = None) -> list[Any]:
        """See `Transport.exchange`."""
        here = self._connections.current
        if here.loop is not asyncio.get_running_loop():
            here = await self._connections.enter()
        connection: Any = None
        is_sent = False
        try:
            packed = pack([call.args for call in calls])
            limit_s = self._reply_timeout_s
            async with asyncio.timeout(limit_s if deadline is None else deadline.cut(limit_s)):
                connection = await here.borrow()
                is_sent = True
                replies = await self._exchange(connection, calls, packed)
        except BaseException as exc:
            if connection is not None:
                await here.drop(connection)
            if isinstance(exc, Exception):
                raise translate(exc, is_sent=is_sent and writes(calls)) from exc
            raise
        here.idle.append(connection)
        return replies

    def listener(self, key: str) -> Any:  # noqa: ARG002 - in a cluster it says which node
        """See `Transport.listener`; to be called behind a call in the same event loop."""
        return redis.asyncio.Redis(connection_pool=self.pool).pubsub()

    async def _exchange(self, connection: Any, calls: Sequence[Call[Any]], packed: list[bytes]) -> list[Any]:
        await connection.send_packed_command(packed)
        replies = [await _receive_async(connection, call) for call in calls]
        if again := repeated(calls, replies):
            await connection.send_packed_command(pack(again))
            replies[-len(again) :] = [await _receive_async(connection, call) for call in calls[-len(again) :]]
        return replies

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._connections.close()


async def _receive_async(connection: Any, call: Call[Any]) -> Any:
    try:
        return await connection.read_response()
    except redis.ResponseError as exc:
        return read_error(call, exc)
