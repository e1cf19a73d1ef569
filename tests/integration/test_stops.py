"""One stop is one stop, however many ways and signals bring it to the processes of a worker."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace import Client, Event
from headrace_worker.process.control_channel import ControlChannel
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

APP = "tests.apps.everyday:app"


def started(supervisor: Process, count: int) -> list[int]:
    """Return the ids of the processes with a worker, once there are so many."""

    def found() -> list[int]:
        pids = [int(pid) for pid in re.findall(r'"worker": "\S+-(\d+)-\w+", .*"worker started"', supervisor.output)]
        return pids if len(pids) == count else []

    return wait_until(found, 20, what=f"{count} workers")


def napping(worker: Process, client: Client, *events: str, seconds: float) -> None:
    """Send these events; return when each has a run that executes."""
    client.send_events([Event("nap", seconds, id=event) for event in events])
    for event in events:
        worker.wait_for_line(f"nap {event} begins")


def signal_all(process: Process, pids: list[int], *numbers: signal.Signals) -> None:
    """Signal these processes and their parent; the parent has all signals at once, even on a slow machine."""
    process.pause()
    for number in numbers:
        for pid in {process.pid, *pids}:
            os.kill(pid, number)
    process.resume()


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], [signal.SIGTERM, signal.SIGHUP], [signal.SIGINT, signal.SIGTERM, signal.SIGTERM]],
    ids=["TERM", "TERM-HUP", "INT-TERM-TERM"],
)
@pytest.mark.parametrize("options", [["--processes", "2", "--concurrency", "1"], []], ids=["two", "one"])
def test_a_stop_of_all_processes_at_once_leaves_runs_their_grace(
    processes: Processes, client: Client, options: list[str], numbers: list[signal.Signals]
) -> None:
    """As systemd and supervisord send it: each run of each child ends by itself."""
    worker = processes.worker(APP, *options)
    pids = started(worker, 2 if options else 1)
    napping(worker, client, "e1", "e2", seconds=1.0)
    signal_all(worker, pids, *numbers)
    assert worker.wait() == 0
    runs = [client.get_event(event).runs[0] for event in ("e1", "e2")]
    assert [(run.status, run.attempt, run.lost) for run in runs] == [("succeeded", 1, 0)] * 2


def test_a_child_is_not_hurried_by_signals_of_its_own(processes: Processes, client: Client) -> None:
    """However late they come: only its supervisor knows what the operator wants."""
    supervisor = processes.worker(APP, "--processes", "2", "--concurrency", "1")
    pids = started(supervisor, 2)
    napping(supervisor, client, "e1", "e2", seconds=3.0)
    supervisor.terminate()
    wait_until(lambda: supervisor.output.count("worker stops") == 2)

    def are_signalled() -> bool:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return True
        return False

    wait_until(are_signalled, 20, interval=0.2, what="the end of a child that is signalled all the time")
    assert supervisor.wait() == 0
    assert [client.get_event(event).runs[0].status for event in ("e1", "e2")] == ["succeeded"] * 2


def test_a_second_wish_hurries_the_children(processes: Processes, client: Client) -> None:
    """Their runs are queued again at once, with nothing counted, and all end in order."""
    supervisor = processes.worker(APP, "--processes", "2", "--concurrency", "1", "--grace", "600")
    started(supervisor, 2)
    napping(supervisor, client, "e1", "e2", seconds=600)
    supervisor.terminate()
    wait_until(lambda: supervisor.output.count("worker stops") == 2)
    supervisor.terminate_again()
    assert supervisor.wait() == 0
    runs = [client.get_event(event).runs[0] for event in ("e1", "e2")]
    assert [(run.status, run.attempt, run.lost) for run in runs] == [("queued", 1, 0)] * 2


def test_a_closed_terminal_stops_a_worker_in_order(processes: Processes, client: Client) -> None:
    """SIGHUP is a stop like another one."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); from headrace_worker.cli import main; main()"
    worker = processes.python("-c", code, "worker", APP)  # whatever the tests themselves are started under
    started(worker, 1)
    napping(worker, client, "e1", seconds=0.5)
    os.kill(worker.pid, signal.SIGHUP)
    assert worker.wait() == 0
    assert client.get_event("e1").runs[0].status == "succeeded"


def test_nohup_keeps_a_worker_going(processes: Processes, client: Client) -> None:
    """It ignores the signals that the process was started to ignore; SIGTERM stops it."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from headrace_worker.cli import main; main()"
    worker = processes.python("-c", code, "worker", APP)
    started(worker, 1)
    os.kill(worker.pid, signal.SIGHUP)
    client.send_event(Event("echo", id="e1"))
    assert client.wait_for_event("e1", 20).runs[0].status == "succeeded"
    worker.terminate()
    assert worker.wait() == 0


def test_dev_is_stopped_as_a_whole_and_its_run_ends(processes: Processes, tmp_path: Path) -> None:
    """A signal to it and to its worker at once is one stop."""
    folders = ("--data-dir", str(tmp_path / "data"), "--watch", str(tmp_path))
    dev = processes.cli("dev", APP, *folders, "--grace", "20", "--log-format", "json")
    (pid,) = started(dev, 1)
    url = dev.wait_for_line(r"export HEADRACE_URL=(\S+)")[1]
    namespace = dev.wait_for_line(r"export HEADRACE_NAMESPACE=(\S+)")[1]
    with Client(url, namespace=namespace) as client:
        napping(dev, client, "e1", seconds=1.0)
        signal_all(dev, [pid], signal.SIGTERM, signal.SIGHUP)
        assert dev.wait(30) == 0
    assert "nap e1 ends" in dev.output
    assert "grace is over" not in dev.output


@pytest.fixture
def terms() -> Iterator[list[int]]:
    """The SIGTERMs that this process has had."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_a_child_obeys_its_parent(terms: list[int]) -> None:
    """During its start "stop" is a signal; after it, a call. Unknown words are ignored."""
    ours, theirs = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    channel.listen()
    ours.sendall(b"something else\nst")
    ours.sendall(b"op\n")
    wait_until(lambda: len(terms) == 1)
    told: list[str] = []
    channel.obey_with(lambda: told.append("stop"), lambda: told.append("hurry"))
    ours.sendall(b"stop\nhurry\n")
    wait_until(lambda: told == ["stop", "hurry"])
    ours.close()
    wait_until(lambda: told == ["stop", "hurry", "stop"])
    assert len(terms) == 1
    channel._socket.close()


def test_a_child_that_was_hurried_as_it_started_hurries(terms: list[int]) -> None:
    """A child without its parent has received SIGTERM by then."""
    ours, theirs = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    channel.listen()
    ours.sendall(b"hurry\n")
    ours.close()
    wait_until(lambda: len(terms) == 1)
    told: list[str] = []
    channel.obey_with(lambda: told.append("stop"), lambda: told.append("hurry"))
    assert told == ["hurry"]
    channel._socket.close()
