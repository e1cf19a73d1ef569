"""The scenes of the tests of faults."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scene import Scene
from tests.support.processes import Processes
from tests.support.release import Release, unpack_last_release
from tests.support.servers import ControlledServer


@pytest.fixture
def scene(server: ControlledServer, namespace: str, processes: Processes, tmp_path: Path) -> Iterator[Scene]:
    """A namespace of its own on the session's server, for what leaves the server itself alone."""
    scene = Scene(server, namespace, processes, tmp_path)
    yield scene
    scene.close()


@pytest.fixture
def make_scene(
    make_server: Callable[..., ControlledServer], processes: Processes, tmp_path: Path
) -> Iterator[Callable[..., Scene]]:
    """Makes a scene on a server of its own, for what the test does to the server.

    It takes the number of partitions, and ControlledServer's options.
    """
    scenes: list[Scene] = []

    def make(partitions: int = 1, **options: Any) -> Scene:
        namespace = f"faults-{secrets.token_hex(4)}"
        scenes.append(Scene(make_server(**options), namespace, processes, tmp_path, partitions))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The last release, unpacked; with xdist each worker has a copy."""
    return unpack_last_release(tmp_path_factory.mktemp("release"))
