"""What the tests of several parts together have: a place to work, and a client in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from headrace import Client
from headrace.formats.keys import Keys
from tests.support.clients import KINDS, Kind
from tests.support.servers import ControlledServer
from tests.support.workers import Place


@pytest.fixture
def place(url: str, namespace: str) -> Place:
    """The session's server and the test's namespace."""
    return Place(url, namespace)


@pytest.fixture
def client(url: str, namespace: str) -> Iterator[Client]:
    """A client of the test's namespace."""
    with Client(url, namespace=namespace) as client:
        yield client


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of client in turn; a test that asks for it holds for both."""
    found: Kind = request.param
    return found


@pytest.fixture
def keys(namespace: str) -> Keys:
    """The keys of the test's namespace, undivided."""
    return Keys(namespace)


@pytest.fixture
def two(make_server: Callable[..., ControlledServer]) -> tuple[ControlledServer, ControlledServer]:
    """A master and its replica, without sentinels."""
    master = make_server(unix_socket=False, extra=("--repl-diskless-sync-delay", "0"))
    replica = make_server(unix_socket=False, extra=("--replicaof", "127.0.0.1", str(master.port)))
    return master, replica
