"""The server's disk is full: its append-only file can't grow and it refuses every write, until it has room again."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace import Client, Event, ServerNotReady
from tests.faults.scene import Scene, worker_name
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason=f"{sys.platform} can't limit another process's files"
)


def limit_files(scene: Scene, size: int = resource.RLIM_INFINITY) -> None:
    """No file of the server can grow beyond so many bytes, as on a full disk."""
    resource.prlimit(scene.server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def largest_file(scene: Scene) -> int:
    folder = Path(scene.redis.config_get("dir")["dir"])
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_waited_through(make_scene: Callable[..., Scene]) -> None:
    """Sends fail with its word, runs in hand wait with their outcomes, and all goes on by itself once there is room."""
    scene = make_scene(appendonly=True, appendfsync="everysec")
    worker = scene.start_worker("gates", lease=30, block=0.5)
    name = worker_name(worker)
    held = scene.send("hold", "held")
    wait_until(lambda: scene.calls.count() == 1, 30, what="a run in hand")
    accepted: list[str] = []

    def refusal() -> str:
        with Client(scene.url, namespace=scene.namespace, attempts=1) as client:
            try:
                accepted.append(client.send_event(Event("quick")).id)
            except ServerNotReady as exc:
                return exc.code
        return ""

    limit_files(scene, largest_file(scene) + 100)
    wait_until(lambda: refusal() == "MISCONF", 30, what="a server that can't write its file", interval=0.05)
    scene.open_gate("held")
    assert scene.statuses(held) != {"hold": "succeeded"}
    limit_files(scene)
    wait_until(lambda: refusal() == "", 60, what="a server that writes again", interval=0.05)
    scene.wait_drained("gates")

    assert scene.statuses(held) == {"hold": "succeeded"}
    assert len(scene.calls.of(held)) == 1
    assert [scene.statuses(event) for event in accepted] == [{"quick": "succeeded"}] * len(accepted)
    assert worker.is_running
    assert name in scene.workers()
