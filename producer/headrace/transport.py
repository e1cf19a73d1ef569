"""Carries calls to a server over redis-py's connections and brings their replies back; knows no keys and no scripts.

The connections have no retry of their own: a retry that nobody sees would hide a lost reply. A call whose script
the server has lost is sent whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from headrace.backoff import RETRIED, Backoff
from headrace.calls import Call
from headrace.errors import HeadraceError, ServerNotReady
from headrace.faults import translate
from headrace.pool import REPLY_TIMEOUT_S, make_pool, pool_options
from headrace.wire import pack, read_replies, repeated

_DEMOTED = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED"})
"""What a server says that may have been a master once, while another one is now: its name may lead there already."""


class Transport:
    """Runs calls from any number of threads, and in a child after a fork; a failed attempt is repeated.

    Whatever is sent through it must be safe to send twice.
    """

    def __init__(self, url: str, *, attempts: int = 8, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        options = pool_options(reply_timeout_s)
        self.pool = make_pool(redis.ConnectionPool, url, options | {"retry": SyncRetry(NoBackoff(), 0)})
        self._backoff = Backoff(attempts)
        self._idle: list[Any] = []
        self._owner = os.getpid()

    def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        """Returns the results of the calls, sent in one round trip.

        Args:
            partial: an error of one call stands in the place of its result instead of being raised.

        Raises:
            ServerError: its subclass says what went wrong; see `errors`.
        """
        if not calls:  # a write of no bytes would keep the connection from closing, from Python 3.12 on
            return []
        failures = 0
        while True:
            try:
                return self._attempt(calls, partial=partial)
            except RETRIED:
                failures += 1
                if failures >= self._backoff.attempts:
                    raise
                time.sleep(self._backoff.delay_s(failures))

    def _attempt(self, calls: Sequence[Call[Any]], *, partial: bool) -> list[Any]:
        try:
            return read_replies(calls, self.exchange(calls), partial=partial)
        except ServerNotReady as exc:
            if exc.code in _DEMOTED:
                self._drop_idle()
            raise

    def _drop_idle(self) -> None:
        """Connections that nobody uses are closed, and opened anew to where the server is then."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread had it
                return
            connection.disconnect()
            self.pool.release(connection)

    def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Returns the replies to the calls as they came, once tried; what the server refused is an error in its place.

        Raises:
            ServerError: the replies did not come.
        """
        try:
            connection = self._borrow()
        except Exception as exc:
            raise translate(exc) from exc
        try:
            replies = self._exchange(connection, calls)
        except BaseException:
            self.pool.release(connection)
            raise
        self._idle.append(connection)
        return replies

    def listener(self, key: str) -> Any:  # noqa: ARG002 - in a cluster it says which node
        """Returns what can subscribe to a channel."""
        return redis.Redis(connection_pool=self.pool).pubsub()

    def _borrow(self) -> Any:
        """Returns a connection that nobody else has; those of an earlier call spare the pool's bookkeeping."""
        if self._owner != os.getpid():  # after a fork both sides would read from the same connections
            self._idle, self._owner = [], os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self.pool.get_connection()
        try:
            is_stale = connection.can_read()
        except (redis.RedisError, OSError):
            is_stale = True
        if is_stale:  # most likely the server has closed it; sending opens it again
            connection.disconnect()
        return connection

    def _exchange(self, connection: Any, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            connection.send_packed_command(pack([call.args for call in calls]))
            replies = [_receive(connection) for _ in calls]
            if again := repeated(calls, replies):
                connection.send_packed_command(pack(again))
                replies[-len(again) :] = [_receive(connection) for _ in again]
        except HeadraceError:
            raise
        except BaseException as exc:
            connection.disconnect()
            if isinstance(exc, Exception):
                raise translate(exc) from exc
            raise
        return replies

    def close(self) -> None:
        """The connections are closed; a later call opens new ones."""
        if self._owner == os.getpid():
            while self._idle:
                self.pool.release(self._idle.pop())
        self.pool.disconnect()


def _receive(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return translate(exc)


class AsyncTransport:
    """Runs calls for the tasks of one event loop; a failed attempt is repeated.

    Whatever is sent through it must be safe to send twice, unless `attempts` is 1.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 8,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        on_connect: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            on_connect: is awaited with each new connection once it is ready.
        """
        # One timeout around an exchange is cheaper than redis-py's around each read and write of it.
        options = pool_options(reply_timeout_s) | {"socket_timeout": None}
        if on_connect is not None:
            options["redis_connect_func"] = on_connect
        self.pool = make_pool(redis.asyncio.ConnectionPool, url, options | {"retry": AsyncRetry(NoBackoff(), 0)})
        self._backoff = Backoff(attempts)
        self._reply_timeout_s = reply_timeout_s
        self._idle: list[Any] = []

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        """Returns the results of the calls, sent in one round trip.

        Args:
            partial: an error of one call stands in the place of its result instead of being raised.

        Raises:
            ServerError: its subclass says what went wrong; see `errors`.
        """
        if not calls:  # a write of no bytes would keep the connection from closing, from Python 3.12 on
            return []
        failures = 0
        while True:
            try:
                return await self._attempt(calls, partial=partial)
            except RETRIED:
                failures += 1
                if failures >= self._backoff.attempts:
                    raise
                await asyncio.sleep(self._backoff.delay_s(failures))

    async def _attempt(self, calls: Sequence[Call[Any]], *, partial: bool) -> list[Any]:
        try:
            return read_replies(calls, await self.exchange(calls), partial=partial)
        except ServerNotReady as exc:
            if exc.code in _DEMOTED:
                await self._drop_idle()
            raise

    async def _drop_idle(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            await connection.disconnect(nowait=True)
            await self.pool.release(connection)

    async def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """See `Transport.exchange`."""
        try:
            async with asyncio.timeout(self._reply_timeout_s):
                return await self._exchange(await self._borrow(), calls)
        except (redis.RedisError, OSError) as exc:  # the timeout is one
            raise translate(exc) from exc

    def listener(self, key: str) -> Any:  # noqa: ARG002 - in a cluster it says which node
        """See `Transport.listener`."""
        return redis.asyncio.Redis(connection_pool=self.pool).pubsub()

    async def _exchange(self, connection: Any, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            await connection.send_packed_command(pack([call.args for call in calls]))
            replies = [await _receive_async(connection) for _ in calls]
            if again := repeated(calls, replies):
                await connection.send_packed_command(pack(again))
                replies[-len(again) :] = [await _receive_async(connection) for _ in again]
        except BaseException as exc:
            await connection.disconnect(nowait=True)
            await self.pool.release(connection)
            if isinstance(exc, Exception):
                raise translate(exc) from exc
            raise
        self._idle.append(connection)
        return replies

    async def _borrow(self) -> Any:
        """Returns a connection that nobody else has; those of an earlier call spare the pool's bookkeeping."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_connected and not await connection.can_read():
                return connection
            await connection.disconnect(nowait=True)  # most likely the server has closed it
            await self.pool.release(connection)
        return await self.pool.get_connection()

    async def close(self) -> None:
        """The connections are closed; a later call opens new ones."""
        while self._idle:
            await self.pool.release(self._idle.pop())
        with contextlib.suppress(redis.RedisError):  # one that does not close in order in its time is dropped
            await self.pool.disconnect()


async def _receive_async(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except redis.ResponseError as exc:
        return translate(exc)
