"""Connections for threads whose waits end at the deadline of the call that waits.

redis-py's timeouts are those of one read or write. A call may need several, beside those of connecting and of logging
in, so each is cut to the time that is left when it begins. Awaited connections need none of this: `asyncio.timeout` is
put around all of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import redis
from redis.connection import DefaultParser

from headrace.transport.deadline import Deadline


class _ThisThread(threading.local):
    """What the thread does: the pool opens connections, so a call can't hand them its deadline.

    Attributes:
        deadline: that of the call that the thread is in.
    """

    deadline: Deadline | None = None


this_thread = _ThisThread()


if TYPE_CHECKING:
    from redis._parsers import _HiredisParser as _Parser

    _Base = redis.Connection
else:
    _Parser, _Base = DefaultParser, object


class _BoundedParser(_Parser):
    """Reads no longer than there is time."""

    def on_connect(self, connection: Any, **options: Any) -> None:
        super().on_connect(connection, **options)  # type: ignore[no-untyped-call]
        self._socket_timeout = connection.longest_s  # not what was left of it as the connection was opened

    def read_from_socket(self, *args: Any, **options: Any) -> bool:
        if this_thread.deadline is not None and self._sock is not None:
            self._sock.settimeout(this_thread.deadline.cut(self._socket_timeout))
        found: bool = super().read_from_socket(*args, **options)  # type: ignore[no-untyped-call]
        return found


class _Bounded(_Base):
    """A connection that opens, logs in, sends and reads no longer than there is time.

    Attributes:
        longest_s: how long a write or read may take where no deadline is nearer.
    """

    longest_s: float | None
    _longest_connect_s: float | None
    _is_cut = False

    def __init__(self, **options: Any) -> None:
        super().__init__(parser_class=_BoundedParser, **options)  # type: ignore[no-untyped-call]
        self.longest_s = options.get("socket_timeout")
        self._longest_connect_s = options.get("socket_connect_timeout", self.longest_s)

    # What redis-py reads whenever it opens, for each address of a name anew.
    @property
    def socket_timeout(self) -> float | None:
        return _cut(self.longest_s)

    @socket_timeout.setter
    def socket_timeout(self, longest_s: float | None) -> None:
        self.longest_s = longest_s

    @property
    def socket_connect_timeout(self) -> float | None:
        return _cut(self._longest_connect_s)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, longest_s: float | None) -> None:
        self._longest_connect_s = longest_s

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        has_end = this_thread.deadline is not None
        sock: Any = self._sock
        if sock is not None and (has_end or self._is_cut):
            sock.settimeout(_cut(self.longest_s))
        self._is_cut = has_end
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def _cut(limit_s: float | None) -> float | None:
    return limit_s if this_thread.deadline is None else this_thread.deadline.cut(limit_s)


class BoundedConnection(_Bounded, redis.Connection):
    """See `_Bounded`."""


class BoundedSSLConnection(_Bounded, redis.SSLConnection):
    """See `_Bounded`."""


class BoundedUnixConnection(_Bounded, redis.UnixDomainSocketConnection):
    """See `_Bounded`."""
