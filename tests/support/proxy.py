"""A proxy in front of a Redis server that really cuts the line, at a request or reply that the test names."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

Match = bytes | Callable[[bytes], bool]
"""A part of a request's bytes, or a predicate on them."""

_SUBSCRIBING = re.compile(rb"\*(\d+)\r\n\$\d+\r\n[PS]?(?:UN)?SUBSCRIBE\r\n", re.IGNORECASE)
_CONFIRMATION = re.compile(rb"[*>]\d+\r\n\$\d+\r\n[ps]?(?:un)?subscribe\r\n", re.IGNORECASE)
_ACCEPT_S = 0.1
"""Not every system wakes a blocked accept when the listener is closed."""
_PUBLISHED = re.compile(rb"\*\d+\r\n\$\d+\r\n[ps]?message\r\n", re.IGNORECASE)


def is_done(reply: bytes) -> bool:
    """Whether the server carried the request out: its reply is no error."""
    return not reply.startswith(b"-")


def has_data(reply: bytes) -> bool:
    """Whether the reply holds anything: no error, no null, no empty array."""
    return not reply.startswith((b"-", b"*-1", b"$-1", b"_", b"*0\r", b"%0\r"))


class Frames:
    """Cuts a stream of RESP 2 or 3 (and inline commands) into whole requests or replies."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0
        self._missing = 1

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield each frame that the chunk completes."""
        self._bytes += chunk
        while self._read_value():
            if self._missing == 0:
                frame = bytes(self._bytes[: self._at])
                del self._bytes[: self._at]
                self._at, self._missing = 0, 1
                yield frame

    def _read_value(self) -> bool:
        """Skip one value, or the head of one that holds others; return False when more bytes are needed."""
        line_end = self._bytes.find(b"\r\n", self._at)
        if line_end < 0:
            return False
        kind, head = bytes(self._bytes[self._at : self._at + 1]), bytes(self._bytes[self._at + 1 : line_end])
        end = line_end + 2
        if kind in {b"$", b"=", b"!"} and head != b"-1":
            end += int(head) + 2
            if len(self._bytes) < end:
                return False
        elif kind in {b"*", b"~", b">"}:
            self._missing += max(int(head), 0)
        elif kind == b"%":
            self._missing += 2 * int(head)
        elif kind == b"|":  # attributes stand before the value that they belong to
            self._missing += 2 * int(head) + 1
        self._at = end
        self._missing -= 1
        return True


class Cut:
    """A requested cut, and how often it has happened."""

    def __init__(
        self,
        match: Match,
        kind: Literal["request", "reply"],
        only: Callable[[bytes], bool] = is_done,
        times: int = 1,
        *,
        is_within: bool = False,
    ) -> None:
        self._match = match
        self.kind = kind
        self._only = only
        self._left = times
        self.is_within = is_within
        """Half of the bytes of the request or the reply go through before the line is cut."""
        self._condition = threading.Condition()
        self.done = 0
        """How many connections it has cut so far."""
        self.requests: list[bytes] = []
        """The requests at which it cut, as they were sent."""

    def wait(self, timeout: float = 10.0, times: int = 1) -> None:
        """Return when the cut has happened so many times; fail after the given time."""
        with self._condition:
            if not self._condition.wait_for(lambda: self.done >= times, timeout):
                what = f"{times} lost {self.kind} at {self._match!r}"
                raise AssertionError(f"waited {timeout:g} s in vain for {what}: {self.done} so far")

    def cancel(self) -> None:
        """Cut nothing any more."""
        with self._condition:
            self._left = 0

    def fits(self, request: bytes) -> bool:
        """Return whether the cut is for this request, and is not used up."""
        if self._left <= 0:
            return False
        return self._match in request if isinstance(self._match, bytes) else self._match(request)

    def take(self, request: bytes, reply: bytes | None = None) -> bool:
        """Use the cut once, if it is not used up and the reply is of the kind to lose; return whether it was."""
        with self._condition:
            if self._left <= 0 or (reply is not None and not self._only(reply)):
                return False
            self._left -= 1
            self.done += 1
            self.requests.append(request)
            self._condition.notify_all()
            return True


class Proxy:
    """Stands between clients and the server at `target_url`, in threads of its own, until `close`.

    Cuts hold for all connections, those open and those to come. What is cut is closed on both sides.

    Args:
        target_url: `redis://…` or `unix://…`. The proxy listens on what the target does, and its `url` keeps
            user, password and database.
    """

    def __init__(self, target_url: str) -> None:
        self._target = urlsplit(target_url)
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-"))
        self._address: str | tuple[str, int] = (
            str(self._folder / "proxy.sock") if self._target.scheme == "unix" else ("127.0.0.1", 0)
        )
        self._lock = threading.Lock()
        self._cuts: list[Cut] = []
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.flowing = threading.Event()
        """Set while bytes go through; cleared by `stall`."""
        self.flowing.set()
        self.delay_s = 0.0
        """How long each chunk of bytes is on its way, in either direction."""
        self.accepted = 0
        """How many connections have been made."""
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The proxy's URL, the same after `drop_all`."""
        userinfo, at, _ = self._target.netloc.rpartition("@")
        if isinstance(self._address, str):
            query = f"?{self._target.query}" if self._target.query else ""
            return f"unix://{userinfo}{at}{self._address}{query}"
        host, port = self._address
        return urlunsplit(self._target._replace(netloc=f"{userinfo}{at}{host}:{port}"))

    @property
    def lost_requests(self) -> int:
        """How many connections were cut before a request went through."""
        return sum(cut.done for cut in self._cuts if cut.kind == "request")

    @property
    def lost_replies(self) -> int:
        """How many connections were cut after a request was carried out."""
        return sum(cut.done for cut in self._cuts if cut.kind == "reply")

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._links)

    def cut_after_request(self, match: Match, times: int = 1, *, only: Callable[[bytes], bool] = is_done) -> Cut:
        """Lose the reply: a request that fits is carried out by the server, then its client's line is cut.

        `match` is a part of the request's bytes (a script's SHA, `b"XREADGROUP"`), or a predicate. The reply
        has been read whole by then, and `only` has said that it is one to lose: an error is passed on, and
        the cut still to come, unless `only` says otherwise; with `has_data`, empty replies are passed on too.
        Replies to earlier requests of the same pipeline come through.
        """
        return self.add(Cut(match, "reply", only, times))

    def cut_before_request(self, match: Match, times: int = 1) -> Cut:
        """Lose the request: the client's line is cut, and the server never hears of a request that fits.

        Earlier requests of the same pipeline have reached the server; their replies may be lost too.
        """
        return self.add(Cut(match, "request", is_done, times))

    def add(self, cut: Cut) -> Cut:
        """Add a cut, which is made when its request or reply comes."""
        with self._lock:
            self._cuts.append(cut)
        return cut

    def drop_all(self) -> None:
        """Cut every line and refuses new ones until `restore`."""
        self._close_listener()
        for link in self._open_links():
            link.close()

    def stall(self) -> None:
        """Let nothing through, and close nothing: connections are accepted, and silent, until `restore`."""
        self.flowing.clear()

    def slow(self, delay_s: float) -> None:
        """Delay everything that goes through by so many seconds, until `restore`."""
        self.delay_s = delay_s

    def pass_on(self) -> None:
        """Return when bytes that have arrived may be forwarded."""
        if self.delay_s:
            time.sleep(self.delay_s)
        self.flowing.wait()

    def restore(self) -> None:
        """Accept connections again, and forward what was stalled, without delay."""
        self.delay_s = 0.0
        self.flowing.set()
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        """Cut every line and ends the proxy's threads."""
        self._close_listener()
        for link in self._open_links():
            link.close()
        self.flowing.set()
        for thread in self._threads:
            thread.join(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def cut_for(self, request: bytes) -> Cut | None:
        """Return the first cut for the request."""
        with self._lock:
            return next((cut for cut in self._cuts if cut.fits(request)), None)

    def forget(self, link: _Link) -> None:
        """Count the closed link no longer."""
        with self._lock:
            self._links.discard(link)

    def connect_to_target(self) -> socket.socket:
        """Return a new connection to the server."""
        if self._target.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._target.path)
            except OSError:
                connection.close()
                raise
            return connection
        return socket.create_connection((self._target.hostname or "127.0.0.1", self._target.port or 6379))

    def _open_links(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _listen(self) -> None:
        if isinstance(self._address, str):
            Path(self._address).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._address)
        listener.listen(512)
        listener.settimeout(_ACCEPT_S)
        if not isinstance(self._address, str):
            self._address = listener.getsockname()[:2]
        self._listener = listener
        self._spawn(self._accept, listener)

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            _shut(listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:
                    client.close()
                    return
                self.accepted += 1
                link = _Link(self, client)
                self._links.add(link)
            self._spawn(link.carry_requests)

    def _spawn(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


class _Link:
    """A client's connection and its counterpart to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._expected: deque[tuple[bytes, Cut] | None] = deque()
        """For each reply that is to come: the request and the cut that waits for it, if any."""

    def carry_requests(self) -> None:
        """Carry requests from the client to the server until one of them has gone."""
        replies: threading.Thread | None = None
        try:
            self._proxy.flowing.wait()
            server = self._proxy.connect_to_target()
            with self._lock:
                self._server = server
                if self._closed:
                    _shut(server)
                    return
            replies = threading.Thread(target=self._carry_replies, args=(server,), name="proxy", daemon=True)
            replies.start()
            frames = Frames()
            while chunk := self._client.recv(262144):
                self._proxy.pass_on()
                if not self._forward_requests(list(frames.feed(chunk)), server):
                    break
        except OSError:
            pass
        finally:
            self.close()
            if replies is not None:
                replies.join(timeout=10)

    def close(self) -> None:
        """Both sides are closed."""
        with self._lock:
            self._closed = True
            _shut(self._client)
            if self._server is not None:
                _shut(self._server)
        self._proxy.forget(self)

    def _forward_requests(self, requests: list[bytes], server: socket.socket) -> bool:
        """Forward the requests; return False when the line was cut before one."""
        forward: list[bytes] = []
        for request in requests:
            cut = self._proxy.cut_for(request)
            if cut is not None and cut.kind == "request" and cut.take(request):
                server.sendall(b"".join([*forward, _half(request) if cut.is_within else b""]))
                return False
            subscribing = _SUBSCRIBING.match(request)
            replies = max(int(subscribing[1]) - 1, 1) if subscribing else 1
            waiting = (request, cut) if cut is not None and cut.kind == "reply" else None
            self._expected.extend([waiting] * replies)
            forward.append(request)
        server.sendall(b"".join(forward))
        return True

    def _carry_replies(self, server: socket.socket) -> None:
        """Carry replies from the server to the client until a cut, or until one of them has gone."""
        frames = Frames()
        try:
            while chunk := server.recv(262144):
                forward: list[bytes] = []
                cut = None
                for frame in frames.feed(chunk):
                    if (cut := self._cut_at(frame)) is not None:
                        forward.append(_half(frame) if cut.is_within else b"")
                        break
                    forward.append(frame)
                self._proxy.pass_on()
                self._client.sendall(b"".join(forward))
                if cut is not None:
                    break
        except OSError:
            pass
        finally:
            self.close()

    def _cut_at(self, frame: bytes) -> Cut | None:
        """Return the cut that waits for this frame, if any; messages that the server pushes are no replies."""
        unasked = frame.startswith(b">") and not _CONFIRMATION.match(frame)
        if unasked or _PUBLISHED.match(frame) or not self._expected:
            return None
        waiting = self._expected.popleft()
        if waiting is None:
            return None
        request, cut = waiting
        return cut if cut.take(request, frame) else None


def _half(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


def _shut(connection: socket.socket) -> None:
    """Close the socket, and wake the thread that is blocked on it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
