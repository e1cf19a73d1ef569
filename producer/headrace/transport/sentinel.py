"""Finds a service's master by asking its sentinels, and makes connections that do so each time they connect.

A connection asks anew whenever it opens, so one that was dropped is never opened again to a master of the past. What it
reaches must say that it is a master: a sentinel that was cut off from the others may name one that is none any more.
Such a sentinel, and one that does not answer, is the last to be asked by the next connection.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import msgspec
import redis
import redis.asyncio
import redis.exceptions as theirs
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from headrace.errors import AuthenticationFailed, ConfigurationError
from headrace.transport.bounded import ANONYMOUS, BoundedConnection, BoundedSSLConnection
from headrace.transport.faults import code_of
from headrace.transport.urls import Address

_TIMEOUT_S = 1.0
"""For each sentinel: one that is silent must not use up the time that there is to find one that answers."""
_SHARED = re.compile(r"ssl_.*|socket_keepalive.*")
"""The options of the URL that hold for the sentinels as well."""
_REFUSALS = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})


class Service(msgspec.Struct, frozen=True):
    """What a URL says of a service: its name, its sentinels, and how they know the client."""

    name: str
    sentinels: tuple[Address, ...]
    login: dict[str, str] = {}


class Sentinels:
    """The sentinels of one service, and which of them are doubted. Threads may share it.

    What a sentinel says is believed once a connection to a master has come of it.
    """

    def __init__(self, service: Service, options: dict[str, Any]) -> None:
        """Begin without connections.

        Args:
            options: those of the connections to the service's servers, as redis-py names them.
        """
        self.service = service
        shared = {name: value for name, value in options.items() if _SHARED.fullmatch(name)}
        self._options = {
            **ANONYMOUS,
            **shared,
            **service.login,
            "protocol": 2,
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
        }
        self._doubts: dict[Address, int] = {}
        self._numbers = itertools.count(1)

    def master(self, kind: type[redis.Connection]) -> tuple[Address, Address]:
        """Return where the master is, and the sentinel that says so; raise as `_none_knows` says."""
        faults: dict[Address, Exception] = {}
        for address in self._in_turn():
            connection = self._connection(kind, address, SyncRetry(NoBackoff(), 0))
            try:
                connection.connect()
                connection.send_command(*self._question)
                answer: Any = connection.read_response()
            except (redis.RedisError, OSError) as exc:
                faults[address] = exc
                answer = None
            finally:
                connection.disconnect()
            if answer:
                return _read_address(answer), address
            self.doubt(address)
        raise self._none_knows(faults)

    async def master_async(self, kind: type[redis.asyncio.Connection]) -> tuple[Address, Address]:
        """See `master`."""
        faults: dict[Address, Exception] = {}
        for address in self._in_turn():
            connection = self._connection(kind, address, AsyncRetry(NoBackoff(), 0))
            try:
                await connection.connect()
                await connection.send_command(*self._question)
                answer: Any = await connection.read_response()
            except (redis.RedisError, OSError) as exc:
                faults[address] = exc
                answer = None
            finally:
                await connection.disconnect(nowait=True)
            if answer:
                return _read_address(answer), address
            self.doubt(address)
        raise self._none_knows(faults)

    def doubt(self, sentinel: Address) -> None:
        """Note that nothing came of asking a sentinel; of several such the first is asked first again."""
        self._doubts[sentinel] = next(self._numbers)

    def trust(self, sentinel: Address) -> None:
        """Note that what a sentinel has named is the master."""
        self._doubts.pop(sentinel, None)

    @property
    def _question(self) -> tuple[str, ...]:
        return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service.name

    def _connection(self, kind: Any, address: Address, retry: Any) -> Any:
        return kind(host=address[0], port=address[1], retry=retry, **self._options)

    def _in_turn(self) -> list[Address]:
        return sorted(self.service.sentinels, key=lambda address: self._doubts.get(address, 0))

    def _none_knows(self, faults: dict[Address, Exception]) -> Exception:
        """Return what to raise where no sentinel names a master.

        AuthenticationFailed where every sentinel refuses the user, ConfigurationError where every one answers that it
        does not know the service, and otherwise an error of the connection.
        """
        name = self.service.name
        asked = ", ".join(f"{host}:{port}" for host, port in self.service.sentinels)
        if not faults:
            return ConfigurationError(
                f"the sentinels ({asked}) watch no service {name!r}; SENTINEL MASTERS there lists those that they do"
            )
        reasons = "; ".join(f"{host}:{port}: {fault}" for (host, port), fault in faults.items())
        if len(faults) == len(set(self.service.sentinels)) and all(
            code_of(fault) in _REFUSALS for fault in faults.values()
        ):
            return AuthenticationFailed(
                f"the sentinels do not take the sentinel_username and sentinel_password of the URL ({reasons})"
            )
        return theirs.ConnectionError(f"no sentinel says where the master of {name!r} is ({reasons})")


def _read_address(answer: list[bytes]) -> Address:
    return answer[0].decode(), int(answer[1])


_ROLE = ("ROLE",)


def _check_role(reply: Any, sentinels: Sentinels, host: str, port: int) -> None:
    """Raise what a replica raises at its first write, if the server takes no writes."""
    role = bytes(reply[0]).decode()
    if role != "master":
        raise theirs.ReadOnlyError(f"{host}:{port} was named as master of {sentinels.service.name!r}, but is a {role}")


if TYPE_CHECKING:
    _SyncBase = redis.Connection
    _AsyncBase = redis.asyncio.Connection
else:
    _SyncBase = _AsyncBase = object


class _Led(_SyncBase):
    """A connection that asks the sentinels where to whenever it opens."""

    _plain: type[redis.Connection]

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self._sentinels = sentinels
        self._sentinel: Address = ("", 0)
        super().__init__(**options)  # type: ignore[no-untyped-call]

    # Not `connect`: a connection that was closed opens again when something is sent over it, past that.
    def _connect(self) -> Any:
        (self.host, self.port), self._sentinel = self._sentinels.master(self._plain)
        self._sentinels.doubt(self._sentinel)  # until a master has answered there
        return super()._connect()  # type: ignore[no-untyped-call]

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        super().on_connect_check_health(check_health)
        self.send_command(*_ROLE, check_health=False)  # type: ignore[no-untyped-call]
        try:
            reply = self.read_response()
        except theirs.NoPermissionError:  # a user who may not ask is not refused for it
            self._sentinels.trust(self._sentinel)
            return
        _check_role(reply, self._sentinels, self.host, self.port)
        self._sentinels.trust(self._sentinel)


class _AsyncLed(_AsyncBase):
    """As `_Led`, awaited."""

    _plain: type[redis.asyncio.Connection]

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self._sentinels = sentinels
        self._sentinel: Address = ("", 0)
        super().__init__(**options)

    async def _connect(self) -> Any:
        (self.host, self.port), self._sentinel = await self._sentinels.master_async(self._plain)
        self._sentinels.doubt(self._sentinel)
        return await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        await super().on_connect_check_health(check_health)
        await self.send_command(*_ROLE, check_health=False)
        try:
            reply = await self.read_response()
        except theirs.NoPermissionError:
            self._sentinels.trust(self._sentinel)
            return
        _check_role(reply, self._sentinels, self.host, self.port)
        self._sentinels.trust(self._sentinel)


class _Plain(_Led, BoundedConnection):
    _plain = BoundedConnection


class _Tls(_Led, BoundedSSLConnection):
    _plain = BoundedSSLConnection


class _AsyncPlain(_AsyncLed, redis.asyncio.Connection):
    _plain = redis.asyncio.Connection


class _AsyncTls(_AsyncLed, redis.asyncio.SSLConnection):
    _plain = redis.asyncio.SSLConnection


LED: dict[Any, Any] = {
    BoundedConnection: _Plain,
    BoundedSSLConnection: _Tls,
    redis.asyncio.Connection: _AsyncPlain,
    redis.asyncio.SSLConnection: _AsyncTls,
}
"""For each class of connections the one that leads to the master of the moment; it takes `sentinels` as well."""
