"""Worlds to run scripts on: on the session's server, and on another whose memory and users are limited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_worker.dev.embedded import EmbeddedServer
from tests.scripts.cases import seed_bystanders
from tests.scripts.limits import Limits
from tests.scripts.state import World


@pytest.fixture
def world(server: EmbeddedServer, namespace: str) -> Iterator[World]:
    """A namespace that is in use, on the session's server."""
    world = World(server.url, namespace)
    seed_bystanders(world)
    yield world
    world.close()


@pytest.fixture(scope="session")
def limits(server_binary: Path) -> Iterator[Limits]:
    """A server whose memory and users can be limited; each test begins with an empty one."""
    with EmbeddedServer(binary=server_binary) as server:
        limits = Limits(server.url)
        yield limits
        limits.close()
