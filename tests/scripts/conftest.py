"""Worlds to run scripts on: the session's server for what is allowed all, others for what is limited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_worker.embedded import EmbeddedServer
from tests.scripts.cases import seed_bystanders
from tests.scripts.state import World


@pytest.fixture
def world(server: EmbeddedServer, namespace: str) -> Iterator[World]:
    """A namespace that is in use, on the session's server."""
    world = World(server.url, namespace)
    seed_bystanders(world)
    yield world
    world.close()
