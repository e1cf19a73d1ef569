"""Checks a server and a namespace before they are used. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.calls import checking
from headrace.errors import OUTAGE, ConfigurationError, HeadraceError, PermissionMissing, ServerFull, UnsupportedServer
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan

_ASKED = 16

_LOWEST = {"redis": (6, 2), "valkey": (7, 2)}


def check_server(partitions: Partitions) -> Plan[bool]:
    """Check that Headrace runs on the server, and that the namespace has as many partitions as the client is set to.

    Return whether both are known: a full server can't say how many partitions a new namespace has. A user without the
    right to ask is not refused. To be run with `partial`.
    """
    info, *counts = yield [
        checking.server_info(),
        *(checking.divide(keys, len(partitions)) for keys in _asked(partitions)),
    ]
    known = [count for count in counts if not isinstance(count, OUTAGE)]
    if not known:
        raise counts[0]
    for answer in (info, *known):
        if isinstance(answer, HeadraceError) and not isinstance(answer, (PermissionMissing, ServerFull, *OUTAGE)):
            raise answer
    if not isinstance(info, HeadraceError):
        check_version(info)
    for count in known:
        if not isinstance(count, HeadraceError):
            check_count(partitions, count)
    return not isinstance(known[0], ServerFull)


def _asked(partitions: Partitions) -> Sequence[Keys]:
    """Return the partitions to ask for their number: any of them may be away, and each that answers is believed."""
    return partitions.all[:_ASKED]


def check_count(partitions: Partitions, count: int) -> None:
    """Raise ConfigurationError, which names both numbers, unless the namespace has so many partitions."""
    if count != len(partitions):
        raise ConfigurationError(
            f"namespace {partitions.namespace!r} has had {count} partitions since it was first used, not the "
            f"{len(partitions)} that this process is set to; set partitions={count} or HEADRACE_PARTITIONS={count} "
            "everywhere, or use a new namespace"
        )


def check_version(info: dict[str, str]) -> None:
    """Raise UnsupportedServer, which names the server, unless it is a Redis or Valkey that Headrace runs on."""
    is_valkey = "valkey_version" in info
    kind = "valkey" if is_valkey else "redis"
    version = info.get(f"{kind}_version", "")
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        numbers = (0, 0)
    if not version:
        raise UnsupportedServer("the server does not say which version it has; Headrace runs on Redis and Valkey")
    if numbers < _LOWEST[kind]:
        lowest = ".".join(map(str, _LOWEST[kind]))
        raise UnsupportedServer(f"the server is {kind} {version}; Headrace needs {kind} {lowest} or newer")


def read_server_time() -> Plan[datetime]:
    """Return the time by the server's clock."""
    (now_ms,) = yield [checking.server_time()]
    return from_millis(now_ms)


def has_workers(partitions: Partitions) -> Plan[bool | None]:
    """Return whether a worker of the namespace is alive, or None if this user may not ask. To be run with `partial`.

    A worker serves all partitions, so the first one is asked for all.
    """
    now_ms, end_ms = yield [checking.server_time(), checking.last_lease_end(partitions.all[0])]
    for answer in (now_ms, end_ms):
        if isinstance(answer, PermissionMissing):
            return None
        if isinstance(answer, HeadraceError):
            raise answer
    return bool(end_ms > now_ms)
