"""A command on many does what its filter names, and to nothing else: each filter of each command, alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
import pytest
import redis as redis_py

from headrace import Event, EventNotFound
from headrace_worker import App, Retry, Worker, event_trigger
from headrace_worker.cli.root import root
from headrace_worker.logs.logger import flush
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal import asking
from tests.support.commands import Headrace, document
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

yard = App("yard", version="1")
HOUR = timedelta(hours=1)
_TICK = timedelta(milliseconds=1)


def _failing(job_id: str, *names: str, attempts: int = 1, **options: Any) -> None:
    retry = Retry(max_attempts=attempts, min_delay=3_600, max_delay=7_200)

    @yard.job(id=job_id, trigger=event_trigger(*names), retry=retry, **options)
    async def fail(payload: str) -> None:
        raise ValueError(payload)


_failing("plain", "plain", "named")
_failing("special", "special")
_failing("apart", "apart", queue="apart")
_failing("again", "again", attempts=2)
for _each in ("a", "b", "c"):
    _failing(_each, "trio")


@yard.job(id="checked", trigger=event_trigger("checked"))
async def checked(payload: int) -> None:
    """Is never called: what is sent to it is no number."""


for _each, _queue in (("hold", "default"), ("special-hold", "default"), ("apart-hold", "apart")):

    @yard.job(id=_each, trigger=event_trigger(_each), queue=_queue)
    async def hold() -> None:
        await asyncio.Event().wait()


class Thing(msgspec.Struct, frozen=True):
    """An event, and how many of it make what a filter is for."""

    name: str = "plain"
    payload: str = "no"
    source: str | None = None
    account: str | None = None
    count: int = 3


class Case(msgspec.Struct, frozen=True):
    """A command, a filter of it, what that is for, and the state that all ten things are in."""

    command: str
    ground: str
    filter: tuple[str, ...]
    chosen: Thing = Thing()

    @property
    def is_older(self) -> bool:
        """The filter is for what came first."""
        return self.filter[0] == "--until" or self.ground in {"executing", "begun", "waiting"}

    def __str__(self) -> str:
        """Return its name in a report."""
        return " ".join((self.command, *self.filter[:1], self.ground))


OF_EVENTS = {
    ("--name", "named"): Thing("named"),
    ("--source", "shop"): Thing(source="shop"),
    ("--account", "acme"): Thing(account="acme"),
    ("--since", "MOMENT"): Thing(),
    ("--until", "MOMENT"): Thing(),
}
OF_RUNS = {
    ("--job", "yard/special"): Thing("special"),
    ("--event", "chosen0"): Thing("trio", count=1),
    ("--event-name", "named"): Thing("named"),
    ("--queue", "yard/apart"): Thing("apart"),
    ("--since", "MOMENT"): Thing(),
    ("--until", "MOMENT"): Thing(),
}
OF_LETTERS = {
    ("--job", "yard/special"): Thing("special"),
    ("--reason", "invalid_payload"): Thing("checked"),
    ("--error", "timeout"): Thing(payload="a timeout"),
    ("--since", "MOMENT"): Thing(),
    ("--until", "MOMENT"): Thing(),
}
CASES = [
    *(Case("events cancel", "delayed", *each) for each in OF_EVENTS.items()),
    *(Case("events cancel --runs", "delayed", *each) for each in OF_EVENTS.items()),
    *(Case("events cancel --runs", "queued", *each) for each in OF_EVENTS.items()),
    *(Case("events replay", "failed", *each) for each in OF_EVENTS.items()),
    Case("events replay", "failed", ("--state", "unmatched"), Thing("nobody asks for it")),
    Case("events replay", "failed", ("--if-no-runs", "--all"), Thing("nobody asks for it")),
    *(Case("runs cancel", "queued", *each) for each in OF_RUNS.items()),
    Case("runs cancel", "executing", ("--job", "yard/special-hold"), Thing("special-hold")),
    Case("runs cancel", "executing", ("--event-name", "special-hold"), Thing("special-hold")),
    Case("runs cancel", "executing", ("--queue", "yard/apart"), Thing("apart-hold")),
    Case("runs cancel", "executing", ("--worker", "WORKER"), Thing("hold")),
    Case("runs cancel", "executing", ("--older-than", "50s"), Thing("hold")),
    Case("runs cancel", "begun", ("--status", "executing"), Thing("hold")),
    Case("runs cancel", "waiting", ("--status", "waiting"), Thing("again")),
    *(Case("runs retry", "failed", *each) for each in OF_RUNS.items()),
    Case("runs retry", "failed", ("--status", "invalid_payload"), Thing("checked")),
    *(Case("dead retry", "failed", *each) for each in OF_LETTERS.items()),
    *(Case("dead discard", "failed", *each) for each in OF_LETTERS.items()),
    Case("queues purge", "queued", ("yard/apart",), Thing("apart")),
]
NO_FILTERS = {
    "events cancel": {"--runs", "--wait"},
    "events replay": {"--job", "--delay"},
    "runs cancel": {"--wait"},
    "runs retry": {"--canceled"},
}
"""Of each command the options that choose nothing: they say what to do, and how."""
HOW = {"--all", "--dry-run", "--yes", "--max", "--rate", "--reason", "--note", "--cursor", "--json", "--help"}
SERVER = {"--url", "--namespace", "--partitions", "--codec"}


def _bulk(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command on many, with its name."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _bulk(each, f"{path} {name}".strip())
    elif isinstance(command, asking.BulkCommand):
        yield path, command


def test_each_filter_of_each_command_is_tried() -> None:
    """None was forgotten."""
    for name, command in _bulk(root):
        options = {opt for each in command.params if isinstance(each, click.Option) for opt in each.opts}
        note = "--note" if name.startswith("dead") else "--reason"
        filters = options - (HOW - {"--reason"} | {note}) - SERVER - NO_FILTERS.get(name, set())
        tried = {each.filter[0] for each in CASES if each.command.startswith(name)}
        assert {each for each in tried if each.startswith("--")} == filters, name
        assert tried, name


class _Yard:
    """Makes ten things of which a filter is for three, and knows what has become of them."""

    def __init__(self, client: AppClient, host: WorkerHost, redis: redis_py.Redis, stack: AsyncExitStack) -> None:
        self._client, self._host, self._redis, self._stack = client, host, redis, stack
        self.moment: datetime | None = None
        self.worker: Worker | None = None

    async def make(self, case: Case) -> tuple[list[str], list[str]]:
        """Return what the filter is for, and the others, by what the command calls them."""
        others = Thing("hold" if case.ground == "executing" else "plain", count=7)
        order = [("chosen", case.chosen), ("other", others)]
        made: dict[str, list[str]] = {}
        for which, thing in order if case.is_older else reversed(order):
            ids = [f"{which}{number}" for number in range(thing.count)]
            self._send(ids, thing, delay=HOUR if case.ground == "delayed" else None)
            await self._bring(ids, case.ground)
            made[which] = self._named(case, ids)
            await self._pass_a_moment()
        if case.filter[0] == "--older-than":
            self._age(made["chosen"])
        return made["chosen"], made["other"]

    def state(self, case: Case, each: str) -> object:
        """Return what tells whether anything was done to one."""
        match case.command.split()[0]:
            case "events":
                event = self._client.get_event(each)
                return event.status, [run.status for run in event.runs], self._is_replayed(each)
            case "dead":
                letters = {letter.id: letter.run_id for letter in self._client.iter_dead_letters()}
                return letters.get(each)
        return self._client.get_run(each).status

    async def tidy(self) -> None:
        """Let everything end."""
        for event in self._client.iter_events(state="delayed"):
            self._client.cancel_event(event.id)
        self._client.cancel_runs([run.id for run in self._client.list_runs(status="executing").items])
        await self._stack.aclose()
        await self._host.settle(yard)

    def _send(self, ids: Sequence[str], thing: Thing, delay: timedelta | None) -> None:
        events = [Event(thing.name, thing.payload, id=each, source=thing.source) for each in ids]
        self._client.send_events(events, account_id=thing.account, deliver_after=delay)

    async def _bring(self, ids: Sequence[str], ground: str) -> None:
        """Bring events to the state of a ground; where it has two, those that come first are what a filter is for."""
        is_first = self.moment is None
        match ground:
            case "failed":
                await self._host.settle(yard)
            case "executing":
                await self._execute(ids)
            case "begun" if is_first:
                await self._execute(ids)
                self._client.pause_queue("yard/default")
                self._stack.callback(self._client.resume_queue, "yard/default")
            case "begun":
                await self._until(ids, None)
            case "waiting" if is_first:
                async with self._host.working(yard):
                    await self._until(ids, "waiting")
            case "queued" | "waiting":
                self._client.register_app(yard)
                async with self._host.working(App("other", dispatch_only=True)):
                    await self._until(ids, None)

    async def _execute(self, ids: Sequence[str]) -> None:
        """Each worker has as many slots as it is to execute, so the second has all that the first has no room for."""
        worker = await self._stack.enter_async_context(self._host.working(yard, concurrency=len(ids)))
        self.worker = self.worker or worker
        await self._until(ids, "executing")

    async def _until(self, ids: Sequence[str], status: str | None) -> None:
        """Wait until the events are dispatched, and their runs have come so far."""

        def has_come(event_id: str) -> bool:
            event = self._client.get_event(event_id)
            return event.status == "dispatched" and all(status in (None, run.status) for run in event.runs)

        await await_until(lambda: all(map(has_come, ids)), what=f"runs that are {status or 'dispatched'}")

    async def _pass_a_moment(self) -> None:
        """Let all that comes now be later than what has come."""
        after = self._client.server_time() + _TICK
        self.moment = self.moment or after
        await await_until(lambda: self._client.server_time() > after + _TICK)

    def _named(self, case: Case, ids: Sequence[str]) -> list[str]:
        if case.command.startswith("events"):
            return list(ids)
        runs = [run.id for each in ids for run in self._client.get_event(each).runs]
        if not case.command.startswith("dead"):
            return runs
        return [letter.id for letter in self._client.iter_dead_letters() if letter.run_id in runs]

    def _is_replayed(self, event_id: str) -> bool:
        try:
            self._client.get_event(f"{event_id}~r1")
        except EventNotFound:
            return False
        return True

    def _age(self, runs: Sequence[str]) -> None:
        """Let runs have been executing for two hours: as their queue says, and their records."""
        keys = self._client.partitions.first
        now = self._client.server_time()
        for each in runs:
            event_id, job = each.split(":")
            stored = self._redis.hget(keys.event(event_id), f"r:{job}")
            assert isinstance(stored, bytes)
            line = stored.split(b" ")
            line[8] = b"%d" % ((now - 2 * HOUR).timestamp() * 1000)
            self._redis.hset(keys.event(event_id), f"r:{job}", b" ".join(line))
            idle_ms = int(2 * HOUR / _TICK)
            self._redis.xclaim(keys.queue("yard", "default"), "workers", line[7], 0, [line[6]], idle=idle_ms)


@pytest.fixture
async def ground(url: str, namespace: str, host: WorkerHost, redis: redis_py.Redis) -> AsyncIterator[_Yard]:
    """What the things are made with; all of them end with the test."""
    async with AsyncExitStack() as stack:
        with AppClient(url, namespace=namespace) as client:
            made = _Yard(client, host, redis, stack)
            yield made
            await made.tidy()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_three_of_ten_are_chosen_and_seven_stay(
    headrace: Headrace, namespace: str, ground: _Yard, case: Case
) -> None:
    """The dry run, the question and the act agree."""
    chosen, others = await ground.make(case)
    await asyncio.to_thread(flush, 5.0)  # or lines of the workers would be among those of the next command
    assert (len(chosen), len(others)) == (3, 7)
    words = {"MOMENT": str(ground.moment), "WORKER": ground.worker.name if ground.worker else ""}
    command = case.command.split()
    given = (*command, *(words.get(each, each) for each in case.filter))

    def states() -> dict[str, object]:
        return {each: ground.state(case, each) for each in (*chosen, *others)}

    of_all = ("runs", "cancel") if command[0] == "queues" else command
    assert document(headrace(*of_all, "--all", "--dry-run", "--json"))["count"] == 10
    before = states()
    dry = document(headrace(*given, "--dry-run", "--json"))
    assert (dry["count"], sorted(dry["first"])) == (3, sorted(chosen))
    question = headrace(*given)
    noun = {"events": "events", "dead": "dead letters"}.get(command[0], "runs")
    assert question.exit_code == 2
    assert f": 3 {noun} of namespace {namespace!r}" in question.stderr
    assert states() == before
    yes = "--yes=yard/apart" if command[0] == "queues" else "--yes"
    *lines, end = map(json.loads, headrace(*given, yes, "--json").stdout.splitlines())
    assert sorted(line["id"] for line in lines) == sorted(chosen)
    assert (end["done"], end["failed"], end["left"], end["more"]) == (3, 0, 0, False)
    after = states()
    assert sorted(each for each in before if after[each] != before[each]) == sorted(chosen)
