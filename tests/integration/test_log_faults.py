"""A worker whose log lines can't be written works on, and stops when asked to."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
import structlog

from headrace import Client, Event
from headrace.formats.keys import Keys
from tests.apps.chatty import app
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until
from tests.support.workers import WorkerHost

APP = "tests.apps.chatty:app"

Start = Callable[..., Process]


@pytest.fixture
def start(processes: Processes) -> Start:
    """Start a worker with the streams that a shell gives it: `start("2>&-")`."""

    def started(streams: str, target: str = APP, *options: str) -> Process:
        command = [sys.executable, "-m", "headrace_worker.cli", "worker", target, *options]
        return processes.spawn(["/bin/sh", "-c", f"exec {shlex.join(command)} {streams}"], name="worker")

    return started


class Pipe:
    """A named pipe, with a reader that reads nothing."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.streams = f"2>{path}"
        self._path = path
        self.reads = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def fill(self) -> None:
        """Leave no room in the pipe."""
        _fill(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))

    def close(self) -> None:
        """Have no reader any more."""
        with contextlib.suppress(OSError):
            os.close(self.reads)


class Terminal:
    """A terminal that shows nothing."""

    def __init__(self, _path: Path) -> None:
        self.reads, self._writes = pty.openpty()
        tty.setraw(self._writes)
        self.streams = f"2>{os.ttyname(self._writes)}"

    def fill(self) -> None:
        """Leave no room in the terminal."""
        _fill(os.open(os.ttyname(self._writes), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))

    def close(self) -> None:
        """Hang up."""
        for fd in (self.reads, self._writes):
            with contextlib.suppress(OSError):
                os.close(fd)


def _fill(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 512)
    os.close(fd)


Reader = Pipe | Terminal


@pytest.fixture(params=[Pipe, Terminal])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """Something that reads the log of a worker, or does not."""
    reader: Reader = request.param(tmp_path / "log")
    yield reader
    reader.close()


def outcome(client: Client, name: str, payload: object = None) -> tuple[str, object]:
    """Return the outcome of a new event's run."""
    sent = client.send_event(Event(name, payload))
    (run,) = client.wait_for_event(sent.id, 15).runs
    return run.status, run.output


def stop(worker: Process) -> int:
    """Return the exit code of a worker that was asked to stop."""
    worker.terminate()
    return worker.wait(10)


def test_a_worker_whose_log_has_no_reader_works_on(start: Start, client: Client, reader: Reader) -> None:
    """Also after runs that failed, each of which is a line; and it stops in order."""
    worker = start(reader.streams, APP, "--concurrency", "1")
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    reader.close()
    assert outcome(client, "fail")[0] == "failed"
    assert outcome(client, "log", 5) == ("succeeded", 5)
    assert outcome(client, "echo", 2) == ("succeeded", 2)
    assert stop(worker) == 0


def test_a_worker_whose_log_is_not_read_works_on(start: Start, client: Client, reader: Reader) -> None:
    """Neither its event loop nor its stop waits for the reader; whole lines wait, and lost lines are counted."""
    worker = start(reader.streams)
    assert outcome(client, "log", 100) == ("succeeded", 100)
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    assert stop(worker) == 0


def test_a_log_reader_that_reads_again_sees_how_much_is_missing(start: Start, client: Client, reader: Reader) -> None:
    """Once there is room again, without waiting for another line."""
    worker = start(reader.streams)
    assert outcome(client, "log", 200) == ("succeeded", 200)
    written = b""

    def is_told() -> bool:
        nonlocal written
        with contextlib.suppress(BlockingIOError):
            written += os.read(reader.reads, 65536)
        return b"log lines were lost" in written

    wait_until(is_told, 10, what="the line about lost lines")
    assert stop(worker) == 0


@pytest.mark.parametrize("streams", ["2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_worker_needs_none_of_its_streams(start: Start, client: Client, streams: str) -> None:
    """They may be closed, or full."""
    worker = start(streams)
    assert outcome(client, "fail")[0] == "failed"
    assert outcome(client, "log", 5) == ("succeeded", 5)
    assert stop(worker) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a descriptor leads to")
def test_no_connection_becomes_a_standard_stream(start: Start, client: Client) -> None:
    """Otherwise lines to descriptor 2 would go to the server."""
    worker = start("<&- >&- 2>&-")
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    assert [Path(f"/proc/{worker.pid}/fd/{fd}").readlink() for fd in range(3)] == [Path(os.devnull)] * 3
    assert stop(worker) == 0


def test_a_command_that_ends_does_not_wait_for_a_reader(start: Start, reader: Reader) -> None:
    """Its message is lost; its exit code is right."""
    reader.fill()
    assert start(reader.streams, "tests.apps.chatty:nothing").wait(15) == 2


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_job_can_log_anything(processes: Processes, client: Client, log_format: str) -> None:
    """In each format."""
    worker = processes.worker(APP, "--log-format", log_format)
    assert outcome(client, "show") == ("succeeded", "done")
    worker.wait_for_line("shown")


def test_an_application_whose_processors_raise_loses_lines_only(
    processes: Processes, client: Client, redis: redis_py.Redis
) -> None:
    """Also where the loops say that the server was away."""
    worker = processes.worker("tests.apps.chatty_raises:app")
    assert outcome(client, "fail")[0] == "failed"
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    assert outcome(client, "log", 1) == ("succeeded", 1)
    assert stop(worker) == 0


def test_a_blocking_logger_of_an_app_does_not_stop_its_worker(start: Start, client: Client, reader: Reader) -> None:
    """Headrace's own lines are logged in a thread; the process ends without it."""
    reader.fill()
    worker = start(reader.streams, "tests.apps.chatty_waits:app")
    assert outcome(client, "fail")[0] == "failed"
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    assert stop(worker) == 0


def test_a_fenced_worker_without_a_log_reader_is_renamed(
    start: Start, client: Client, redis: redis_py.Redis, namespace: str, tmp_path: Path
) -> None:
    """And works on under it."""
    pipe, workers = Pipe(tmp_path / "log"), Keys(namespace).workers
    worker = start(pipe.streams, APP, "--lease", "1")
    assert outcome(client, "echo", 1) == ("succeeded", 1)
    pipe.close()
    (name,) = redis.zrange(workers, 0, -1)
    other = start("", APP, "--lease", "1")
    wait_until(lambda: redis.zcard(workers) == 2, 10, what="the other worker")
    worker.pause()
    wait_until(lambda: name not in redis.zrange(workers, 0, -1), 20, what="the end of its lease")
    worker.resume()
    wait_until(lambda: redis.zcard(workers) == 2, 10, what="its new name")
    assert stop(other) == 0
    assert outcome(client, "echo", 2) == ("succeeded", 2)
    assert stop(worker) == 0


async def test_a_settled_run_has_logged_its_lines(host: WorkerHost) -> None:
    """A line of a thread is not logged later, in the next step of an application's test."""
    lines: list[str] = []

    def keep(_logger: Any, _method: str, line: Any) -> Any:
        lines.append(line["event"])
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    await host.settle(app)
    assert lines[-1] == "worker stopped"
