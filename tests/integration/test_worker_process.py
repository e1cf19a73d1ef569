"""A worker's process stops when asked to, and nothing keeps it alive after that."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable

import pytest

from headrace import Client, Event
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.everyday:app"


def started(process: Process) -> Process:
    process.wait_for_line("worker started")
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_runs_in_flight_end(processes: Processes, client: Client, number: signal.Signals) -> None:
    """The run succeeds, a later event waits for another worker, and the exit code is 0."""
    worker = started(processes.worker(APP))
    client.send_event(Event("nap", 0.5, id="e1"))
    worker.wait_for_line("nap e1 begins")
    worker.interrupt() if number == signal.SIGINT else worker.terminate()
    worker.wait_for_line(
        '"in_flight": 1.*worker stops: its runs may go on for 30 s; '
        "a second signal releases them at once, a third kills"
    )
    client.send_event(Event("nap", 0.5, id="e2"))
    assert worker.wait() == 0
    assert "nap e1 ends" in worker.output
    assert "left behind" not in worker.output
    assert client.get_run("e1:everyday/nap").status == "succeeded"
    assert [run.started_at for run in client.get_event("e2").runs] in ([], [None])  # dispatched perhaps, but not begun


def test_a_second_signal_releases_runs_at_once(processes: Processes, client: Client) -> None:
    """The run is queued again with nothing counted, long before its grace is over."""
    worker = started(processes.worker(APP, "--grace", "600"))
    client.send_event(Event("nap", 600, id="e1"))
    worker.wait_for_line("nap e1 begins")
    worker.terminate()
    worker.wait_for_line("worker stops")
    worker.terminate_again()
    assert worker.wait() == 0
    assert "the stop is hurried: runs are released, and a worker of the app will begin them again" in worker.output
    assert "grace is over" not in worker.output
    run = client.get_run("e1:everyday/nap")
    assert (run.status, run.attempt, run.lost) == ("queued", 1, 0)


def test_what_never_ends_does_not_keep_the_process_alive(processes: Processes, client: Client) -> None:
    """After its grace the runs, of a thread and of a coroutine, are with other workers; the process ends in order."""
    worker = started(processes.worker(APP, "--grace", "0.1"))
    for name in ("stuck", "deaf"):
        client.send_event(Event(name, id=name))
        worker.wait_for_line(f"{name} begins")
    worker.terminate()
    assert worker.wait() == 0
    for name in ("stuck", "deaf"):
        run = client.get_run(f"{name}:everyday/{name}")
        assert (run.status, run.attempt, run.lost) == ("queued", 1, 0)
    assert re.search(r'left behind.*"functions": 2|"functions": 2.*left behind', worker.output)


def test_a_third_signal_ends_a_blocked_process(processes: Processes, client: Client) -> None:
    """It works where nothing else does; the exit code is 1."""
    worker = started(processes.worker(APP))
    client.send_event(Event("block", id="e1"))
    worker.wait_for_line("block begins")

    def has_ended() -> bool:
        worker.terminate()  # again and again: signals of one number that are close together may count as one
        return not worker.is_running

    wait_until(has_ended)
    assert worker.wait() == 1
    assert "third signal" in worker.output


def test_a_server_that_is_not_there_is_said_in_one_line(processes: Processes) -> None:
    """The exit code is 1, and there is no traceback."""
    worker = processes.worker(APP, env={"HEADRACE_URL": "unix:///nonexistent/server.sock"})
    assert worker.wait() == 1
    assert worker.output.startswith("Error: the server can't be reached")
    assert worker.output.count("\n") == 1


def test_a_server_that_can_t_be_worked_with_is_a_wrong_setting(
    make_server: Callable[..., EmbeddedServer], processes: Processes
) -> None:
    """The exit code is 2; an option allows it."""
    url = make_server(extra=["--maxmemory-policy", "allkeys-lru"]).url
    refused = processes.worker(APP, env={"HEADRACE_URL": url})
    allowed = processes.worker(APP, "--allow-eviction", env={"HEADRACE_URL": url})
    assert refused.wait() == 2
    assert refused.output.startswith("Error: the server's maxmemory-policy is allkeys-lru")
    started(allowed).terminate()
    assert allowed.wait() == 0


def test_queues_and_logs_are_as_they_are_asked_for(processes: Processes) -> None:
    """Without a terminal each log line is JSON; the worker takes from the named queues."""
    worker = started(
        processes.worker("tests.apps.queues:app", "--queue", "one", "--queue", "two", "--concurrency", "7")
    )
    worker.terminate()
    assert worker.wait() == 0
    lines = [json.loads(line) for line in worker.output.splitlines()]
    (start,) = (line for line in lines if "worker started" in line.values())
    assert (start["queues"], start["concurrency"], start["app"]) == (["one", "two"], 7, "queues")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--lease", "0.1", "--lease must be 0.3 seconds or more, not 0.1"),
        ("--max-lost", "0", "--max-lost must be a whole number of 1 or more, not 0"),
        ("--failure-retention", "-1", "--failure-retention must be"),
        ("--dedupe", "-1", "--dedupe must be"),
        ("--queue", "a b", "--queue"),
    ],
)
def test_a_wrong_setting_is_named_as_its_option(processes: Processes, option: str, value: str, said: str) -> None:
    """Not as the field of the library."""
    worker = processes.worker(APP, option, value)
    assert worker.wait() == 2
    assert worker.output.startswith(f"Error: {said}")


def test_a_queue_that_no_release_of_the_app_has_is_refused(processes: Processes) -> None:
    """The error says which there are; one that only an earlier release has may still have runs, and is taken."""
    earlier = started(processes.worker("tests.apps.queues:app"))
    refused = processes.worker("tests.apps.queues:fewer", "--queue", "one", "--queue", "thre")
    assert refused.wait() == 2
    assert "app 'queues' has no queue 'thre'; there is one, three, two" in refused.output
    drained = started(processes.worker("tests.apps.queues:fewer", "--queue", "three"))
    for each in (earlier, drained):
        each.terminate()
        assert each.wait() == 0


def test_quiet_and_for_people_is_as_it_is_asked_for(processes: Processes) -> None:
    """From the level that is named, and not as JSON."""
    quiet = processes.worker(APP, "--grace", "0", env={"HEADRACE_LOG_LEVEL": "warning"})
    people = started(processes.worker(APP, "--log-format", "console"))
    people.terminate()
    assert people.wait() == 0
    assert "{" not in people.output.splitlines()[0]
    quiet.terminate()
    quiet.wait()
    assert "worker started" not in quiet.output
