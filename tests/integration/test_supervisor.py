"""Several processes of a worker are kept going as one, and a child's death costs its runs no time."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.keys import Keys
from headrace.partitions import Partitions
from headrace_worker.supervisor import Supervisor, replacement_delay_s
from tests.support.processes import Process, Processes
from tests.support.waiting import await_until, wait_until

APP = "tests.apps.everyday:app"


def lines(process: Process, pattern: str, count: int) -> list[re.Match[str]]:
    """Returns the matches in the output once there are so many."""

    def found() -> list[re.Match[str]]:
        matches = list(re.finditer(pattern, process.output, re.MULTILINE))
        return matches if len(matches) >= count else []

    return wait_until(found, 20, what=f"{count} lines {pattern!r} of {process.name}")


def pids(process: Process, count: int) -> set[int]:
    """Returns the pids of the first workers that started; they stand in their names."""
    found = lines(process, r'"worker": "\S+-(\d+)-\w+", .*"worker started"', count)
    return {int(match[1]) for match in found}


@pytest.fixture
def own_signals() -> Iterator[None]:
    """What a supervisor does to this process's signals ends with the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_a_killed_child_is_replaced_and_its_runs_go_on_at_once(
    processes: Processes, client: Client, redis: redis_py.Redis, tmp_path: Path, namespace: str, victim: str
) -> None:
    """A lease of ten minutes is not waited for, whether the dead child was the leader or another one is."""
    supervisor = processes.worker(APP, "--processes", "2", "--concurrency", "2", "--lease", "600")
    first = pids(supervisor, 2)
    client.send_events([Event("once", str(tmp_path), id=f"e{number}") for number in range(4)])
    begun = {match[1]: int(match[2]) for match in lines(supervisor, r"once (e\d) first in (\d+)", 4)}
    assert set(begun.values()) == first
    leader = int(str(redis.get(Keys(namespace).leader)).split()[0].split("-")[-2])
    pid = leader if victim == "leader" else (first - {leader}).pop()

    os.kill(pid, signal.SIGKILL)
    again = {match[1]: int(match[2]) for match in lines(supervisor, r"once (e\d) again in (\d+)", 2)}
    assert set(again) == {event for event, its_pid in begun.items() if its_pid == pid}
    assert pid not in again.values()
    assert len(pids(supervisor, 3)) == 3
    for event in again:
        run = client.wait_for_event(event, 20).runs[0]
        assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 1)

    supervisor.terminate()
    lines(supervisor, "worker stops", 2)
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert not any(map(is_alive, pids(supervisor, 3)))


def test_a_signal_lets_the_runs_of_all_children_end(processes: Processes, client: Client) -> None:
    """Each child's run succeeds, and the exit code is 0."""
    supervisor = processes.worker(APP, "--processes", "2", "--concurrency", "1")
    pids(supervisor, 2)
    client.send_events([Event("nap", 0.5, id="e1"), Event("nap", 0.5, id="e2")])
    lines(supervisor, "nap .* begins", 2)
    supervisor.interrupt()
    assert supervisor.wait() == 0
    assert [client.get_event(event).runs[0].status for event in ("e1", "e2")] == ["succeeded", "succeeded"]


def test_a_third_signal_ends_children_that_do_not_end(processes: Processes, client: Client) -> None:
    """The exit code says that not all went in order."""
    supervisor = processes.worker(APP, "--processes", "2")
    children = pids(supervisor, 2)
    client.send_event(Event("block", id="e1"))
    lines(supervisor, "block begins", 1)

    def has_ended() -> bool:
        supervisor.terminate()
        return not supervisor.is_running

    wait_until(has_ended)
    assert supervisor.wait() == 1
    assert not any(map(is_alive, children))


def test_children_stop_in_order_when_their_supervisor_is_killed(processes: Processes, client: Client) -> None:
    """They hear of it by themselves, and let their runs end."""
    supervisor = processes.worker(APP, "--processes", "2")
    children = pids(supervisor, 2)
    client.send_event(Event("nap", 0.5, id="e1"))
    lines(supervisor, "nap e1 begins", 1)
    supervisor.kill()
    lines(supervisor, "worker stopped", 2)
    wait_until(lambda: not any(map(is_alive, children)))
    assert client.get_event("e1").runs[0].status == "succeeded"


def test_an_app_that_can_t_be_loaded_is_said_once(processes: Processes) -> None:
    """The first child tries alone; its exit code is the supervisor's."""
    supervisor = processes.worker("no_such_module:app", "--processes", "3")
    assert supervisor.wait() == 2
    assert supervisor.output.count("no module 'no_such_module'") == 1


@pytest.mark.usefixtures("own_signals")
async def test_children_that_die_as_they_start_are_given_up_on(
    url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five tries, with growing waits, then exit code 1."""
    monkeypatch.setattr("headrace_worker.supervisor._FIRST_DELAY_S", 0.01)
    command = [sys.executable, "-ISc", f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit(3)"]
    assert await Supervisor(command, 1, url=url, partitions=Partitions(namespace)).run() == 1
    assert (tmp_path / "starts").read_text() == "xxxxx"


@pytest.mark.usefixtures("own_signals")
async def test_children_that_die_as_they_start_do_not_end_one_that_works(
    url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an outage no replacement can start; it is tried again until one can, and the others wait it through."""
    monkeypatch.setattr("headrace_worker.supervisor._FIRST_DELAY_S", 0.01)
    monkeypatch.setattr("headrace_worker.supervisor._LONGEST_DELAY_S", 0.02)
    starts = tmp_path / "starts"
    code = f"""
import os, signal, time
starts = open({str(starts)!r}, "a+")
starts.write("x")
starts.flush()
starts.seek(0)
if starts.read() != "x":
    raise SystemExit(1)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(int(os.environ["HEADRACE_WORKER_LIFELINE_FD"]), b"started\\n")
while True:
    time.sleep(60)
"""
    running = asyncio.ensure_future(
        Supervisor([sys.executable, "-ISc", code], 2, url=url, partitions=Partitions(namespace)).run()
    )
    await await_until(lambda: running.done() or (starts.exists() and len(starts.read_text()) > 8), 30)
    assert not running.done()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


@pytest.mark.usefixtures("own_signals")
async def test_a_signal_while_the_first_child_starts_is_waited_for(url: str, namespace: str, tmp_path: Path) -> None:
    """The supervisor ends only when the child has, and starts no other."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    code = f"""
import os, signal, time
def end(*_):
    os.close(int(os.environ["HEADRACE_WORKER_LIFELINE_FD"]))  # the child's end of the line closes before its life
    time.sleep(0.3)
    open({str(ended)!r}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
open({str(begun)!r}, "a").write("x")
while True:
    time.sleep(60)
"""
    running = asyncio.ensure_future(
        Supervisor([sys.executable, "-ISc", code], 2, url=url, partitions=Partitions(namespace)).run()
    )
    await await_until(lambda: begun.exists() and begun.read_text() == "x")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert ended.exists()
    assert begun.read_text() == "x"


def test_the_wait_before_a_replacement_grows_with_short_lives() -> None:
    """None after the first death, then doubling, to half a minute."""
    assert [replacement_delay_s(lives) for lives in (0, 1, 2, 3, 4, 8, 9, 10_000)] == [0, 0, 0.5, 1, 2, 30, 30, 30]
