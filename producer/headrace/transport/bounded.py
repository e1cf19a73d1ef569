"""Connections for threads whose waits end at the deadline of the call that waits.

redis-py's timeouts are those of one read or write. A call may need several, beside those of connecting and of logging
in, so each is cut to the time that is left when it begins. Awaited connections need none of this: `asyncio.timeout` is
put around all of it.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Any

import redis
from redis.connection import DefaultParser

from headrace.transport.deadline import Deadline

ANONYMOUS: dict[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)
"""Options of every connection, by which redis-py does not name itself to the server: users of deploy/acl may not, and
what a user is denied at each connect would hide other denials in ACL LOG."""


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

    def read_from_socket(self, *args: Any, raise_on_timeout: bool = True, **options: Any) -> bool:
        deadline, sock, reader = this_thread.deadline, self._sock, self._reader
        # Before redis-py 8 a look at what has come is a read that may find nothing.
        if deadline is None or not raise_on_timeout or sock is None or reader is None:
            options["raise_on_timeout"] = raise_on_timeout
            found: bool = super().read_from_socket(*args, **options)  # type: ignore[no-untyped-call]
            return found
        left_s = deadline.end - monotonic()  # as `cut` does, without its call: each reply comes this way
        if left_s <= 0:
            raise TimeoutError("no time is left")
        sock.settimeout(left_s if left_s < self._socket_timeout else self._socket_timeout)  # noqa: FURB136 - min is a call
        size = sock.recv_into(self._buffer)
        if not size:
            raise redis.ConnectionError("the server has closed the connection")
        reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]
        return True

    def holds_bytes(self) -> bool:
        """Return whether bytes were read that no reply has taken yet, after a read of what has come."""
        reader = self._reader
        return reader.has_data() or self.read_from_socket(timeout=0, raise_on_timeout=False)


class _Bounded(_Base):
    """A connection that opens, logs in, sends and reads no longer than there is time.

    Attributes:
        longest_s: how long a write or read may take where no deadline is nearer.
    """

    longest_s: float
    _longest_connect_s: float
    _is_cut = False

    def __init__(self, **options: Any) -> None:
        super().__init__(parser_class=_BoundedParser, **options)  # type: ignore[no-untyped-call]
        self.longest_s = options["socket_timeout"]
        self._longest_connect_s = options["socket_connect_timeout"]

    # What redis-py reads whenever it opens, for each address of a name anew.
    @property
    def socket_timeout(self) -> float:
        return _cut(self.longest_s)

    @socket_timeout.setter
    def socket_timeout(self, longest_s: float) -> None:
        self.longest_s = longest_s

    @property
    def socket_connect_timeout(self) -> float:
        return _cut(self._longest_connect_s)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, longest_s: float) -> None:
        self._longest_connect_s = longest_s

    def send(self, packed: list[bytes]) -> None:
        """Send what is packed over the open connection."""
        sock: Any = self._sock
        if sock is None:  # another thread has closed the client
            raise redis.ConnectionError("the connection was closed")
        deadline = this_thread.deadline
        if deadline is not None:
            left_s = deadline.end - monotonic()
            if left_s <= 0:
                raise TimeoutError("no time is left")
            sock.settimeout(left_s if left_s < self.longest_s else self.longest_s)  # noqa: FURB136 - min is a call
            self._is_cut = True
        elif self._is_cut:
            sock.settimeout(self.longest_s)
            self._is_cut = False
        for piece in packed:
            sock.sendall(piece)

    def can_read(self, timeout: float = 0) -> bool:
        """Return whether bytes have come; raise an error if the server has closed the connection."""
        found: bool = self._parser.can_read(timeout)
        return found


def _cut(limit_s: float) -> float:
    return limit_s if this_thread.deadline is None else this_thread.deadline.cut(limit_s)


class BoundedConnection(_Bounded, redis.Connection):
    """See `_Bounded`."""


class BoundedSSLConnection(_Bounded, redis.SSLConnection):
    """See `_Bounded`."""

    def can_read(self, timeout: float = 0) -> bool:
        """Return whether bytes of a reply have come: after the handshake TLS 1.3 sends tickets, which are none."""
        if not super().can_read(timeout):
            return False
        found: bool = self._parser.holds_bytes()
        return found


class BoundedUnixConnection(_Bounded, redis.UnixDomainSocketConnection):
    """See `_Bounded`."""
