"""Finds a service's master by asking its sentinels, and makes connections that do so each time they connect.

A connection asks anew whenever it opens, so one that was dropped is never opened again to a master of the past. What it
reaches must say that it is a master: a sentinel that was cut off from the others may name one that is none any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import msgspec
import redis
import redis.asyncio
import redis.exceptions as theirs
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from headrace.errors import ConfigurationError

SENTINEL_PORT = 26379
_TIMEOUT_S = 1.0
"""For each sentinel: one that is silent must not use up the time that there is to find one that answers."""

Address = tuple[str, int]

_SCHEME = re.compile(r"(rediss?)\+sentinel://")
_OWN = {"sentinel_username": "username", "sentinel_password": "password"}
"""The options of the URL that are for the sentinels."""
_SHARED = re.compile(r"ssl_.*|socket_keepalive.*")
"""The options of the URL that hold for the sentinels as well."""


class Service(msgspec.Struct, frozen=True):
    """What a URL says of a service: its name, its sentinels, and how they know the client."""

    name: str
    sentinels: tuple[Address, ...]
    login: dict[str, str] = {}


def is_sentinel_url(url: str) -> bool:
    """The URL names a service and its sentinels, and no server."""
    return _SCHEME.match(url) is not None


def split_url(url: str) -> tuple[str, Service]:
    """Returns the URL of a server that has the user and the options of this one, and the service.

    The form is `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/database][?options]`; user and
    password are the server's, those of the sentinels are the options `sentinel_username` and `sentinel_password`.

    Raises:
        ValueError: it is none of that form.
    """
    scheme, _, rest = url.partition("+sentinel://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    name, _, database = path.partition("/")
    if not name:
        raise ValueError("it names no service, as in redis+sentinel://host:26379/service/0")
    if not re.fullmatch(r"\d*", database):
        raise ValueError(f"{database!r} is no number of a database")
    sentinels = tuple(_address(host) for host in hosts.split(","))
    options = parse_qs(query, keep_blank_values=True)
    login = {ours: options.pop(option)[0] for option, ours in _OWN.items() if option in options}
    host = hosts.partition(",")[0]
    plain = f"{scheme}://{userinfo}{at}{host}/{database}?{urlencode(options, doseq=True)}"
    return plain, Service(unquote(name), sentinels, login)


def _address(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a sentinel has no host, as in redis+sentinel://host:26379,other:26379/service")
    return parts.hostname, parts.port or SENTINEL_PORT


class Sentinels:
    """The sentinels of one service, and which of them has answered last. Threads may share it."""

    def __init__(self, service: Service, options: dict[str, Any]) -> None:
        """Nothing is connected.

        Args:
            options: those of the connections to the service's servers, as redis-py names them.
        """
        self.service = service
        shared = {name: value for name, value in options.items() if _SHARED.fullmatch(name)}
        self._options = {
            **shared,
            **service.login,
            "protocol": 2,
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
        }
        self._first = 0

    def master(self, kind: type[redis.Connection]) -> Address:
        """Returns where the master is, from the first sentinel that knows; raises as `_none_knows` says."""
        faults: dict[Address, str] = {}
        for place, address in self._in_turn():
            connection = self._connection(kind, address, SyncRetry(NoBackoff(), 0))
            try:
                connection.connect()
                connection.send_command(*self._question)
                answer: Any = connection.read_response()
            except (redis.RedisError, OSError) as exc:
                faults[address] = str(exc)
                continue
            finally:
                connection.disconnect()
            if answer:
                return self._note(place, answer)
        raise self._none_knows(faults)

    async def master_async(self, kind: type[redis.asyncio.Connection]) -> Address:
        """As `master`, awaited."""
        faults: dict[Address, str] = {}
        for place, address in self._in_turn():
            connection = self._connection(kind, address, AsyncRetry(NoBackoff(), 0))
            try:
                await connection.connect()
                await connection.send_command(*self._question)
                answer: Any = await connection.read_response()
            except (redis.RedisError, OSError) as exc:
                faults[address] = str(exc)
                continue
            finally:
                await connection.disconnect(nowait=True)
            if answer:
                return self._note(place, answer)
        raise self._none_knows(faults)

    @property
    def _question(self) -> tuple[str, ...]:
        return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service.name

    def _connection(self, kind: Any, address: Address, retry: Any) -> Any:
        return kind(host=address[0], port=address[1], retry=retry, **self._options)

    def _in_turn(self) -> Iterator[tuple[int, Address]]:
        """Yields the sentinels with their places, from the one on that has answered last."""
        count, first = len(self.service.sentinels), self._first
        for place in (*range(first, count), *range(first)):
            yield place, self.service.sentinels[place]

    def _note(self, place: int, answer: list[bytes]) -> Address:
        self._first = place
        return answer[0].decode(), int(answer[1])

    def _none_knows(self, faults: dict[Address, str]) -> Exception:
        """Returns ConfigurationError if every sentinel has answered, and otherwise an error of the connection."""
        name = self.service.name
        if not faults:
            asked = ", ".join(f"{host}:{port}" for host, port in self.service.sentinels)
            return ConfigurationError(
                f"the sentinels ({asked}) watch no service {name!r}; SENTINEL MASTERS there lists those that they do"
            )
        told = "; ".join(f"{host}:{port}: {fault}" for (host, port), fault in faults.items())
        return theirs.ConnectionError(f"no sentinel says where the master of {name!r} is ({told})")


_ROLE = ("ROLE",)


def _check_role(reply: Any, sentinels: Sentinels, host: str, port: int) -> None:
    """Raises as a replica would at the first write, where the server is none that takes writes."""
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
        super().__init__(**options)  # type: ignore[no-untyped-call]

    # Not `connect`: a connection that was closed opens again when something is sent over it, past that.
    def _connect(self) -> Any:
        self.host, self.port = self._sentinels.master(self._plain)
        return super()._connect()  # type: ignore[no-untyped-call]

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        super().on_connect_check_health(check_health)
        self.send_command(*_ROLE, check_health=False)  # type: ignore[no-untyped-call]
        try:
            reply = self.read_response()
        except theirs.NoPermissionError:  # a user who may not ask is not refused for it
            return
        _check_role(reply, self._sentinels, self.host, self.port)


class _AsyncLed(_AsyncBase):
    """As `_Led`, awaited."""

    _plain: type[redis.asyncio.Connection]

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self._sentinels = sentinels
        super().__init__(**options)

    async def _connect(self) -> Any:
        self.host, self.port = await self._sentinels.master_async(self._plain)
        return await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        await super().on_connect_check_health(check_health)
        await self.send_command(*_ROLE, check_health=False)
        try:
            reply = await self.read_response()
        except theirs.NoPermissionError:
            return
        _check_role(reply, self._sentinels, self.host, self.port)


class _Plain(_Led, redis.Connection):
    _plain = redis.Connection


class _Tls(_Led, redis.SSLConnection):
    _plain = redis.SSLConnection


class _AsyncPlain(_AsyncLed, redis.asyncio.Connection):
    _plain = redis.asyncio.Connection


class _AsyncTls(_AsyncLed, redis.asyncio.SSLConnection):
    _plain = redis.asyncio.SSLConnection


_LED = {
    redis.Connection: _Plain,
    redis.SSLConnection: _Tls,
    redis.asyncio.Connection: _AsyncPlain,
    redis.asyncio.SSLConnection: _AsyncTls,
}


def lead(pool: Any, service: Service) -> None:
    """The pool's new connections are to the service's master of the moment."""
    sentinels = Sentinels(service, pool.connection_kwargs)
    pool.connection_class = _LED[pool.connection_class]
    pool.connection_kwargs["sentinels"] = sentinels
