"""Log lines are written to whatever standard error is, without raising and without waiting."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.logs import sinks
from headrace_worker.logs.sinks import FileSink, open_sink
from headrace_worker.logs.writer import LineWriter, Losses, StreamWriter
from tests.support.waiting import wait_until

LINE = "x" * 999 + "\n"


class Reader:
    """The two ends of something that log lines can be written to."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads = reads
        self.writes = writes

    def read_all(self) -> bytes:
        """Return what can be read within a moment after the last that could."""
        data = b""
        while select.select([self.reads], [], [], 0.3)[0]:
            chunk = os.read(self.reads, 65536)
            if not chunk:
                break
            data += chunk
        return data


def _pipe() -> tuple[int, int]:
    return os.pipe()


def _terminal() -> tuple[int, int]:
    reads, writes = pty.openpty()
    tty.setraw(writes)
    return reads, writes


def _stream_socket() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def _packet_socket() -> tuple[int, int]:
    one, other = socket.socketpair(type=socket.SOCK_DGRAM)
    return one.detach(), other.detach()


READERS = [_pipe, _terminal, _stream_socket, _packet_socket]


@pytest.fixture
def open_reader() -> Iterator[Callable[[Callable[[], tuple[int, int]]], Reader]]:
    """Open one of READERS; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(make: Callable[[], tuple[int, int]]) -> Reader:
            reader = Reader(*make())
            for fd in (reader.reads, reader.writes):
                stack.callback(_close, fd)
            return reader

        yield opened


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _form(_level: str, text: str, fields: dict[str, Any]) -> str:
    return f"{text} {fields or ''}\n"


def _writer(fd: int) -> tuple[LineWriter, Losses]:
    losses = Losses()
    return LineWriter(open_sink(fd), _form, losses), losses


def _fill(writer: LineWriter, losses: Losses) -> int:
    """Return how many lines it took until some were lost."""
    for count in range(1, 10_000):
        writer.write(LINE)
        if losses.lines == 10:
            return count
    raise AssertionError("everything was taken")


@pytest.mark.parametrize("make", READERS)
def test_a_line_is_written_at_once(open_reader: Any, make: Any) -> None:
    """As it is, with nothing before or behind it."""
    reader = open_reader(make)
    writer, losses = _writer(reader.writes)
    writer.write("Grüße \ud800\n")
    assert reader.read_all() == "Grüße \\ud800\n".encode()
    assert losses.lines == 0


@pytest.mark.parametrize("make", READERS)
def test_a_reader_that_stands_still_keeps_no_line_waiting(open_reader: Any, make: Any) -> None:
    """Lines are lost and counted; when it reads again it has whole lines, and one that says how many are missing."""
    reader = open_reader(make)
    writer, losses = _writer(reader.writes)
    count = _fill(writer, losses)
    assert not writer.flush(0.05)
    lines = reader.read_all().decode().splitlines(keepends=True)
    assert lines == [LINE] * (count - 10) + ["log lines were lost {'lines': 10}\n"]
    assert writer.flush(5)
    assert (losses.lines, losses.unreported) == (10, 0)
    writer.write("after\n")
    assert reader.read_all() == b"after\n"


@pytest.mark.parametrize("make", READERS)
def test_other_processes_may_still_wait_on_it(open_reader: Any, make: Any) -> None:
    """Whatever is set to write without waiting is the writer's own."""
    reader = open_reader(make)
    writer, _losses = _writer(reader.writes)
    writer.write(LINE)
    assert not fcntl.fcntl(reader.writes, fcntl.F_GETFL) & os.O_NONBLOCK


@pytest.mark.parametrize("make", [_pipe, _terminal, _stream_socket])
def test_a_line_without_a_reader_is_lost(open_reader: Any, make: Any) -> None:
    """And counted; nothing is raised."""
    reader = open_reader(make)
    writer, losses = _writer(reader.writes)
    os.close(reader.reads)
    for _ in range(3):
        writer.write(LINE)
    assert losses.lines == 3
    assert writer.flush(0)


def test_a_closed_descriptor_does_not_matter_later(open_reader: Any) -> None:
    """What gets its number afterwards gets no lines."""
    reader, other = open_reader(_pipe), open_reader(_pipe)
    writer, _losses = _writer(reader.writes)
    os.dup2(other.writes, reader.writes)
    writer.write(LINE)
    assert reader.read_all() == LINE.encode()
    assert other.read_all() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_loses_lines() -> None:
    """And nothing else."""
    with Path("/dev/full").open("wb") as full:
        writer, losses = _writer(full.fileno())
        writer.write(LINE)
        writer.write(LINE)
    assert losses.lines == 2


class _Disk(FileSink):
    """A file on a disk that has room for some bytes."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, waits=False, is_owned=False)
        self.room = 0

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError("no space left on device")
        taken = super().write(data[: self.room])
        self.room -= taken
        return taken


def test_a_line_that_was_cut_is_completed_first(tmp_path: Path) -> None:
    """Before the line that tells how many are missing, and the next."""
    with (tmp_path / "log").open("wb") as file:
        disk, losses = _Disk(file.fileno()), Losses()
        writer = LineWriter(disk, _form, losses)
        disk.room = 5
        writer.write("one two\n")
        writer.write("lost\n")
        writer.write("lost too\n")
        assert writer.flush(0)  # there is nothing to wait for
        disk.room = 1000
        writer.write("three\n")
    assert (tmp_path / "log").read_text() == "one two\nlog lines were lost {'lines': 2}\nthree\n"


def test_lines_go_on_after_an_error(open_reader: Any) -> None:
    """With one that says how many were lost meanwhile, whatever lost them."""
    reader = open_reader(_pipe)
    writer, losses = _writer(reader.writes)
    losses.lines = 4
    writer.write("next\n")
    writer.write("next\n")
    assert reader.read_all() == b"log lines were lost {'lines': 4}\nnext\nnext\n"


@pytest.mark.parametrize("make", [_pipe, _terminal])
def test_where_a_write_has_to_wait_a_thread_waits(open_reader: Any, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """As on a system where a pipe can't be opened again, or one of another user."""
    monkeypatch.setattr(sinks, "_open_again", lambda _fd: None)
    reader = open_reader(make)
    writer, losses = _writer(reader.writes)
    count = _fill(writer, losses)
    started = time.monotonic()
    writer.write_directly("last words")  # they are lost
    assert time.monotonic() - started < 2
    assert not writer.flush(0.05)
    lines = reader.read_all().decode().splitlines(keepends=True)
    assert [line for line in lines if line != "last words \n"] == [LINE] * (count - 10) + [
        "log lines were lost {'lines': 10}\n"
    ]
    assert writer.flush(5)


def test_lines_of_threads_do_not_mix(open_reader: Any) -> None:
    """Each is there once and whole, and those of one thread are in their order."""
    reader = open_reader(_pipe)
    writer, losses = _writer(reader.writes)

    def write(name: int) -> None:
        for number in range(100):
            writer.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(5)
    lines = reader.read_all().decode().splitlines()
    assert losses.lines == 0
    for name in range(4):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {number}" for number in range(100)]


def test_a_forked_process_writes_its_own_lines_only(open_reader: Any) -> None:
    """Neither what waits in its parent, nor is it kept waiting by a lock that the parent held."""
    code = """
import os, sys
from headrace_worker.logs.writer import open_writer, use_writer
form = lambda level, text, fields: text + chr(10)
writer = open_writer(sys.stderr, form)
use_writer(writer)
writer.write("first" + chr(10))
for _ in range(200):
    writer.write("x" * 999 + chr(10))
writer._lock.acquire()
if os.fork() == 0:
    print(len(writer._lines), writer._lock.locked(), flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""
    reader = open_reader(_pipe)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        stderr=reader.writes,
        stdout=subprocess.PIPE,
        timeout=20,
        check=True,
    )
    assert done.stdout == b"0 False\n"


@pytest.mark.parametrize("make", READERS)
def test_last_words_are_written_past_what_waits(open_reader: Any, make: Any) -> None:
    """Bounded, and lost where there is no room; nothing waits."""
    reader = open_reader(make)
    writer, _losses = _writer(reader.writes)
    writer.write_directly("last words")
    assert reader.read_all() == b"last words \n"
    writer, losses = _writer(reader.writes)
    _fill(writer, losses)
    for _ in range(20):
        writer.write_directly("x" * 3000)
    assert losses.lines > 20


def test_last_words_need_no_configuration() -> None:
    """They are cut to what fits into one write, and a process without standard error loses them."""
    code = "from headrace_worker.logs.writer import write_directly; write_directly('x' * 100_000)"
    written = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=True).stderr
    assert written == b"x" * 4000 + b"\n"
    subprocess.run(["sh", "-c", f'exec {sys.executable} -c "{code}" 2>&-'], timeout=20, check=True)


class _Broken:
    def write(self, _line: str) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("stream", [_Broken(), None])
def test_a_stream_of_python_may_raise_anything(stream: Any) -> None:
    """The line is lost."""
    losses = Losses()
    writer = StreamWriter(stream, _form, losses)
    writer.write(LINE)
    assert losses.lines == 1
    assert writer.flush(0)


def test_a_thread_that_writes_what_waits_ends(open_reader: Any) -> None:
    """When nothing waits any more; the next time there is another."""
    reader = open_reader(_pipe)
    writer, losses = _writer(reader.writes)
    for _ in range(2):
        losses.lines = losses.reported = 0
        _fill(writer, losses)
        reader.read_all()
        wait_until(lambda: not writer._has_thread, what="the end of the thread")
