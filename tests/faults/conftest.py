"""The deployments of the tests of faults, and the last release."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.deployment import Deployment
from tests.support.processes import Processes
from tests.support.release import Release, unpack_last_release
from tests.support.servers import ControlledServer


@pytest.fixture
def deployment(server: ControlledServer, namespace: str, processes: Processes, tmp_path: Path) -> Iterator[Deployment]:
    """A namespace of its own on the session's server, for what leaves the server itself alone."""
    deployment = Deployment(server, namespace, processes, tmp_path)
    yield deployment
    deployment.close()


@pytest.fixture
def make_deployment(
    make_server: Callable[..., ControlledServer], processes: Processes, tmp_path: Path
) -> Iterator[Callable[..., Deployment]]:
    """Make a deployment on a server of its own, for what the test does to the server.

    It takes the number of partitions, and ControlledServer's options.
    """
    deployments: list[Deployment] = []

    def make(partitions: int = 1, **options: Any) -> Deployment:
        namespace = f"faults-{secrets.token_hex(4)}"
        deployments.append(Deployment(make_server(**options), namespace, processes, tmp_path, partitions))
        return deployments[-1]

    yield make
    for deployment in deployments:
        deployment.close()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The last release, unpacked; with xdist each worker has a copy."""
    return unpack_last_release(tmp_path_factory.mktemp("release"))
