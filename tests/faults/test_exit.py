"""A worker's process ends as a Python process does, in time, and never waits for what does not end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.deployment import Deployment
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.exits:app"


@pytest.fixture
def worker(processes: Processes, deployment: Deployment, tmp_path: Path) -> Process:
    """A worker that takes runs; its app has registered a function that proves that Python's own exit ran."""
    worker = processes.worker(APP, "--lease", "2", "--grace", "0.5")
    worker.wait_for_line("worker started")
    deployment.see_through("register", str(tmp_path / "atexit"))
    return worker


def stop(worker: Process) -> int:
    worker.terminate()
    return worker.wait(15)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_idle_pool_of_the_app_ends_with_its_process(
    deployment: Deployment, worker: Process, tmp_path: Path, kind: str
) -> None:  # fmt: skip
    """What the app has registered for the end is called, and no process of the pool is left."""
    pid = deployment.see_through("work", kind).output
    assert stop(worker) == 0
    assert (tmp_path / "atexit").exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the pool's process to be gone")


def test_a_stop_without_anything_left_ends_as_python_does(worker: Process, tmp_path: Path) -> None:
    """The exit runs to its end."""
    assert stop(worker) == 0
    assert (tmp_path / "atexit").exists()
    assert "ends here" not in worker.output


@pytest.mark.parametrize("kind", ["thread", "threads", "processes"])
def test_a_thread_of_the_app_that_does_not_end_keeps_no_process(
    deployment: Deployment, worker: Process, kind: str
) -> None:
    """Python waits for threads; the worker waits a few seconds for Python, and says so."""
    deployment.see_through("busy", kind)
    assert stop(worker) == 0
    assert "Python's exit takes more than 5 s" in worker.output
    assert deployment.workers() == set()


def test_an_exit_handler_that_does_not_end_keeps_no_process(deployment: Deployment, worker: Process) -> None:
    """It has a few seconds, too."""
    deployment.see_through("register-endless")
    assert stop(worker) == 0
    assert "Python's exit takes more than 5 s" in worker.output


def test_a_function_that_does_not_end_is_left_behind_at_once(deployment: Deployment, worker: Process) -> None:
    """Its run is another worker's by then, and must not go on here: Python's own exit is left out."""
    event = deployment.send("stuck")
    worker.wait_for_line("stuck begins")
    assert stop(worker) == 0
    assert "left behind" in worker.output
    assert "ends here" not in worker.output
    assert deployment.statuses(event) == {"stuck": "queued"}
