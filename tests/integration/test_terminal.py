"""On a terminal the commands show colours, tables and progress, with rich and without it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from pathlib import Path

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from tests.apps.everyday import app
from tests.support.commands import COMMAND, Shell
from tests.support.processes import Process, Processes
from tests.support.workers import WorkerHost

WEBHOOKS = Path(__file__).parents[1] / "data" / "github-webhooks.ndjson"
DUMB = [pytest.param({"TERM": name}, id=name) for name in ("dumb", "unknown")]
RICH = [pytest.param({}, id="rich"), pytest.param({"HEADRACE_TEST_WITHOUT_RICH": "1"}, id="plain")]


def on_a_terminal(processes: Processes, *args: str, **env: str) -> Process:
    """The command has ended well."""
    process = ended_on_a_terminal(processes, *args, **env)
    assert process.returncode == 0, process.output
    return process


def ended_on_a_terminal(processes: Processes, *args: str, **env: str) -> Process:
    """The command has ended."""
    full_env = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "", "NO_COLOR": "", **env}
    process = processes.python("-m", "tests.support.terminal", *args, env=full_env, name=args[0])
    process.wait()
    return process


@pytest.mark.parametrize("env", RICH)
async def test_a_table_is_the_same_with_rich_and_without(
    processes: Processes, client: Client, host: WorkerHost, env: dict[str, str]
) -> None:
    """One line a run; no event can colour the terminal or end a line."""
    client.send_event(Event("echo", id="e[red]1\x1b[31m\n"))
    await host.settle(app)
    output = on_a_terminal(processes, "runs", "list", **env).output
    assert "\x1b[31m" not in output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert re.search(r"^RUN +EVENT +STATUS +ATTEMPT +STARTED +FINISHED +ERROR *$", plain, re.MULTILINE)
    run_id = r"e\[red\]1\\x1b\[31m\\n:everyday/echo"
    assert re.search(rf"^{run_id} +echo +succeeded +1 +\S+Z +\S+Z +- *$", plain, re.MULTILINE)


@pytest.mark.leaves_records
@pytest.mark.parametrize("env", [*RICH, *DUMB])
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_may_be_copied_is_whole_at_any_width(
    processes: Processes, client: Client, redis: redis_py.Redis, keys: Keys, env: dict[str, str], columns: int
) -> None:
    """An id and a time in one line each, also where a terminal has no room for them; errors give way."""
    event = "01K9ZJ3Q6W8C4N5V7B2M1X0YTR with a blank"
    redis.xadd(keys.dead, {"run": f"{event}:everyday/echo", "reason": "failed", "error": "not as it is stored"})
    (letter,) = client.list_dead_letters().items
    output = on_a_terminal(processes, "dead", "list", **env, COLUMNS=str(columns)).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    first = next(line for line in plain.splitlines() if line.startswith(letter.id))
    assert re.match(rf"{letter.id} +\S+Z +failed +{event}:everyday/echo +{letter.error[:10]}", first)
    words = letter.error.split()
    assert plain.split()[-len(words) :] == words


def on_the_screen(output: str) -> list[str]:
    """Return the lines that a terminal shows of what was written to it: a carriage return goes back to their begin."""
    lines = []
    for line in output.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.leaves_records
@pytest.mark.parametrize("env", [*RICH, *DUMB])
async def test_how_far_an_act_is_stands_apart_from_its_lines(
    processes: Processes, client: Client, host: WorkerHost, env: dict[str, str]
) -> None:
    """Output and errors have their lines for themselves, and nothing of it is left at the end."""
    client.send_events([Event("fail", id=f"e\x07{number}") for number in range(30)])
    await host.settle(app)
    letters = [letter.id for letter in client.list_dead_letters(limit=100).items]
    client.discard_dead_letters(letters[:1])
    retry = ended_on_a_terminal(processes, "dead", "retry", *letters, **env)
    assert retry.returncode == 1
    output = retry.written
    assert "dead retry  [" in output
    *lines, error, end = [line for line in on_the_screen(output) if "queued" not in line]
    assert "\x07" not in output
    assert (lines, end) == ([], "")
    assert letters[0] in error
    queued = [line for line in on_the_screen(output) if "queued" in line]
    assert sorted(queued) == sorted(rf"e\x07{number}:everyday/fail queued" for number in range(29))


@pytest.mark.parametrize("env", DUMB)
def test_top_is_printed_once_where_a_screen_can_not_be_cleared(processes: Processes, env: dict[str, str]) -> None:
    """It ends by itself then."""
    output = on_a_terminal(processes, "top", **env).output
    assert "JOB, LAST HOUR  SUCCEEDED" in output
    assert "\x1b" not in output


@pytest.mark.leaves_records
def test_an_act_says_how_far_it_has_looked(processes: Processes, redis: redis_py.Redis, keys: Keys) -> None:
    """Also where a filter finds nothing."""
    for number in range(1_200):
        redis.xadd(keys.dead, {"run": f"e{number}:everyday/echo", "reason": "failed"})
    output = on_a_terminal(processes, "dead", "discard", "--reason", "lost", "--dry-run").written
    assert "dead discard: looked through 1,200\r" in output
    assert "0 dead letters; nothing was done" in output


@pytest.mark.leaves_records
def test_a_file_that_is_sent_shows_its_progress(processes: Processes) -> None:
    """Up to its end; the last line says how many."""
    output = on_a_terminal(processes, "send", "--file", str(WEBHOOKS)).written
    assert "Sending  [" in output
    assert "100%" in output
    assert on_the_screen(output)[0] == "327 events sent"


def test_colours_are_for_terminals_that_have_them(processes: Processes, client: Client) -> None:
    """The state of an event has one."""
    client.send_event(Event("echo", id="e1"), deliver_after=60)
    assert "\x1b[33mdelayed\x1b[0m" in on_a_terminal(processes, "events", "show", "e1").output
    client.cancel_event("e1")


@pytest.mark.parametrize("env", [*DUMB, pytest.param({"TERM": "xterm-256color", "NO_COLOR": "1"}, id="NO_COLOR")])
def test_no_colours_are_printed_if_none_are_wanted(processes: Processes, client: Client, env: dict[str, str]) -> None:
    """Neither by rich nor without it; a dumb terminal would show their codes."""
    client.send_event(Event("echo", id="e1"), deliver_after=60)
    for args in (("events", "show", "e1"), ("delayed", "list"), ("doctor",)):
        shown = processes.python("-m", "tests.support.terminal", *args, env=env)
        shown.wait()
        assert shown.output
        assert not re.search(r"\x1b\[3\dm", shown.output)
    client.cancel_event("e1")


async def test_a_narrow_terminal_gets_a_line_for_each_value(
    processes: Processes, client: Client, host: WorkerHost
) -> None:
    """An id is whole there, where a table would break it every few characters."""
    client.send_event(Event("echo", id="01K9ZJ3Q6W8C4N5V7B2M1X0YTR"))
    await host.settle(app)
    lines = on_a_terminal(processes, "runs", "list", COLUMNS="40", NO_COLOR="1").output.splitlines()
    assert lines[0] == "run       01K9ZJ3Q6W8C4N5V7B2M1X0YTR:everyday/echo"
    assert "status    succeeded" in lines


def test_ids_are_whole_where_no_terminal_is(shell: Shell, client: Client) -> None:
    """However narrow the terminal is said to be."""
    name = "x" * 200
    client.send_event(Event("echo", id=name), deliver_after=60)
    assert name in shell("headrace events list | cat", COLUMNS="40").stdout
    client.cancel_event(name)


@pytest.mark.parametrize(("key", "exit_code"), [("\x03", 130), ("\x04", 2), ("n\n", 2)], ids=["Ctrl-C", "Ctrl-D", "no"])
def test_a_question_without_a_yes_does_nothing(
    url: str, namespace: str, client: Client, key: str, exit_code: int
) -> None:
    """Interrupted, without an answer, or answered with no: the last line says so, and the exit code why."""
    client.send_event(Event("later", id="e1"), deliver_after=60)
    assert _answered(["events", "cancel", "--all", "--url", url, "--namespace", namespace], key) == exit_code
    assert client.get_event("e1").status == "delayed"
    client.cancel_event("e1")


def _answered(args: list[str], key: str) -> int:
    """Return the exit code of a command whose question is answered with a key; its last line must say what was done."""
    import pty

    main, of_child = pty.openpty()
    process = subprocess.Popen([*COMMAND.split(), *args], stdin=of_child, stdout=of_child, stderr=of_child)
    try:
        seen = b""
        while b"[y/N]: " not in seen:
            seen += os.read(main, 4_096)
        while process.poll() is None:
            if select.select([main], [], [], 1.0)[0]:
                seen += os.read(main, 4_096)
            elif key == "\x03":  # the terminal is not the process's own, so it does not make a signal of the key
                process.send_signal(signal.SIGINT)
                process.wait()
            else:  # again where it came while the terminal's mode was changed, which loses it
                os.write(main, key.encode())
        while select.select([main], [], [], 0)[0]:
            seen += os.read(main, 4_096)
    finally:
        process.kill()
        code = process.wait()
        os.close(of_child)
    os.close(main)
    assert b"nothing was done" in seen
    return code
