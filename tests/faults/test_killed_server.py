"""The server dies by kill -9, comes back with its append-only file, and has lost nothing that it had answered."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headrace import Event
from tests.faults.scene import Scene, worker_name
from tests.support.waiting import await_until, wait_until


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
        self._thread.join(300)
        if self.failure is not None:
            raise self.failure


def wait_for_calls(scene: Scene, count: int) -> None:
    wait_until(lambda: scene.calls.count() >= count, 60, what=f"{count} calls")


@pytest.mark.parametrize(("events", "times"), [(2000, 3), pytest.param(20_000, 30, marks=pytest.mark.slow)])
def test_a_server_killed_under_load_loses_nothing_and_repeats_nothing(
    make_scene: Callable[..., Scene], events: int, times: int
) -> None:
    """Every event whose send returned has three runs that succeed, each called once: no lease was lost, so no cause."""
    scene = make_scene(appendonly=True, appendfsync="always")
    workers = [scene.start_worker("load", lease=10, block=1, concurrency=200) for _ in range(2)]
    names = {worker_name(worker) for worker in workers}
    sender = Sender(scene, events)
    for kills in range(1, times + 1):
        wait_for_calls(scene, kills * 3 * events // (times + 2))
        scene.server.kill()
        scene.server.start()
    sender.join()
    scene.wait_drained("load")
    counts = scene.calls.counts()
    assert counts.keys() == {(event, job) for event in sender.ids for job in "abc"}
    assert len(sender.ids) == events
    assert {run: count for run, count in counts.items() if count > 1} == {}
    for record in scene.records(sender.ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
    assert all(worker.is_running for worker in workers)
    assert names <= scene.workers(), "a living worker was taken for dead"


async def test_a_server_that_goes_back_in_time_repeats_no_call(make_scene: Callable[..., Scene]) -> None:
    """Runs that had settled are in their queue again, one in the worker's hands and one not: both are settled again."""
    scene = make_scene(appendonly=True, appendfsync="always")
    async with scene.working(scene.app("gates"), lease=5, block=0.5, concurrency=1) as worker:
        held, queued = scene.send("hold", "held"), scene.send("quick")
        await await_until(lambda: scene.redis.xlen(scene.queue("gates")) == 2, what="one run in hand and one queued")
        await await_until(lambda: scene.calls.count() == 1, what="the call of the first")
        with back_in_time(scene):
            scene.open_gate("held")
            await scene.drained("gates")
            assert scene.calls.count() == 2
        await scene.drained("gates")
        assert scene.is_registered(worker.name)
    assert [len(scene.calls.of(event)) for event in (held, queued)] == [1, 1]
    assert (scene.statuses(held), scene.statuses(queued)) == ({"hold": "succeeded"}, {"quick": "succeeded"})


def test_a_server_that_goes_back_in_time_while_nobody_reads_repeats_no_call(make_scene: Callable[..., Scene]) -> None:
    """No call of the worker fails by it, as its only slot is taken: it looks at its hands for the new connection."""
    scene = make_scene(appendonly=True, appendfsync="always")
    worker = scene.start_worker("gates", lease=30, block=0.5, concurrency=1)
    worker_name(worker)
    held = scene.send("hold", "held")
    wait_for_calls(scene, 1)
    with back_in_time(scene):
        scene.open_gate("held")
        scene.wait_drained("gates")
        scene.send("block", "blocked")  # the event loop stands still, and with it all that would notice
        wait_for_calls(scene, 2)
    scene.open_gate("blocked")
    scene.wait_drained("gates", 20)
    assert len(scene.calls.of(held)) == 1
    assert scene.statuses(held) == {"hold": "succeeded"}


@contextmanager
def back_in_time(scene: Scene) -> Iterator[None]:
    """The server dies at the end, and comes back with what it had at the beginning."""
    data, copy = scene.server.data_dir, scene.folder / "copy"
    scene.redis.set("time", "before")
    scene.server.pause()
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    scene.server.resume()
    scene.redis.set("time", "after")
    yield
    scene.server.kill()
    for name in ("appendonlydir", "appendonly.aof"):  # a folder since Redis 7
        if (copy / name).is_dir():
            shutil.rmtree(data / name)
            shutil.copytree(copy / name, data / name)
        elif (copy / name).exists():
            shutil.copy(copy / name, data / name)
    scene.server.start()
    assert scene.redis.get("time") == b"before"
