"""Worlds to run scripts on: on the session's server, and on another whose memory and users are limited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_worker.dev.embedded import EmbeddedServer
from tests.scripts.cases import seed_bystanders
from tests.scripts.limits import Limits
from tests.scripts.state import Keyspace


@pytest.fixture
def keyspace(server: EmbeddedServer, namespace: str) -> Iterator[Keyspace]:
    """A namespace that is in use, on the session's server."""
    keyspace = Keyspace(server.url, namespace)
    seed_bystanders(keyspace)
    yield keyspace
    keyspace.close()


@pytest.fixture(scope="session")
def limits(server_binary: Path) -> Iterator[Limits]:
    """A server whose memory and users can be limited; each test begins with an empty one."""
    with EmbeddedServer(binary=server_binary) as server:
        limits = Limits(server.url)
        yield limits
        limits.close()
