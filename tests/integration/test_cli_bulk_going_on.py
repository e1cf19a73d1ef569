"""A command on many that was interrupted, or reached --max, goes on: with each of the rest once, and nothing newer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import Result

from headrace import Client, Event
from headrace_worker import App
from headrace_worker.logs.logger import flush
from headrace_worker.operate import bulk, pace
from headrace_worker.operate.bulk import Chosen, Rest, Stretch, Times, carry_out, digest
from headrace_worker.operate.open_runs import OpenRuns
from headrace_worker.terminal import asking
from headrace_worker.terminal.output import shown
from tests.apps.everyday import app
from tests.support.commands import Headrace, fails
from tests.support.waiting import await_until, wait_until
from tests.support.workers import WorkerHost

Settle = Callable[[], Any]
MANY = 7


class _Ground:
    """Has some to act on, and lets more come."""

    def __init__(self, client: Client, settle: Settle, host: WorkerHost) -> None:
        self._client, self._settle, self._host = client, settle, host

    async def fail(self, names: Sequence[str]) -> list[str]:
        """Let runs fail, and those that were queued before."""
        for name in names:
            self._client.send_event(Event("fail", "no", id=name))
        await self._settle()
        return [f"{name}:everyday/fail" for name in names]

    async def fail_twice(self, names: Sequence[str]) -> list[str]:
        """Let runs fail, and two of them once more: the list names these in two places."""
        runs = await self.fail(names)
        self._client.retry_runs(runs[2:4])
        await self._settle()
        return runs

    async def deliver(self, names: Sequence[str]) -> list[str]:
        """Let events be delivered."""
        await self.fail(names)
        return list(names)

    async def die(self, names: Sequence[str]) -> list[str]:
        """Let runs become dead letters."""
        runs = await self.fail(names)
        return [letter.id for letter in self._client.iter_dead_letters() if letter.run_id in runs]

    async def delay(self, names: Sequence[str]) -> list[str]:
        """Delay events."""
        self._client.send_events([Event("later", id=name) for name in names], deliver_after=3_600)
        return list(names)

    async def queue(self, names: Sequence[str]) -> list[str]:
        """Let runs wait in a queue without workers."""
        if "r0" in names:
            await self._host.settle(app)  # so that its subscriptions are known
        for name in names:
            self._client.send_event(Event("echo", id=name))
        async with self._host.working(App("other", dispatch_only=True)):
            await await_until(lambda: all(self._client.get_event(each).status == "dispatched" for each in names))
        await asyncio.to_thread(flush, 5.0)
        return [f"{name}:everyday/echo" for name in names]


CASES: list[tuple[tuple[str, ...], Callable[[_Ground, Sequence[str]], Awaitable[list[str]]]]] = [
    (("events", "replay", "--name", "fail", "--yes"), _Ground.deliver),
    (("runs", "retry", "--job", "everyday/fail", "--yes"), _Ground.fail_twice),
    (("runs", "retry", "--event-name", "fail", "--yes"), _Ground.fail),
    (("dead", "retry", "--job", "everyday/fail", "--yes"), _Ground.die),
    (("dead", "discard", "--job", "everyday/fail", "--yes"), _Ground.die),
    (("events", "cancel", "--name", "later", "--yes"), _Ground.delay),
    (("runs", "cancel", "--job", "everyday/echo", "--yes"), _Ground.queue),
    (("queues", "purge", "everyday/default", "--yes=everyday/default"), _Ground.queue),
]


@pytest.mark.parametrize("most", ["3", "100"])
@pytest.mark.parametrize(("command", "make"), CASES, ids=[" ".join(command[:3]) for command, _ in CASES])
async def test_each_is_done_once(  # noqa: PLR0917 - fixtures, and the case
    headrace: Headrace,
    client: Client,
    settle: Settle,
    host: WorkerHost,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    make: Callable[[_Ground, Sequence[str]], Awaitable[list[str]]],
    most: str,
) -> None:
    """Whatever comes meanwhile, also of what was done and failed again, is not touched; each portion is interrupted."""
    ground = _Ground(client, settle, host)
    chosen = await make(ground, [f"r{number}" for number in range(MANY)])
    monkeypatch.setattr(pace, "PORTION", 2)
    monkeypatch.setattr(bulk, "_PAGE", 3)
    monkeypatch.setattr(asking, "carry_out", _interrupted)

    def given(*cursor: str) -> Result:
        return headrace(*command, "--max", most, "--json", *cursor)

    lines = [line async for line in _all_lines(given, lambda number: make(ground, [f"new{number}"]))]
    assert all(line["ok"] for line in lines)
    assert sorted(line["id"] for line in lines) == sorted(chosen)
    assert sum(entry.done for entry in client.list_audit().items) == MANY
    if command[1] == "replay" and most == "100":
        assert [line["id"] for line in lines] == chosen, "the oldest first"
        assert [client.get_event(f"{each}~r1").replay_of for each in chosen] == chosen
    for event in client.iter_events(state="delayed"):
        client.cancel_event(event.id)
    await settle()


async def _all_lines(
    give: Callable[..., Result], let_come: Callable[[int], Awaitable[object]]
) -> AsyncIterator[dict[str, Any]]:
    """Give a command, and with its cursor again until nothing is left, while more come; yield the lines of ids."""
    cursor: list[str] = []
    for number in range(2 * MANY):
        result = give(*cursor)
        *lines, end = map(json.loads, result.stdout.splitlines())
        for line in lines:
            yield line
        if end["cursor"] is None:
            assert result.exit_code == 0
            return
        assert f"--cursor {end['cursor']}" in result.stderr
        cursor = ["--cursor", end["cursor"]]
        await let_come(number)
    pytest.fail("it never ends")


def _interrupted(chosen: Chosen, act: Callable[[Sequence[str]], Sequence[Any]], **given: Any) -> Iterator[bulk.Result]:
    """Carry it out, and interrupt each portion."""

    def act_and_interrupt(portion: Sequence[str]) -> Sequence[Any]:
        found = act(portion)
        os.kill(os.getpid(), signal.SIGINT)
        return found

    return carry_out(chosen, act_and_interrupt, **given)


async def test_an_interrupt_has_its_exit_code(
    headrace: Headrace, client: Client, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """130, and the line says how to go on; where IDs were named, behind which of them."""
    client.send_events([Event("later", id=f"l{number}") for number in range(3)], deliver_after=3_600)
    monkeypatch.setattr(pace, "PORTION", 2)
    monkeypatch.setattr(asking, "carry_out", _interrupted)
    first = headrace("events", "cancel", "l0", "l1", "l2")
    assert (first.exit_code, first.stdout) == (130, "l0 canceled\nl1 canceled\n")
    assert first.stderr.splitlines() == [
        "events cancel: 2 done, 0 failed, 1 left", "give those behind the first 2 IDs again",
    ]  # fmt: skip
    assert headrace("events", "cancel", "--name", "later", "--yes").exit_code == 0
    await settle()


def test_a_cursor_is_for_its_command(headrace: Headrace, client: Client) -> None:
    """Another one refuses it, as each refuses what is none, and one beside IDs."""
    client.send_events([Event("later", id=f"l{number}") for number in range(3)], deliver_after=3_600)
    first = headrace("events", "cancel", "--name", "later", "--max", "1", "--yes", "--json")
    cursor = json.loads(first.stdout.splitlines()[-1])["cursor"]
    other = headrace("dead", "discard", "--reason", "failed", "--cursor", cursor)
    assert other.exit_code == 2
    assert "goes on with `events cancel`" in other.stderr
    assert headrace("events", "cancel", "--name", "later", "--cursor", "l1").exit_code == 2
    assert headrace("events", "cancel", "l1", "--cursor", cursor).exit_code == 2
    assert client.get_event("l1").status == "delayed"
    rest = headrace("events", "cancel", "--name", "later", "--cursor", cursor, "--yes")
    assert rest.stdout == "l1 canceled\nl2 canceled\n"


async def test_runs_that_begin_in_freed_slots_are_left(headrace: Headrace, client: Client, host: WorkerHost) -> None:
    """A worker takes the next runs when its first are canceled; a cursor does not go on with those."""

    def executing() -> list[str]:
        return [run.id for run in client.list_runs(status="executing").items]

    async with host.working(app, concurrency=2):
        client.send_events([Event("nap", 60, id=f"n{number}") for number in range(3)])
        await await_until(lambda: len(executing()) == 2)
        first = executing()
        command = ("runs", "cancel", "--status", "executing", "--yes", "--json")
        done, end = map(json.loads, headrace(*command, "--max", "1").stdout.splitlines())
        await await_until(lambda: len(set(executing()) - {done["id"]}) == 2)
        (later,) = set(executing()) - set(first)
        await await_until(lambda: client.get_run(later).started_at)  # its record says so a little later
        *lines, end = map(json.loads, headrace(*command, "--cursor", end["cursor"]).stdout.splitlines())
        assert sorted([done["id"], *(line["id"] for line in lines)]) == sorted(first)
        assert end["cursor"] is None
        assert client.cancel_run(later).answer == "asked", "it was let go on"


async def test_runs_that_grow_old_enough_later_are_left(client: Client, host: WorkerHost) -> None:
    """For how long a run has been executing counts from the first command."""
    async with host.working(app):
        before = client.server_time()
        client.send_event(Event("nap", 60, id="n"))
        await await_until(lambda: client.list_runs(status="executing").items)
        seen_at = client.server_time()
        age_s = (seen_at - before).total_seconds() + 0.1
        await await_until(lambda: client.list_runs(status="executing", older_than=age_s).items)
        await await_until(lambda: client.get_run("n:everyday/nap").started_at)  # its record says so a little later
        runs = OpenRuns(client, ["executing"], {"older_than": age_s})
        assert runs.read(Times(seen_at), None, 10).items == []
        later = runs.read(Times(client.server_time()), None, 10).items
        assert [run.id for run in later] == ["n:everyday/nap"]
        client.cancel_run("n:everyday/nap")


CHANGED = [
    (("events", "cancel", "--name", "later"), ("events", "cancel", "--name", "other")),
    (("events", "cancel", "--name", "later"), ("events", "cancel", "--name", "later", "--account", "a")),
    (("events", "cancel", "--name", "later"), ("events", "cancel", "--name", "later", "--since", "1h")),
    (("events", "cancel", "--name", "later"), ("events", "cancel", "--name", "later", "--runs")),
    (("events", "cancel", "--name", "later"), ("events", "cancel", "--all")),
]


@pytest.mark.parametrize(("first", "other"), CHANGED, ids=[" ".join(each) for _, each in CHANGED])
def test_a_cursor_is_for_its_filters(
    headrace: Headrace, client: Client, first: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """Others are refused; how fast, how many, why and the time that 1h names may differ."""
    client.send_events([Event("later", id=f"l{number}") for number in range(3)], deliver_after=3_600)
    cursor = json.loads(headrace(*first, "--max", "1", "--yes", "--json").stdout.splitlines()[-1])["cursor"]
    refused = headrace(*other, "--cursor", cursor, "--yes")
    fails(refused, 2, "this cursor goes on with other filters: give those of its first command")
    assert client.get_event("l1").status == "delayed"
    rest = headrace(*first, "--cursor", cursor, "--yes", "--rate", "full", "--reason", "late", "--max", "9")
    assert rest.stdout == "l1 canceled\nl2 canceled\n"


def test_a_cursor_names_the_time_of_its_first_command(headrace: Headrace, client: Client) -> None:
    """1h before the second one is another moment, and the same filter."""
    client.send_events([Event("later", id=f"l{number}") for number in range(3)], deliver_after=3_600)
    command = ("events", "cancel", "--since", "1h", "--yes")
    cursor = json.loads(headrace(*command, "--max", "1", "--json").stdout.splitlines()[-1])["cursor"]
    assert headrace(*command, "--cursor", cursor).stdout == "l1 canceled\nl0 canceled\n"


def test_the_audit_has_the_times_that_were_used(headrace: Headrace, client: Client) -> None:
    """And so has the question: those of the first command, also where a later one goes on with its cursor."""
    client.send_events([Event("later", id=f"l{number}") for number in range(2)], deliver_after=3_600)
    command = ("events", "cancel", "--since", "1h", "--until", "0s", "--name", "later")
    cursor = json.loads(headrace(*command, "--max", "1", "--yes", "--json").stdout.splitlines()[-1])["cursor"]
    ended = client.server_time()
    wait_until(lambda: client.server_time() > ended + timedelta(milliseconds=20))
    asked = headrace(*command, "--cursor", cursor)
    assert headrace(*command, "--cursor", cursor, "--yes").stdout == "l0 canceled\n"
    second, first = client.list_audit().items
    assert (first.done, second.done) == (1, 1)
    assert second.asked == first.asked
    assert set(first.asked) == {"name", "since", "until"}
    for key in ("since", "until"):
        assert f"{key} {shown(datetime.fromisoformat(first.asked[key]))}" in asked.stderr


def test_a_refusal_shows_no_part_of_a_cursor(headrace: Headrace, client: Client) -> None:
    """Nobody has seen what is inside."""
    asked = digest({"all": True, "namespace": client.partitions.namespace})
    for verb in ("runs cancel", "runs retry"):
        forged = Rest(verb, asked, Times(client.server_time()), [Stretch("1-1~9~x")]).cursor
        refused = headrace(*verb.split(), "--all", "--cursor", forged)
        fails(refused, 2, "cursor")
        assert "1-1~9~x" not in refused.stderr


def test_it_says_whether_there_are_more(headrace: Headrace, client: Client) -> None:
    """None is left of those that were chosen, and others are left."""
    client.send_events([Event("later", id=f"l{number}") for number in range(3)], deliver_after=3_600)
    command = ("events", "cancel", "--name", "later", "--yes")
    first = headrace(*command, "--max", "1")
    said, goes_on = first.stderr.splitlines()
    assert said == "events cancel: 1 done, 0 failed, 0 left of the 1 chosen"
    end = json.loads(headrace(*command, "--max", "1", "--json").stdout.splitlines()[-1])
    assert (end["left"], end["more"]) == (0, True)
    last = headrace(*command, "--cursor", goes_on.split()[-1], "--json")
    end = json.loads(last.stdout.splitlines()[-1])
    assert (end["left"], end["more"], end["cursor"]) == (0, False, None)
