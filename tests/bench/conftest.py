"""A server of these tests' own, so that every command on it is theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.server import Server
from headrace_worker.dev.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def listening() -> Iterator[Server]:
    """A server on a port: MONITOR tells clients apart by their address, and those of a Unix socket share one."""
    named = os.environ.get("HEADRACE_TEST_SERVER")
    with EmbeddedServer(binary=Path(named) if named else None, unix_socket=False) as embedded:
        server = Server(embedded)
        yield server
        server.client.close()


@pytest.fixture
def counted(listening: Server) -> Server:
    """The server, empty."""
    listening.reset()
    return listening
