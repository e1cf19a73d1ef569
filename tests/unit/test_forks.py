"""A fork of a worker's process is cut off from its connections, and ends where it comes back."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HEAD = """
import asyncio, os, signal, sys
from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.signals import receive_stop_signals
read_end, write_end = os.pipe()
def child():
    if (pid := os.fork()) == 0:
        return True
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    return False
"""


def output_of(code: str) -> str:
    """Return what a process prints that forks; what it must not print makes it fail."""
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr


def test_a_process_that_is_not_prepared_forks_as_any_other() -> None:
    """Nothing of it is cut off."""
    assert "1\n0\n" in output_of(
        """
if child():
    os.write(write_end, b"x")
    os.write(1, b"%d\\n" % (not fork.is_child))
    os._exit(0)
"""
    )


def test_a_child_writes_to_none_of_its_parent_s_connections() -> None:
    """They are /dev/null in the child, and as before in the parent."""
    assert "0\nb'parent'" in output_of(
        """
fork.prepare(None, write_end)
if child():
    os.write(write_end, b"child")
    os._exit(0)
os.write(write_end, b"parent")
print(os.read(read_end, 100))
"""
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_hears_no_signal_for_its_parent(number: signal.Signals) -> None:
    """It ends by it, as any process that has said nothing about it."""
    assert f"{-number}\n" in output_of(
        f"""
receive_stop_signals(lambda: os.write(1, b"the parent hears it"))
fork.prepare(None)
if child():
    os.kill(os.getpid(), {number})
    os._exit(0)
"""
    )


def test_a_child_that_turns_the_loop_ends() -> None:
    """With exit code 1, and a line that says so; what others were about to do on the loop is not done."""
    found = output_of(
        """
loop = asyncio.new_event_loop()
fork.prepare(loop)
async def main():
    loop.call_soon(os.write, 1, b"done\\n")
    return child()
print(loop.run_until_complete(main()))
loop.run_until_complete(asyncio.sleep(0))
"""
    )
    assert "1\n" in found
    assert found.count("done") == 1
    assert "came back to the worker's code" in found


def test_an_end_says_what_was_raised() -> None:
    """So that a job's author finds it."""
    found = output_of(
        """
fork.prepare(None)
if child():
    try:
        os.execv("/no/such/program", ["x"])
    except OSError as exc:
        fork.end(exc)
"""
    )
    assert "1\n" in found
    assert "FileNotFoundError" in found


def test_an_end_comes_though_nothing_can_be_said() -> None:
    """Standard error may be closed."""
    assert "1\n" in output_of(
        """
fork.prepare(None)
if child():
    os.close(2)
    fork.end(ValueError("wrong"))
"""
    )


def test_what_is_prepared_twice_is_cut_off_as_a_whole() -> None:
    """A process prepares as its parts are made."""
    assert "0\n" in output_of(
        """
other = os.pipe()
fork.prepare(None, write_end)
fork.prepare(asyncio.new_event_loop(), other[1])
if child():
    assert fork.is_child
    os.write(write_end, b"x"), os.write(other[1], b"x")
    os._exit(0)
for end in (read_end, other[0]):
    os.set_blocking(end, False)
    try:
        sys.exit(f"a child wrote {os.read(end, 10)!r}")
    except BlockingIOError:
        pass
"""
    )


def test_this_process_is_no_child() -> None:
    """What is known of forks is the process's own."""
    from headrace_worker.tasks.forks import fork

    assert not fork.is_child
