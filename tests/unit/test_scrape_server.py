"""The metrics' endpoint takes a fixed part of its process, however many connections there are and whatever they do."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from headrace_worker.metrics import scrape_server
from headrace_worker.metrics.scrape_server import ScrapeServer
from tests.support.waiting import wait_until

ANSWER = b"an answer"


class _Served:
    """A server with an application that a test may change, and the connections of a test to it."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.server = ScrapeServer("127.0.0.1", 0, self._application)
        self.server.start()
        self.connections: list[socket.socket] = []

    def _application(self, _environ: Any, start_response: Any) -> Iterable[bytes]:
        if not self.answer:
            raise ValueError("nothing to answer")
        start_response("200 OK", [])
        return [self.answer]

    def connect(self, said: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.server_port), timeout=30)
        self.connections.append(connection)
        connection.sendall(said)
        return connection

    def scrape(self) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}/metrics", timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def close(self) -> None:
        self.server.stop()
        for each in self.connections:
            each.close()
        wait_until(lambda: not threads(), 30, what="the end of all threads")


def threads() -> int:
    return sum(each.name == "headrace-scrape" for each in threading.enumerate())


def is_closed(connection: socket.socket) -> bool:
    """Wait for what the server sends last."""
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


@pytest.fixture
def served() -> Iterator[_Served]:
    served = _Served()
    yield served
    served.close()


def test_silent_connections_do_not_stop_a_scrape(served: _Served) -> None:
    """The oldest of them make room; threads and descriptors stay few."""
    for _ in range(5):
        for _ in range(40):
            served.connect()
        assert served.scrape() == ANSWER
        assert threads() <= 16
    assert is_closed(served.connections[0])


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_does_not_come_is_not_waited_for(
    served: _Served, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Neither from one that says nothing, nor from one that stops half-way."""
    monkeypatch.setattr(scrape_server, "_REQUEST_S", 0.1)
    assert is_closed(served.connect(said))


def test_a_request_that_comes_byte_by_byte_is_cut_off(served: _Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of the whole request, and not of its parts."""
    monkeypatch.setattr(scrape_server, "_REQUEST_S", 0.5)
    connection = served.connect(b"GET /")

    def is_cut_off() -> bool:
        try:
            connection.sendall(b"x")
        except ConnectionError:
            return True
        return False

    wait_until(is_cut_off, 30, interval=0.01)


def test_a_request_without_end_is_cut_off(served: _Served) -> None:
    """No client chooses how much is kept in memory for it."""
    connection = served.connect()
    with pytest.raises(ConnectionError):
        connection.sendall(bytes(100_000_000))


def test_an_answer_that_is_not_read_is_not_sent_for_long(served: _Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow reader keeps no thread."""
    monkeypatch.setattr(scrape_server, "_SEND_S", 0.1)
    served.answer = bytes(50_000_000)
    for _ in range(20):
        served.connect(b"GET /metrics HTTP/1.0\r\n\r\n")
    wait_until(lambda: not threads(), 30)
    served.answer = ANSWER
    assert served.scrape() == ANSWER


def test_a_failure_is_an_answer_too(served: _Served) -> None:
    """And the next scrape is as if there had been none."""
    served.answer = b""
    with pytest.raises(urllib.error.HTTPError, match="500"):
        served.scrape()
    served.answer = ANSWER
    assert served.scrape() == ANSWER


def test_a_process_without_descriptors_does_not_spin(served: _Served) -> None:
    """A connection that can't be accepted waits, and is answered later."""
    waiting = socket.socket()
    served.connections.append(waiting)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        waiting.connect(served.server.server_address)
        waiting.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        used_s = time.process_time()
        threading.Event().wait(1)
        used_s = time.process_time() - used_s
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert used_s < 0.2
    waiting.settimeout(30)
    assert waiting.recv(12) == b"HTTP/1.0 200"
