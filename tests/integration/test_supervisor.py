"""A supervisor keeps several worker processes running, and a child's death delays its runs by no lease."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace_worker.process import log_setup
from headrace_worker.process.supervisor import Hooks, Supervisor, replacement_delay_s
from headrace_worker.tasks.signals import SAME_WISH_S, STOP_SIGNALS
from tests.support.processes import Process, Processes
from tests.support.waiting import await_until, wait_until

APP = "tests.apps.everyday:app"


def lines(process: Process, pattern: str, count: int) -> list[re.Match[str]]:
    """Return the matches in the output once there are so many."""

    def found() -> list[re.Match[str]]:
        matches = list(re.finditer(pattern, process.output, re.MULTILINE))
        return matches if len(matches) >= count else []

    return wait_until(found, 20, what=f"{count} lines {pattern!r} of {process.name}")


def pids(process: Process, count: int) -> set[int]:
    """Return the pids of the first workers that started; they stand in their names."""
    found = lines(process, r'"worker": "\S+-(\d+)-\w+", .*"worker started"', count)
    return {int(match[1]) for match in found}


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
    supervisor.terminate_again()
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


def test_a_line_of_a_run_names_its_worker(processes: Processes, client: Client) -> None:
    """Several workers write to one log; the name is that of the run's record."""
    supervisor = processes.worker(APP, "--processes", "2", "--log-format", "json")
    pids(supervisor, 2)
    sent = client.send_event(Event("fail", "on purpose"))
    (run,) = client.wait_for_event(sent.id, 20).runs
    (line,) = lines(supervisor, r"^.*run failed.*$", 1)
    assert (found := json.loads(line[0]))["run"] == run.id
    assert found["worker"] == run.worker
    supervisor.terminate()
    assert supervisor.wait() == 0


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
    """They notice it by themselves, and let their runs end."""
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


class _Fake:
    """A command of processes that run this code, and note their starts in a file."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.program = folder / "program"
        self.program.symlink_to(sys.executable)
        self._starts = folder / "starts"
        self._url = url
        self._partitions = Partitions(namespace)

    def supervisor(self, processes: int, code: str, hooks: Hooks | None = None, url: str | None = None) -> Supervisor:
        """Return one whose processes note their start and then run this code; `number` is that of the start."""
        command = [str(self.program), "-ISc", _NOTE.format(starts=str(self._starts)) + code]
        return Supervisor(command, processes, url=url or self._url, partitions=self._partitions, hooks=hooks)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that have started, in their order."""
        return list(map(int, self._starts.read_text().split())) if self._starts.exists() else []

    @asynccontextmanager
    async def running(self, supervisor: Supervisor, *, exit_code: int = 0) -> AsyncIterator[asyncio.Future[int]]:
        """The supervisor runs; at the end it is stopped by a signal, and ends with this code."""
        running = asyncio.ensure_future(supervisor.run())
        try:
            yield running
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            ended_with = await running
        assert ended_with == exit_code


_NOTE = """
import os, signal, time
with open({starts!r}, "a+") as starts:
    print(os.getpid(), file=starts, flush=True)
    starts.seek(0)
    number = starts.read().split().index(str(os.getpid())) + 1
"""
_WORK = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(int(os.environ["HEADRACE_WORKER_CONTROL_FD"]), b"started\\n")
while True:
    time.sleep(60)
"""


@pytest.fixture
def fake(tmp_path: Path, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Fake]:
    """Give its supervisors short pauses, and restore this process's signals at the end of the test."""
    monkeypatch.setattr("headrace_worker.process.supervisor._FIRST_DELAY_S", 0.01)
    monkeypatch.setattr("headrace_worker.process.supervisor._LONGEST_DELAY_S", 0.02)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield _Fake(tmp_path, url, namespace)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("starts", "why"), [(5, "exit code 3"), (0, "No such file or directory")])
async def test_children_that_never_start_are_given_up_on(
    fake: _Fake, starts: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five tries, with growing waits, then exit code 1; also where there is nothing to execute."""
    log_setup.configure("json")
    if not starts:
        fake.program.unlink()
    assert await fake.supervisor(1, "os._exit(3)").run() == 1
    assert len(fake.pids) == starts
    said = capsys.readouterr().err
    assert said.count("giving up") == 1
    assert why in said


async def test_children_that_die_at_start_end_no_working_child(fake: _Fake) -> None:
    """In an outage no replacement can start; the supervisor tries again, and the other children wait."""
    async with fake.running(fake.supervisor(2, f"if number > 1: os._exit(1)\n{_WORK}")) as running:
        await await_until(lambda: running.done() or len(fake.pids) > 8, 30)
        assert not running.done()


async def test_a_program_that_is_away_for_a_moment_ends_no_other_child(
    fake: _Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    """A child that died is replaced once its program is there again."""
    log_setup.configure("json")
    async with fake.running(fake.supervisor(2, _WORK)) as running:
        await await_until(lambda: len(fake.pids) == 2, 30)
        away = fake.program.rename(fake.program.with_suffix(".away"))
        os.kill(fake.pids[0], signal.SIGKILL)
        await await_until(lambda: "can't be started yet" in capsys.readouterr().err, 30)
        assert not running.done()
        away.rename(fake.program)
        await await_until(lambda: len(fake.pids) == 3, 30)
        assert all(map(is_alive, fake.pids[1:]))


async def test_exit_code_2_ends_the_supervisor_only_before_a_start(fake: _Fake) -> None:
    """A job may end its process with it, and a module may be half copied for a moment."""
    code = f"if 1 < number < 5: os._exit(2)\n{_WORK}"
    async with fake.running(fake.supervisor(2, code)) as running:
        await await_until(lambda: running.done() or len(fake.pids) == 5, 30)
        assert not running.done()
        assert is_alive(fake.pids[0])


async def test_what_is_done_beside_the_children_can_fail(fake: _Fake) -> None:
    """Dead children are replaced despite broken metrics and a server that is away."""

    class Broken:
        env: Mapping[str, str] = {}

        def before_start(self) -> None:
            raise OSError("no folder")

        def after_end(self, pid: int) -> None:
            raise ValueError(pid)

    supervisor = fake.supervisor(2, _WORK, Broken(), url="unix:///nonexistent/server.sock")
    async with fake.running(supervisor):
        await await_until(lambda: len(fake.pids) == 2, 30)
        os.kill(fake.pids[1], signal.SIGKILL)
        await await_until(lambda: len(fake.pids) == 3, 30)
        assert is_alive(fake.pids[0])


async def test_a_hanging_first_child_does_not_stop_the_others(
    fake: _Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, rarely; the child is stopped like the others."""
    monkeypatch.setattr("headrace_worker.process.supervisor._LONG_START_S", 0.05)
    monkeypatch.setattr("headrace_worker.process.supervisor._FIRST_ALONE_S", 0.5)
    log_setup.configure("json")
    said = ""

    def has_said() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return said.count("has not started yet") >= 2

    async with fake.running(fake.supervisor(3, f"if number == 1: time.sleep(600)\n{_WORK}")):
        await await_until(has_said, 30)
        await await_until(lambda: len(fake.pids) == 3, 30)
    assert not any(map(is_alive, fake.pids))


async def test_a_signal_while_the_first_child_starts_is_waited_for(fake: _Fake, tmp_path: Path) -> None:
    """The supervisor ends only when the child has, and starts no other."""
    ended = tmp_path / "ended"
    code = f"""
def end(*_):
    os.close(int(os.environ["HEADRACE_WORKER_CONTROL_FD"]))  # the child's end of the channel closes before its life
    time.sleep(0.3)
    open({str(ended)!r}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
open({str(tmp_path / "ready")!r}, "w").close()
while True:
    time.sleep(60)
"""
    async with fake.running(fake.supervisor(2, code)):
        await await_until((tmp_path / "ready").exists)
    assert ended.exists()
    assert len(fake.pids) == 1


async def test_children_receive_the_stops_of_the_operator(fake: _Fake, tmp_path: Path) -> None:
    """Signals at the same time are one stop; later ones hurry, then kill."""
    heard = tmp_path / "heard"
    code = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
line = int(os.environ["HEADRACE_WORKER_CONTROL_FD"])
os.write(line, b"started\\n")
open({str(heard)!r}, "w").close()
while True:
    said = os.read(line, 100)
    with open({str(heard)!r}, "ab") as file:
        file.write(said)
"""

    def has_heard(words: str) -> bool:
        return heard.exists() and heard.read_text() == words

    async with fake.running(fake.supervisor(1, code), exit_code=1):
        await await_until(functools.partial(has_heard, ""), 30)
        for expected in ("stop\n", "stop\nhurry\n"):
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            for number in STOP_SIGNALS:
                os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # all at once, however slow the machine is
            await await_until(functools.partial(has_heard, expected), 30)
            await asyncio.sleep(SAME_WISH_S)
    assert heard.read_text() == "stop\nhurry\n"


def test_the_wait_before_a_replacement_grows_with_short_lives() -> None:
    """None after the first death, then doubling, to half a minute."""
    assert [replacement_delay_s(lives) for lives in (0, 1, 2, 3, 4, 8, 9, 10_000)] == [0, 0, 0.5, 1, 2, 30, 30, 30]
