"""The server dies by kill -9, comes back with its append-only file, and has lost nothing that it had answered."""

from __future__ import annotations

import threading
from collections.abc import Callable

from headrace import Event
from tests.faults.scene import Scene, worker_name
from tests.support.waiting import wait_until


class Sender:
    """Sends events in a thread, a few at a time, whatever becomes of the server meanwhile."""

    def __init__(self, scene: Scene, count: int, batch: int = 20) -> None:
        self.ids: list[str] = []
        self.failure: Exception | None = None
        self._scene = scene
        self._sizes = [batch] * (count // batch)
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        try:
            for size in self._sizes:
                self.ids += [sent.id for sent in self._scene.client.send_events([Event("load")] * size)]
        except Exception as exc:  # noqa: BLE001 - the test shows it
            self.failure = exc

    def join(self) -> None:
        self._thread.join(60)
        if self.failure is not None:
            raise self.failure


def wait_for_calls(scene: Scene, count: int) -> None:
    wait_until(lambda: scene.calls.count() >= count, 60, what=f"{count} calls")


def test_a_server_killed_under_load_loses_nothing_and_repeats_nothing(
    make_scene: Callable[..., Scene],
) -> None:
    """Every event whose send returned has three runs that succeed, each called once: no lease was lost, so no cause."""
    scene = make_scene(appendonly=True, appendfsync="always")
    workers = [scene.start_worker("load", lease_s=10, block_s=1, concurrency=200) for _ in range(2)]
    names = {worker_name(worker) for worker in workers}
    sender = Sender(scene, 2000)
    for kills in range(1, 4):
        wait_for_calls(scene, kills * 1200)
        scene.server.kill()
        scene.server.start()
    sender.join()
    scene.wait_drained("load")
    counts = scene.calls.counts()
    assert counts.keys() == {(event, job) for event in sender.ids for job in "abc"}
    assert len(sender.ids) == 2000
    assert {run: count for run, count in counts.items() if count > 1} == {}
    for record in scene.records(sender.ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
    assert all(worker.is_running for worker in workers)
    assert names <= scene.workers(), "a living worker was taken for dead"
