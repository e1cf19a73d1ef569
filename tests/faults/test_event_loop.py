"""Whatever a job does to the event loop, its worker works on, or ends and releases its runs."""

from __future__ import annotations

import re
import sys

import pytest

from headrace import Client, Event
from tests.apps.event_loop import TROUBLES
from tests.faults.deployment import Deployment
from tests.support.codecs import SCRAMBLER
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.event_loop:app"
LEASE_S = 1.0
BROKEN = 70
"""The exit code of a worker that does not work."""


def start(processes: Processes, *options: str, app: str = APP) -> Process:
    """Return a worker that takes runs."""
    worker = processes.worker(app, "--lease", f"{LEASE_S:g}", *options)
    worker.wait_for_line("worker started")
    return worker


def assert_works(deployment: Deployment, worker: Process) -> None:
    """Check that a delayed event, which needs every loop of the worker, is run soon."""
    assert deployment.see_through("ok", 1, deliver_after=0.1).output == 1
    assert worker.is_running, worker.output


# the worker works on


def test_nothing_that_a_job_does_on_the_loop_ends_its_worker(deployment: Deployment, processes: Processes) -> None:
    """Each run has an outcome, and the same process works after it."""
    worker = start(processes)
    for name in TROUBLES:
        run = deployment.see_through("trouble", name)
        assert run.lost == 0, name
        assert_works(deployment, worker)
    worker.terminate()
    assert worker.wait() == 0


def test_a_worker_stops_in_order_while_the_loop_makes_no_tasks(deployment: Deployment, processes: Processes) -> None:
    """A job may set a task factory with a fault in it; the worker's own tasks do not come from there."""
    worker = start(processes)
    assert deployment.see_through("trouble", "refuse_new_tasks").status == "succeeded"
    worker.terminate()
    assert worker.wait() == 0


@pytest.mark.parametrize("trouble", ["cancel", "stop", "exit"])
def test_nothing_that_a_plain_job_does_to_the_loop_ends_its_worker(
    deployment: Deployment, processes: Processes, trouble: str
) -> None:
    """The job's thread has the run's context, and so have the callbacks that it gives to the loop."""
    worker = start(processes)
    assert deployment.see_through("plain-trouble", trouble).status == ("failed" if trouble == "cancel" else "succeeded")
    assert_works(deployment, worker)


def test_an_exit_in_a_task_is_logged(deployment: Deployment, processes: Processes) -> None:
    """The log says that a job raised what would have ended a program."""
    worker = start(processes)
    deployment.see_through("trouble", "exit_in_a_task_that_is_left")
    worker.wait_for_line("a task of a job ended with what ends a program.*SystemExit: 3|SystemExit: 3.*ends a program")
    deployment.see_through("trouble", "stop_loop")
    worker.wait_for_line("a job stopped the event loop")
    assert_works(deployment, worker)


def test_runs_beside_one_that_stops_the_loop_go_on(deployment: Deployment, processes: Processes) -> None:
    """An async run is called once, and so is a plain one that executes meanwhile."""
    worker = start(processes)
    slow = deployment.send("slow", 1.0)
    for name in ("stop_loop", "exit_in_group", "exit_in_callbacks"):
        deployment.see_through("trouble", name)
    (run,) = deployment.client.wait_for_event(slow, 20).runs
    assert (run.output, run.lost, run.attempt) == (worker.pid, 0, 1)


def test_a_job_that_blocks_for_as_long_as_it_may_keeps_its_runs(deployment: Deployment, processes: Processes) -> None:
    """Its author has set a timeout longer than the stall limit; another worker leads meanwhile."""
    worker = start(processes)
    beside = deployment.send("slow", 0.5)
    wait_until(lambda: deployment.statuses(beside).get("slow") == "executing", what="the run beside it")
    blocked = deployment.send("blocks-long", 6 * LEASE_S)
    worker.wait_for_line("it blocks")
    start(processes)
    assert deployment.see_through("ok", 1, deliver_after=0.1).output == 1
    for event in (blocked, beside):
        (run,) = deployment.client.wait_for_event(event, 30).runs
        assert (run.output, run.lost) == (worker.pid, 0)
    worker.wait_for_line("worker works again")
    assert worker.is_running


# the worker ends and lets go


def test_a_run_that_blocks_past_its_timeout_is_timed_out(deployment: Deployment, processes: Processes) -> None:
    """The lease's thread records it, with the place. The process ends, and the other runs are rescued."""
    worker = start(processes)
    beside = deployment.send("slow", 3.0)
    wait_until(lambda: deployment.statuses(beside).get("slow") == "executing", what="the run beside it")
    blocked = deployment.send("blocks-too-long")
    assert worker.wait() == BROKEN
    (run,) = deployment.client.get_event(blocked).runs
    assert (run.status, run.lost) == ("timed_out", 0)
    assert run.error is not None
    assert "_block" in (run.error.traceback or "")
    blocked_by = r"event loop blocked for .* s by job loop/blocks-too-long at event_loop\.py:\d+, in run"
    assert re.search(f"does not work, and ends: {blocked_by}", worker.output)
    other = start(processes)
    (run,) = deployment.client.wait_for_event(beside, 30).runs
    assert (run.output, run.lost) == (other.pid, 1)


def test_a_run_that_blocked_past_its_timeout_is_retried(deployment: Deployment, processes: Processes) -> None:
    """The timeout costs one attempt, and no life."""
    worker = start(processes)
    blocked = deployment.send("blocks-again")
    assert worker.wait() == BROKEN
    start(processes)
    (run,) = deployment.client.wait_for_event(blocked, 30).runs
    assert (run.status, run.output, run.lost) == ("succeeded", 2, 0)


@pytest.mark.parametrize("name", ["blocks", "blocks-in-part", "blocks-in-schema", "blocks-in-error"])
def test_a_run_that_blocks_for_good_costs_a_life(deployment: Deployment, processes: Processes, name: str) -> None:
    """The worker ends after the stall limit. A run that has cost all its lives is dead, and the next worker works."""
    worker = start(processes)
    blocked = deployment.send(name, {"number": 1} if name == "blocks-in-schema" else None)
    assert worker.wait(30) == BROKEN
    assert re.search(r"event loop (stands still|blocked) for [2-6]\.\d s", worker.output)
    assert "_block" in worker.output
    other = start(processes, "--max-lost", "1")
    (run,) = deployment.client.wait_for_event(blocked, 30).runs
    # From Python 3.12 on a task says in which context, and so for which run, it executes.
    knows_run = name == "blocks-in-error" or (name == "blocks-in-part" and sys.version_info >= (3, 12))
    ended = "timed_out" if knows_run else "failed"
    assert (run.status, run.lost) in ((ended, 0), ("failed", 1))
    assert_works(deployment, other)


def test_an_event_whose_codec_blocks_costs_its_dispatcher_its_life(
    deployment: Deployment, processes: Processes
) -> None:
    """The worker ends after the stall limit, and logs the place."""
    worker = start(processes, app="tests.apps.event_loop:sealed_app")
    with Client(deployment.url, namespace=deployment.namespace, codec=SCRAMBLER) as client:
        client.send_event(Event("sealed", payload="block"))
        assert worker.wait(30) == BROKEN
    assert "_block" in worker.output


def test_a_job_that_cancels_all_tasks_from_nowhere_costs_a_life(deployment: Deployment, processes: Processes) -> None:
    """A worker whose tasks were cancelled ends; it does not release the run with nothing counted."""
    worker = start(processes)
    event = deployment.send("stray")
    assert worker.wait() == BROKEN
    assert worker.output.count(f"stray {event}") == 1
    other = start(processes, "--max-lost", "1")
    (run,) = deployment.client.wait_for_event(event, 20).runs
    assert (run.status, run.lost) == ("failed", 1)
    assert_works(deployment, other)


@pytest.mark.parametrize("code", [0, 2])
def test_a_job_that_ends_its_process_costs_a_life(deployment: Deployment, processes: Processes, code: int) -> None:
    """Whatever the exit code is."""
    worker = start(processes)
    event = deployment.send("exits", code)
    assert worker.wait() == code
    other = start(processes, "--max-lost", "1")
    (run,) = deployment.client.wait_for_event(event, 20).runs
    assert (run.status, run.lost) == ("failed", 1)
    assert_works(deployment, other)


@pytest.mark.slow
def test_a_call_that_keeps_all_threads_waiting_ends_the_process(deployment: Deployment, processes: Processes) -> None:
    """No Python thread runs any more, so C code ends the process; every stack is in the log."""
    worker = start(processes)
    deployment.send("holds")
    worker.wait_for_line("it holds")
    assert worker.wait(60) == 1
    assert "Timeout" in worker.output
    assert "in holds" in worker.output
