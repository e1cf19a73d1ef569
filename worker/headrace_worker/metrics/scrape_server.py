"""Answers scrapes over HTTP within fixed bounds, however clients behave.

The address may be open to anybody. So silent, slow and many connections may take only a fixed part of the worker's
threads, descriptors and processor.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.tasks.restarting import start_thread

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = get_logger("headrace.metrics")

_MOST_CONNECTIONS = 16
_REQUEST_S = 5.0
"""How long a client may take to send its request, from its connection on."""
_LONGEST_REQUEST = 16_384
_SEND_S = 5.0
"""How long one part of an answer may take to be sent: the headers, then the body."""
_TURN_S = 1.0
"""How long a new connection waits for the place of one that was closed for it."""
_PAUSE_S = 0.5
"""How long no connection is accepted after no descriptor was left for one."""
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REPORT_EVERY_S = 60.0


class ScrapeServer(WSGIServer):
    """Serves an application on an address, in at most 16 daemon threads.

    If all are taken, the oldest connection without a request is closed for a new one: a scraper is served beside any
    number of silent connections.
    """

    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, host: str, port: int, application: WSGIApplication) -> None:
        """Listen, and serve nothing yet; raise OSError if the address can't be listened on."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._silent: dict[socket.socket, None] = {}
        self._silent_lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._application = application
        self._reported_at: float | None = None
        super().__init__((str(found[0][4][0]), port), _Handler)
        self.set_app(self._answer)

    def start(self) -> None:
        """Serve from now on, in threads."""
        start_thread("headrace-metrics", self.serve_forever)

    def stop(self) -> None:
        """Stop accepting connections."""
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; pause if there is no room for one, as the next attempt follows at once."""
        try:
            return super().get_request()
        except OSError as exc:
            if exc.errno in _NO_ROOM:
                time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, if a place is free."""
        if not self._take_place():
            self.shutdown_request(request)
            return
        with self._silent_lock:
            self._silent[request] = None
        try:
            start_thread("headrace-scrape", functools.partial(self._serve, request, client_address))
        except BaseException:
            self.note_request(request)
            self._places.release()
            raise

    def note_request(self, connection: socket.socket) -> None:
        """Note that a connection is not silent any more."""
        with self._silent_lock:
            self._silent.pop(connection, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the class has it
        """Report why a connection was not served."""
        self._report()

    def _take_place(self) -> bool:
        if self._places.acquire(blocking=False):
            return True
        with self._silent_lock, contextlib.suppress(OSError, StopIteration):
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end
        return self._places.acquire(timeout=_TURN_S)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            with contextlib.suppress(OSError):  # the client's fault, or a time that is over
                self.finish_request(request, client_address)
        except BaseException:  # noqa: BLE001 - the thread has served its connection
            self._report()
        finally:
            self.note_request(request)
            with contextlib.suppress(OSError):
                self.shutdown_request(request)
            self._places.release()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._one_at_a_time:  # or many scrapes would leave the worker a small part of the processor
            try:
                return self._application(environ, start_response)
            except Exception:
                self._report()
                raise

    def _report(self) -> None:
        """Log the exception that is being handled, once a minute at most."""
        now = monotonic()
        if self._reported_at is None or now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            log.error("a scrape could not be answered", exc_info=sys.exc_info())


class _Handler(WSGIRequestHandler):
    """One connection with one request."""

    server: ScrapeServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(_read_request(self.connection))
        self.server.note_request(self.connection)
        self.connection.settimeout(_SEND_S)

    def get_stderr(self) -> Any:
        return io.StringIO()  # the server has reported

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class has it
        """Log nothing: a scrape comes every few seconds."""


def _read_request(connection: socket.socket) -> bytes:
    """Return the first line and the headers of a request.

    Raises:
        OSError: the client has sent none in time, or too long a one, or has gone.
    """
    request = b""
    deadline = monotonic() + _REQUEST_S
    while b"\r\n\r\n" not in request and b"\n\n" not in request:
        connection.settimeout(max(deadline - monotonic(), 0.001))
        chunk = connection.recv(4096)
        request += chunk
        if not chunk or len(request) > _LONGEST_REQUEST or monotonic() >= deadline:
            raise ConnectionAbortedError
    return request
