"""Opens the transport that a URL asks for: to one server, or to the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from headrace.cluster.transport import AsyncClusterTransport, ClusterTransport
from headrace.transport.single import AsyncTransport, Transport
from headrace.transport.urls import read_url

AnyTransport = Transport | ClusterTransport
AnyAsyncTransport = AsyncTransport | AsyncClusterTransport


def open_transport(
    url: str, *, attempts: int = 8, reply_timeout_s: float | None = None, home: str | None = None
) -> AnyTransport:
    """Return a transport for threads; it connects at its first call.

    Args:
        reply_timeout_s: how long a reply may take, whatever the URL says; as the URL says if None.
        home: a key whose node gets the calls without keys, if it is a cluster.

    Raises:
        ConfigurationError: the URL can't be read.
    """
    target = read_url(url)
    if target.is_cluster:
        return ClusterTransport(target, attempts=attempts, reply_timeout_s=reply_timeout_s, home=home)
    return Transport(target, attempts=attempts, reply_timeout_s=reply_timeout_s)


def open_async_transport(
    url: str,
    *,
    attempts: int = 8,
    reply_timeout_s: float | None = None,
    on_connect: Callable[[Any], Awaitable[None]] | None = None,
    home: str | None = None,
) -> AnyAsyncTransport:
    """Return a transport for the tasks of an event loop; see `open_transport`, and `on_connect` of AsyncTransport."""
    target = read_url(url)
    if target.is_cluster:
        return AsyncClusterTransport(
            target, attempts=attempts, reply_timeout_s=reply_timeout_s, on_connect=on_connect, home=home
        )
    return AsyncTransport(target, attempts=attempts, reply_timeout_s=reply_timeout_s, on_connect=on_connect)
