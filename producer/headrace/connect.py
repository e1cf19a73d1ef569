"""Opens the transport that a URL asks for: to one server, or to the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from headrace.cluster import SCHEMES
from headrace.cluster_transport import AsyncClusterTransport, ClusterTransport
from headrace.pool import REPLY_TIMEOUT_S
from headrace.transport import AsyncTransport, Transport

AnyTransport = Transport | ClusterTransport
AnyAsyncTransport = AsyncTransport | AsyncClusterTransport


def is_cluster(url: str) -> bool:
    """Whether the URL names a cluster."""
    return url.partition("://")[0] in SCHEMES


def open_transport(
    url: str, *, attempts: int = 8, reply_timeout_s: float = REPLY_TIMEOUT_S, home: str | None = None
) -> AnyTransport:
    """Returns a transport for threads; it connects at its first call.

    Args:
        home: a key whose node gets the calls without keys, if it is a cluster.

    Raises:
        ConfigurationError: the URL can't be read.
    """
    if is_cluster(url):
        return ClusterTransport(url, attempts=attempts, reply_timeout_s=reply_timeout_s, home=home)
    return Transport(url, attempts=attempts, reply_timeout_s=reply_timeout_s)


def open_async_transport(
    url: str,
    *,
    attempts: int = 8,
    reply_timeout_s: float = REPLY_TIMEOUT_S,
    on_connect: Callable[[Any], Awaitable[None]] | None = None,
    home: str | None = None,
) -> AnyAsyncTransport:
    """Returns a transport for the tasks of an event loop; see `open_transport`, and `on_connect` of AsyncTransport."""
    if is_cluster(url):
        return AsyncClusterTransport(
            url, attempts=attempts, reply_timeout_s=reply_timeout_s, on_connect=on_connect, home=home
        )
    return AsyncTransport(url, attempts=attempts, reply_timeout_s=reply_timeout_s, on_connect=on_connect)
