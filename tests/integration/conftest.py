"""What the tests of several parts together have: a place to work, and a client in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace import Client
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
