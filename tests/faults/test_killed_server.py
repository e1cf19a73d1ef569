"""The server dies by kill -9 and comes back with its append-only file; nothing that it had answered is lost."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headrace import Event
from tests.faults.deployment import Deployment, worker_name
from tests.support.waiting import await_until, wait_until


class Sender:
    """Sends events in a thread, a few at a time, whatever becomes of the server meanwhile."""

    def __init__(self, deployment: Deployment, count: int, batch: int = 20) -> None:
        self.ids: list[str] = []
        self.failure: Exception | None = None
        self._deployment = deployment
        self._sizes = [batch] * (count // batch)
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        try:
            for size in self._sizes:
                self.ids += [sent.id for sent in self._deployment.client.send_events([Event("load")] * size)]
        except Exception as exc:  # noqa: BLE001 - the test shows it
            self.failure = exc

    def join(self) -> None:
        self._thread.join(300)
        if self.failure is not None:
            raise self.failure


def wait_for_calls(deployment: Deployment, count: int) -> None:
    wait_until(lambda: deployment.calls.count() >= count, 60, what=f"{count} calls")


@pytest.mark.parametrize(("events", "times"), [(2000, 3), pytest.param(20_000, 30, marks=pytest.mark.slow)])
def test_a_server_killed_under_load_loses_nothing_and_repeats_nothing(
    make_deployment: Callable[..., Deployment], events: int, times: int
) -> None:
    """Every event whose send returned has three runs that succeed, each called once: no lease has expired."""
    deployment = make_deployment(appendonly=True, appendfsync="always")
    workers = [deployment.start_worker("load", lease=10, block=1, concurrency=200) for _ in range(2)]
    names = {worker_name(worker) for worker in workers}
    sender = Sender(deployment, events)
    for kills in range(1, times + 1):
        wait_for_calls(deployment, kills * 3 * events // (times + 2))
        deployment.server.kill()
        deployment.server.start()
    sender.join()
    deployment.wait_drained("load")
    counts = deployment.calls.counts()
    assert counts.keys() == {(event, job) for event in sender.ids for job in "abc"}
    assert len(sender.ids) == events
    assert {run: count for run, count in counts.items() if count > 1} == {}
    for record in deployment.records(sender.ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
    assert all(worker.is_running for worker in workers)
    assert names <= deployment.workers(), "the lease of a live worker expired"


async def test_a_rollback_of_the_server_repeats_no_call(make_deployment: Callable[..., Deployment]) -> None:
    """Two settled runs are in their queue again, one of them pending under the worker: both are settled again."""
    deployment = make_deployment(appendonly=True, appendfsync="always")
    async with deployment.working(deployment.app("gates"), lease=5, block=0.5, concurrency=1) as worker:
        held, queued = deployment.send("hold", "held"), deployment.send("quick")
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 2, what="one run in flight and one queued"
        )
        await await_until(lambda: deployment.calls.count() == 1, what="the call of the first")
        with back_in_time(deployment):
            deployment.open_gate("held")
            await deployment.drained("gates")
            assert deployment.calls.count() == 2
        await deployment.drained("gates")
        assert deployment.is_registered(worker.name)
    assert [len(deployment.calls.of(event)) for event in (held, queued)] == [1, 1]
    assert (deployment.statuses(held), deployment.statuses(queued)) == ({"hold": "succeeded"}, {"quick": "succeeded"})


def test_a_rollback_of_the_server_without_an_open_read_repeats_no_call(
    make_deployment: Callable[..., Deployment],
) -> None:
    """Its only slot is taken, so no call fails: the worker looks at its pending entries for the new connection."""
    deployment = make_deployment(appendonly=True, appendfsync="always")
    worker = deployment.start_worker("gates", lease=30, block=0.5, concurrency=1)
    worker_name(worker)
    held = deployment.send("hold", "held")
    wait_for_calls(deployment, 1)
    with back_in_time(deployment):
        deployment.open_gate("held")
        deployment.wait_drained("gates")
        deployment.send("block", "blocked")  # the event loop stands still, and with it all that would notice
        wait_for_calls(deployment, 2)
    deployment.open_gate("blocked")
    deployment.wait_drained("gates", 20)
    assert len(deployment.calls.of(held)) == 1
    assert deployment.statuses(held) == {"hold": "succeeded"}


@contextmanager
def back_in_time(deployment: Deployment) -> Iterator[None]:
    """Kill the server at the end, and start it with the data of the beginning."""
    data, copy = deployment.server.data_dir, deployment.folder / "copy"
    deployment.redis.set("time", "before")
    deployment.server.pause()
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    deployment.server.resume()
    deployment.redis.set("time", "after")
    yield
    deployment.server.kill()
    for name in ("appendonlydir", "appendonly.aof"):  # a folder since Redis 7
        if (copy / name).is_dir():
            shutil.rmtree(data / name)
            shutil.copytree(copy / name, data / name)
        elif (copy / name).exists():
            shutil.copy(copy / name, data / name)
    deployment.server.start()
    assert deployment.redis.get("time") == b"before"
