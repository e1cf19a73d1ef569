"""On a terminal the commands show colours, tables and progress, with rich and without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from tests.apps.everyday import app
from tests.support.processes import Process, Processes
from tests.support.workers import WorkerHost

WEBHOOKS = Path(__file__).parents[1] / "data" / "github-webhooks.ndjson"
RICH = [pytest.param({}, id="rich"), pytest.param({"HEADRACE_TEST_WITHOUT_RICH": "1"}, id="plain")]


def on_a_terminal(processes: Processes, *args: str, **env: str) -> Process:
    """The command has ended well."""
    full_env = {"TERM": "xterm-256color", "COLUMNS": "120", "NO_COLOR": "", **env}
    process = processes.python("-m", "tests.support.terminal", *args, env=full_env, name=args[0])
    assert process.wait() == 0, process.output
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
@pytest.mark.parametrize("env", RICH)
@pytest.mark.parametrize("columns", [20, 80, 200])
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


@pytest.mark.leaves_records
@pytest.mark.parametrize("env", RICH)
def test_a_file_that_is_sent_shows_its_progress(processes: Processes, env: dict[str, str]) -> None:
    """Up to its end; the last line says how many."""
    output = on_a_terminal(processes, "send", "--file", str(WEBHOOKS), **env).output
    assert "Sending" in output
    assert "100%" in output
    assert "\n327 events sent\n" in output.replace("\x1b[2K", "\n")


def test_colours_are_for_terminals_that_have_them(processes: Processes, client: Client) -> None:
    """The state of an event has one."""
    client.send_event(Event("echo", id="e1"), deliver_after=60)
    assert "\x1b[33mdelayed\x1b[0m" in on_a_terminal(processes, "events", "show", "e1").output
    client.cancel_event("e1")
