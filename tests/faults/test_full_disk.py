"""The server's disk is full: its append-only file can't grow and it refuses every write, until it has room again."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace import Client, Event, ServerNotReady
from tests.faults.deployment import Deployment, worker_name
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason=f"{sys.platform} can't limit another process's files"
)


def limit_files(deployment: Deployment, size: int = resource.RLIM_INFINITY) -> None:
    """Let no file of the server grow beyond so many bytes, as on a full disk."""
    resource.prlimit(deployment.server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def largest_file(deployment: Deployment) -> int:
    folder = Path(deployment.redis.config_get("dir")["dir"])
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_waited_through(make_deployment: Callable[..., Deployment]) -> None:
    """Sends fail with the server's word, runs in flight keep their outcomes, and all goes on once there is room."""
    deployment = make_deployment(appendonly=True, appendfsync="everysec")
    worker = deployment.start_worker("gates", lease=30, block=0.5)
    name = worker_name(worker)
    held = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.count() == 1, 30, what="a run in flight")
    accepted: list[str] = []

    def refusal() -> str:
        with Client(deployment.url, namespace=deployment.namespace, attempts=1) as client:
            try:
                accepted.append(client.send_event(Event("quick")).id)
            except ServerNotReady as exc:
                return exc.code
        return ""

    limit_files(deployment, largest_file(deployment) + 100)
    wait_until(lambda: refusal() == "MISCONF", 30, what="a server that can't write its file", interval=0.05)
    deployment.open_gate("held")
    assert deployment.statuses(held) != {"hold": "succeeded"}
    limit_files(deployment)
    wait_until(lambda: refusal() == "", 60, what="a server that writes again", interval=0.05)
    deployment.wait_drained("gates")

    assert deployment.statuses(held) == {"hold": "succeeded"}
    assert len(deployment.calls.of(held)) == 1
    assert [deployment.statuses(event) for event in accepted] == [{"quick": "succeeded"}] * len(accepted)
    assert worker.is_running
    assert name in deployment.workers()
