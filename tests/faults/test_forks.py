"""A process that a job forks has its own signals, and never goes on as a second worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.apps.forks import COMES_BACK
from tests.faults.deployment import Deployment
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.forks:app"


@pytest.fixture
def worker(processes: Processes) -> Process:
    """A worker that takes runs."""
    worker = processes.worker(APP, "--lease", "2")
    worker.wait_for_line("worker started")
    return worker


def assert_alone(deployment: Deployment, worker: Process) -> None:
    """Check that no copy of the worker is left, and that the worker works: every loop, and its threads."""
    wait_until(lambda: not children_of(worker.pid), what="every copy to have ended")
    assert deployment.see_through("plain", 1, deliver_after=0.1).output == 1
    assert worker.is_running


def children_of(pid: int) -> list[int]:
    """Return the children that still execute, without ended ones that are not reaped yet."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended since
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("event", ["child", "child-of-async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_at_the_signal_that_it_is_sent(
    deployment: Deployment, worker: Process, event: str, number: signal.Signals
) -> None:
    """For each way to start a child, from a plain job and from an async one."""
    ends = {
        method: deployment.see_through(event, [method, number]).output for method in ("fork", "spawn", "forkserver")
    }
    assert ends["fork"] == -number
    # Python's own interpreter turns SIGINT into KeyboardInterrupt, and exit code 1, where it starts anew.
    assert {ends["spawn"], ends["forkserver"]} <= {-number, 1 if number == signal.SIGINT else -number}
    assert worker.is_running


@pytest.mark.usefixtures("worker")
def test_pools_of_processes_and_programs_are_as_anywhere(deployment: Deployment) -> None:
    """With each way of multiprocessing, and with subprocesses of both kinds."""
    for method in ("fork", "spawn", "forkserver"):
        assert deployment.see_through("pool", method).output == [3, 2, 1]
    assert deployment.see_through("program").output == [-signal.SIGTERM, -signal.SIGINT]


@pytest.mark.parametrize("event", ["forks", "forks-in-task"])
def test_a_fork_of_an_async_job_that_comes_back_ends(deployment: Deployment, worker: Process, event: str) -> None:
    """The log reports it, and the parent's run is not affected."""
    for number, way in enumerate(COMES_BACK, 1):  # the log of the parent's is the child's too
        run = deployment.see_through(event, way)
        assert (run.status, run.output, run.lost) == ("succeeded", "the parent", 0), way
        assert_alone(deployment, worker)
        assert worker.output.count("came back to the worker's code") == number, way


@pytest.mark.parametrize("event", ["forks-in-callback", "forks-in-pool"])
def test_a_fork_elsewhere_that_comes_back_ends(deployment: Deployment, worker: Process, event: str) -> None:
    """In a callback of the event loop, and in a thread of its pool."""
    assert deployment.see_through(event).output == "the parent"
    assert_alone(deployment, worker)


@pytest.mark.parametrize("way", ["returns", "raises", "exits"])
def test_a_fork_of_a_plain_job_that_comes_back_ends(deployment: Deployment, worker: Process, way: str) -> None:
    """It does not wait in its thread for ever, with all descriptors of the worker."""
    assert deployment.see_through("forks-plain", way).output == "the parent"
    assert_alone(deployment, worker)


def test_a_child_that_goes_on_keeps_nothing_of_its_worker(deployment: Deployment, worker: Process) -> None:
    """The worker stops in order; the child belongs to its job, and receives its own signals."""
    pid = deployment.see_through("lingers").output
    try:
        assert_works_beside(deployment, worker)
        worker.terminate()
        assert worker.wait() == 0
        assert deployment.workers() == set()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "the child was told to end" in worker.output, what="the child to hear it")
    finally:
        os.kill(pid, signal.SIGKILL)


def assert_works_beside(deployment: Deployment, worker: Process) -> None:
    assert deployment.see_through("plain", 1, deliver_after=0.1).output == 1
    assert worker.is_running
