"""Makes redis-py's pools of connections from a URL, and says what is wrong with one without telling its secrets."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import UnixDomainSocketConnection

from headrace import sentinel
from headrace.errors import ConfigurationError
from headrace.unix_socket import PatientConnection

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 10.0
_MAX_CONNECTIONS = 100_000
"""One for each thread or task at work; redis-py's own limit of 100 would fail those beyond it."""


def pool_options(reply_timeout_s: float = REPLY_TIMEOUT_S) -> dict[str, Any]:
    """Returns the options that all our connections share; both kinds of pool take them."""
    return {
        "protocol": 2,
        "socket_timeout": reply_timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "max_connections": _MAX_CONNECTIONS,
    }


def make_pool(kind: Any, url: str, options: dict[str, Any]) -> Any:
    """Returns a pool of the kind; raises ConfigurationError for a URL that is none, or has an unknown option."""
    if url.startswith("unix:"):
        options = {name: value for name, value in options.items() if name != "socket_keepalive"}
    try:
        plain, service = sentinel.split_url(url) if sentinel.is_sentinel_url(url) else (url, None)
        parts = urlsplit(plain)
        if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
            raise ValueError(f"{parts.path!r} is no number of a database")  # noqa: TRY301 - said with the URL, below
        pool = kind.from_url(plain, **options)
        if pool.connection_class is UnixDomainSocketConnection:
            pool.connection_class = PatientConnection
        if service is not None:
            sentinel.lead(pool, service)
        # Replies are read as bytes of RESP 2, whatever the URL says.
        pool.connection_kwargs.update(protocol=2, decode_responses=False)
        pool.connection_class(**pool.connection_kwargs)  # an unknown option would otherwise show at the first call
    except (ValueError, TypeError) as exc:
        # Without its cause, which repeats parts of the URL: where a password is not encoded, parts of that.
        raise ConfigurationError(f"{without_secrets(url)!r} is no URL of a server: {_reason(url, exc)}") from None
    return pool


def _reason(url: str, exc: Exception) -> str:
    """Returns what is wrong with a URL, without anything of its user and password."""
    secret = url.partition("//")[2].rpartition("@")[0] + "".join(re.findall(r"password=([^&]*)", url))
    words = re.split(r"[^A-Za-z0-9]+", secret)
    if any(word and word in str(exc) for word in words):
        return "a special character in its user or password must be percent-encoded, '/' as %2F"
    return str(exc)


def without_secrets(url: str) -> str:
    """Returns the URL as it may be shown."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//.*@", "//***@", url))
