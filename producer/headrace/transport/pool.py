"""Makes redis-py's pools of connections to what a URL names."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from headrace.errors import ConfigurationError
from headrace.transport import sentinel
from headrace.transport.bounded import ANONYMOUS, BoundedConnection, BoundedSSLConnection, BoundedUnixConnection
from headrace.transport.unix_socket import PatientConnection
from headrace.transport.urls import Target

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 100_000
"""One for each thread or task at work; redis-py's own limit of 100 would fail those beyond it."""

_PLAIN = {redis.ConnectionPool: BoundedConnection, redis.asyncio.ConnectionPool: redis.asyncio.Connection}
_TLS = {redis.ConnectionPool: BoundedSSLConnection, redis.asyncio.ConnectionPool: redis.asyncio.SSLConnection}
_UNIX = {redis.ConnectionPool: BoundedUnixConnection, redis.asyncio.ConnectionPool: PatientConnection}


def reply_timeout_of(target: Target, given_s: float | None) -> float:
    """Return how long a reply may take: as given, else as the URL says, else REPLY_TIMEOUT_S."""
    found: float = target.options.get("socket_timeout", REPLY_TIMEOUT_S)
    return found if given_s is None else given_s


class PoolMaker:
    """Makes pools of one kind, whose connections lead to what a URL names."""

    def __init__(self, kind: Any, target: Target, options: dict[str, Any]) -> None:
        """Check the options; connect nothing.

        Args:
            kind: redis-py's class of pools, for threads or for an event loop.
            options: of the connections, as redis-py names them; they come before those of the URL.

        Raises:
            ConfigurationError: redis-py takes no such options.
        """
        self._kind = kind
        self._class = (_UNIX if target.is_unix else _TLS if target.is_tls else _PLAIN)[kind]
        self._options = _options(target) | options
        if target.is_watched:
            service = sentinel.Service(target.service, target.hosts, target.sentinel_login)
            self._options["sentinels"] = sentinel.Sentinels(service, self._options)
            self._class = sentinel.LED[self._class]
        try:  # what redis-py does not take would otherwise show at the first call
            self._class(**self._options)
        except (ValueError, TypeError, redis.RedisError) as exc:
            raise ConfigurationError(f"the options of the URL can't be used: {exc}") from None

    def __call__(self) -> Any:
        """Return a new pool."""
        return self._kind(connection_class=self._class, max_connections=_MAX_CONNECTIONS, **self._options)


def _options(target: Target) -> dict[str, Any]:
    """Return the options of a connection; replies are read as bytes of RESP 2, whatever the URL says."""
    options = {
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 0,
        "socket_keepalive": True,
        **ANONYMOUS,
        **target.options,
    }
    if target.is_unix:
        del options["socket_keepalive"]
    else:
        options["host"], options["port"] = target.hosts[0]
    return options
