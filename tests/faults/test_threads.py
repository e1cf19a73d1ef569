"""Jobs can neither use up the threads that the worker needs, nor lose a call by what they do to its threads."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.deployment import Deployment
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.threads:app"
BROKEN = 70
MORE_THAN_THE_POOL = 40
"""The event loop's own pool has min(32, CPUs + 4) threads."""


def start(processes: Processes, *options: str, url: str | None = None, lease: str = "1") -> Process:
    """Return a worker that takes runs."""
    env = {} if url is None else {"HEADRACE_URL": url}
    worker = processes.worker(APP, "--lease", lease, *options, env=env)
    worker.wait_for_line("worker started")
    return worker


def assert_works(deployment: Deployment, worker: Process) -> None:
    """Check that a delayed event and a plain job, which need every loop and a thread, are run soon."""
    assert deployment.see_through("plain", 1, deliver_after=0.1).output == 1
    assert worker.is_running, worker.output


def hang(deployment: Deployment, worker: Process) -> None:
    """Let every thread of the event loop's own pool wait for ever."""
    deployment.send_many("hangs", MORE_THAN_THE_POOL)
    wait_until(lambda: worker.output.count("hangs begins") == MORE_THAN_THE_POOL, what="all to hang")


# threads that jobs keep


def test_jobs_that_keep_all_threads_do_not_keep_their_worker_from_its_server(
    make_deployment: Callable[..., Deployment], processes: Processes
) -> None:
    """The worker looks up the server's name and connects again, although no thread of the pool is free."""
    deployment = make_deployment(port=0)
    url = deployment.server.tcp_url.replace("127.0.0.1", "localhost")
    processes = Processes(deployment.folder, url, deployment.namespace)
    try:
        worker = start(processes, "--concurrency", "100", url=url)
        hang(deployment, worker)
        deployment.redis.client_kill_filter(_type="normal", skipme=True)
        assert_works(deployment, worker)
    finally:
        processes.reap()


def test_jobs_that_keep_all_threads_do_not_keep_their_worker_from_its_stop(
    deployment: Deployment, processes: Processes
) -> None:
    """The worker stops in time and in order, and its runs are queued with nothing counted."""
    worker = start(processes, "--concurrency", "100", "--grace", "0.5")
    hang(deployment, worker)
    worker.terminate()
    assert worker.wait(15) == 0
    assert "worker stopped" in worker.output
    assert deployment.workers() == set()
    assert {run.lost for run in deployment.client.list_runs(limit=100).items} == {0}


def test_a_worker_whose_slots_are_all_taken_for_good_ends(deployment: Deployment, processes: Processes) -> None:
    """Functions past their timeouts keep every slot. The worker logs that and ends, and another one works."""
    worker = start(processes, "--concurrency", "2")
    events = [deployment.send("stuck") for _ in range(2)]
    waiting = deployment.send("ok", 1)
    assert worker.wait(30) == BROKEN
    assert "every slot is taken by a function that does not end" in worker.output
    assert [deployment.statuses(event) for event in events] == [{"stuck": "timed_out"}] * 2
    start(processes, "--concurrency", "2")
    (run,) = deployment.client.wait_for_event(waiting, 20).runs
    assert (run.output, run.lost) == (1, 0)


def test_a_slot_that_is_free_keeps_a_worker_alive(deployment: Deployment, processes: Processes) -> None:
    """A function that never ends costs its slot, and no more."""
    worker = start(processes, "--concurrency", "2")
    assert deployment.see_through("stuck").status == "timed_out"
    until = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > until or not worker.is_running, what="more than the bound to be over")
    assert_works(deployment, worker)


# threads that are ended from outside


def test_an_interruption_at_any_moment_loses_neither_thread_nor_run(
    deployment: Deployment, processes: Processes
) -> None:
    """Before, at and after the function's end: each run has an outcome, and all slots are free after it."""
    worker = start(processes, "--concurrency", "8", lease="3")
    rng = random.Random(7)
    sent = [
        deployment.send("interrupted", [0.01, max(0.01 + rng.uniform(-0.003, 0.003), 0.0)])
        for _ in range(300)
    ]  # fmt: skip
    runs = [deployment.client.wait_for_event(event, 60).runs[0] for event in sent]
    assert {run.lost for run in runs} == {0}
    ends = Counter((run.status, run.error and run.error.type.rpartition(".")[2]) for run in runs)
    assert set(ends) <= {("succeeded", None), ("failed", "Interruption")}, ends
    for _ in range(8):
        assert_works(deployment, worker)


def test_a_shower_of_interruptions_loses_neither_thread_nor_run(deployment: Deployment, processes: Processes) -> None:
    """Interruptions also hit the code between one function and the next."""
    worker = start(processes, "--concurrency", "2", lease="3")
    runs = [deployment.see_through("showered", 0.5) for _ in range(4)]
    assert {run.status for run in runs} <= {"succeeded", "failed"}
    runs = [deployment.see_through("plain", number) for number in range(20)]
    assert {run.status for run in runs} <= {"succeeded", "failed"}
    until = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > until, what="the showers to be over")
    for _ in range(4):
        assert_works(deployment, worker)


# threads that can't be started


@pytest.mark.parametrize(("event", "tight", "loose"), [("refuse", True, False), ("limit-memory", 6 << 20, None)])
def test_a_function_without_a_thread_is_called_later_and_once(
    deployment: Deployment, processes: Processes, event: str, tight: object, loose: object
) -> None:
    """Its run waits with nothing counted, however often no thread could be started."""
    worker = start(processes)
    deployment.see_through(event, tight)
    waits = deployment.send("plain", "late")
    worker.wait_for_line("no thread can be started for a plain function")
    assert deployment.see_through("ok", 1).output == 1
    deployment.see_through(event, loose)
    (run,) = deployment.client.wait_for_event(waits, 20).runs
    assert (run.status, run.output, run.attempt, run.lost) == ("succeeded", "late", 1, 0)
    assert_works(deployment, worker)


@pytest.mark.parametrize(("event", "tight"), [("refuse", True), ("limit-memory", 6 << 20)])
def test_a_worker_without_threads_stops_in_order(
    deployment: Deployment, processes: Processes, event: str, tight: object
) -> None:  # fmt: skip
    """It signs off, and its exit code is 0."""
    worker = start(processes)
    deployment.see_through(event, tight)
    worker.terminate()
    assert worker.wait(15) == 0
    assert "worker stopped" in worker.output
    assert deployment.workers() == set()


def test_a_worker_that_can_start_no_thread_at_all_does_not_start(deployment: Deployment, processes: Processes) -> None:
    """Its error says why, and it leaves no lease that another worker would have to wait for."""
    worker = processes.worker("tests.apps.without_threads:app", "--lease", "60")
    assert worker.wait() == 1
    assert "can't start new thread" in worker.output
    assert [end for _, end in deployment.redis.zrange(deployment.keys.workers, 0, -1, withscores=True)] == [0]


# memory and descriptors that are short for a while


def test_a_worker_waits_until_there_are_descriptors_again(deployment: Deployment, processes: Processes) -> None:
    """Meanwhile it can't connect, which is an outage like any other."""
    worker = start(processes)
    deployment.see_through("out-of-descriptors", 3.0)
    deployment.redis.client_kill_filter(_type="normal", skipme=True)
    worker.wait_for_line("descriptors are back")
    assert_works(deployment, worker)


def test_a_worker_waits_until_there_is_memory_again(deployment: Deployment, processes: Processes) -> None:
    """Runs without memory fail or wait; the worker works on, or ends and releases its runs."""
    worker = start(processes)
    event = deployment.send("short-of-memory", 3.0)
    wait_until(lambda: "memory is back" in worker.output or not worker.is_running, 20, what="an end of the shortage")
    wait_until(lambda: deployment.statuses(event) or not worker.is_running, what="its run")
    if not worker.is_running:
        assert worker.returncode == BROKEN, worker.output
        worker = start(processes)
    assert_works(deployment, worker)
