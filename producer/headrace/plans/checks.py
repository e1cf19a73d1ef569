"""What is checked of a server and of a namespace before they are used. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.calls import checking
from headrace.errors import OUTAGE, ConfigurationError, HeadraceError, OutOfMemory, PermissionMissing, UnsupportedServer
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.listing import Plan

_ASKED = 16

_LOWEST = {"redis": (6, 2), "valkey": (7, 2)}


def check_server(partitions: Partitions) -> Plan[bool]:
    """The server is one that Headrace runs on, and the namespace has as many partitions as are asked for.

    To be run with `partial`. Returns whether all of that is known: a full server may not say of a new namespace. A user
    who may not ask is not refused for it.
    """
    info, *counts = yield [
        checking.server_info(),
        *(checking.divide(keys, len(partitions)) for keys in _asked(partitions)),
    ]
    known = [count for count in counts if not isinstance(count, OUTAGE)]
    if not known:
        raise counts[0]
    for answer in (info, *known):
        if isinstance(answer, HeadraceError) and not isinstance(answer, (PermissionMissing, OutOfMemory, *OUTAGE)):
            raise answer
    if not isinstance(info, HeadraceError):
        check_version(info)
    for count in known:
        if not isinstance(count, HeadraceError):
            check_count(partitions, count)
    return not isinstance(known[0], OutOfMemory)


def _asked(partitions: Partitions) -> Sequence[Keys]:
    """Returns the partitions to ask how many there are: any may be away, and one that answers is believed."""
    return partitions.all[:_ASKED]


def check_count(partitions: Partitions, count: int) -> None:
    """The namespace has as many partitions as are asked for, or ConfigurationError names both numbers."""
    if count != len(partitions):
        raise ConfigurationError(
            f"namespace {partitions.namespace!r} has had {count} partitions since it was first used, not the "
            f"{len(partitions)} that this process is set to; set partitions={count} or HEADRACE_PARTITIONS={count} "
            "everywhere, or use a new namespace"
        )


def check_version(info: dict[str, str]) -> None:
    """The server is a Redis or Valkey that Headrace runs on, or UnsupportedServer says what it is."""
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
