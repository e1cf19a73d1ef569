"""An act on many that a signal ends is in the audit with what it has done, and its cursor does exactly the rest."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis as redis_py

from headrace import Client
from headrace_worker.operate import bulk, pace
from headrace_worker.operate.bulk import Chosen, carry_out, choose
from headrace_worker.terminal import asking
from tests.support.commands import Headrace, Shell
from tests.support.processes import Process, Processes

MANY = 2_000
SLOWLY = ("--rate", "100")
"""So that the signal comes in the middle: the whole act would take 20 s."""
DISCARD = ("dead", "discard", "--reason", "failed", "--yes")
WITH_DEFAULTS = """
import fcntl, os, signal, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests themselves are started under
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from headrace_worker.cli import main
main(prog_name="headrace")
"""


@pytest.fixture
def letters(redis: redis_py.Redis, client: Client) -> list[str]:
    """The ids of many dead letters."""
    pipeline = redis.pipeline(transaction=False)
    for number in range(MANY):
        pipeline.xadd(client.partitions.first.dead, {"run": f"r{number}:shop/pay", "reason": "failed", "error": ""})
    return [each.decode() for each in pipeline.execute()]


def _begun(process: Process) -> Process:
    """Return the process when it has done some."""
    process.wait_for_line(r'"result":"discarded"')
    return process


def _documents(process: Process) -> list[Any]:
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


def _noted(client: Client) -> list[int]:
    return [entry.done for entry in client.list_audit().items]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_act_in_order(
    processes: Processes, client: Client, letters: Sequence[str], number: signal.Signals
) -> None:
    """The exit code is the shell's for the signal; nothing is done twice or left out."""
    act = _begun(processes.python("-c", WITH_DEFAULTS, *DISCARD, *SLOWLY, "--json"))
    os.kill(act.pid, number)
    assert act.wait() == 128 + number
    *done, end = _documents(act)
    assert 0 < len(done) < MANY
    assert (end["done"], end["left"], _noted(client)) == (len(done), MANY - len(done), [len(done)])
    assert len(list(client.iter_dead_letters())) == end["left"]
    cursor = re.findall(r"--cursor (\S+)$", act.output, re.MULTILINE)
    assert cursor == [end["cursor"]]
    rest = processes.cli(*DISCARD, "--rate", "full", "--json", "--cursor", *cursor)
    assert rest.wait() == 0
    *others, last = _documents(rest)
    assert [each["id"] for each in done + others] == list(letters)
    assert (last["cursor"], _noted(client)) == (None, [len(others), len(done)])


def test_nohup_keeps_an_act_going(processes: Processes, letters: Sequence[str]) -> None:
    """A signal that the process was started to ignore stays ignored."""
    ignoring = WITH_DEFAULTS.replace("SIG_DFL", "SIG_IGN")
    act = _begun(processes.python("-c", ignoring, *DISCARD, "--rate", "2000", "--json"))
    os.kill(act.pid, signal.SIGHUP)
    assert act.wait() == 0
    assert _documents(act)[-1]["done"] == len(letters)


@pytest.mark.parametrize("with_rich", [True, False])
def test_what_was_done_on_a_terminal_that_is_gone_is_noted(
    url: str, namespace: str, client: Client, letters: Sequence[str], *, with_rich: bool
) -> None:
    """The kernel sends SIGHUP, and no output can be written any more."""
    main, of_child = pty.openpty()
    without = "" if with_rich else "import sys; sys.modules['rich'] = None"
    command = [sys.executable, "-c", without + WITH_DEFAULTS, *DISCARD, *SLOWLY, "--json"]
    env = {**os.environ, "HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace}
    with subprocess.Popen(
        command, stdin=of_child, stdout=of_child, stderr=of_child, env=env, start_new_session=True
    ) as act:
        os.close(of_child)
        shown = b""
        while b'"result":"discarded"' not in shown:
            shown += os.read(main, 4_096)
        os.close(main)
        assert act.wait(20) == 128 + signal.SIGHUP
    (done,) = _noted(client)
    assert 0 < done < MANY
    assert [letter.id for letter in client.iter_dead_letters()] == list(letters)[: done - 1 : -1]


def test_what_was_done_before_the_reader_went_is_noted(shell: Shell, client: Client, letters: Sequence[str]) -> None:
    """As `head -1` does, which has seen enough."""
    assert shell(f"headrace {' '.join(DISCARD)} --json | head -1").stderr == ""
    (done,) = _noted(client)
    assert 0 < done < MANY
    assert len(list(client.iter_dead_letters())) == len(letters) - done


def test_what_was_done_before_a_second_interrupt_is_noted(
    headrace: Headrace, client: Client, letters: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks the act off; the end and the cursor are printed all the same."""
    monkeypatch.setattr(asking, "carry_out", _interrupted_twice)
    result = headrace(*DISCARD, "--json")
    assert result.exit_code == 130
    end = json.loads(result.stdout.splitlines()[-1])
    assert (end["done"], _noted(client)) == (pace.PORTION, [pace.PORTION])
    assert f"--cursor {end['cursor']}" in result.stderr
    assert len(list(client.iter_dead_letters())) == len(letters) - pace.PORTION


def _interrupted_twice(
    chosen: Chosen, act: Callable[[Sequence[str]], Sequence[Any]], **given: Any
) -> Iterator[bulk.Result]:
    """Carry it out, and interrupt the first portion twice."""

    def act_and_interrupt(portion: Sequence[str]) -> Sequence[Any]:
        act(portion)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one ends it")

    return carry_out(chosen, act_and_interrupt, **given)


def test_an_interrupt_while_it_looks_says_that_nothing_was_done(
    headrace: Headrace, client: Client, letters: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was found by then."""
    monkeypatch.setattr(asking, "choose", _interrupted_at_a_page)
    result = headrace(*DISCARD)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "nothing was done\n")
    assert len(list(client.iter_dead_letters())) == len(letters)


def _interrupted_at_a_page(*args: Any, **given: Any) -> Chosen:
    """Choose, and interrupt that with its first page."""
    return choose(*args, **{**given, "on_page": lambda _: os.kill(os.getpid(), signal.SIGINT)})
