"""Of all that replay an event if it has no runs, at once or one after the other, one sends it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Client, Event, Retention, SentEvent
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing
from headrace.plans import replay as replays
from headrace.plans.plan import Plan
from headrace.scripts import load
from headrace_worker import App, event_trigger
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from tests.support.workers import WorkerHost

MANY = 20
NEW, OTHER = "app/new", "app/other"


class _Counted:
    """An app of three jobs, none of them for events named `asked`, and which event each was called for how often."""

    def __init__(self) -> None:
        self.app = App("app")
        self.calls = Counter[tuple[str, str | None]]()
        for name in ("new", "other", "matched"):
            self._define(name)

    def _define(self, name: str) -> None:
        @self.app.job(id=name, trigger=event_trigger(name))
        async def job(payload: str) -> None:
            await asyncio.sleep(0)
            self.calls[name, payload] += 1


class _Stepped:
    """A replay that goes on step by step, each a round trip."""

    def __init__(self, client: Client, plan: Plan[SentEvent | None]) -> None:
        self._client = client
        self._plan = plan
        self._answers: Any = None
        self.steps = 0
        self.is_over = False
        self.sent: SentEvent | None = None

    def ask(self) -> Sequence[Call[Any]]:
        """Return what the next step asks for; nothing if there is none."""
        try:
            return self._plan.send(self._answers)
        except StopIteration as done:
            self.is_over, self.sent = True, done.value
            return []

    def receive(self, asked: Sequence[Call[Any]]) -> None:
        """Let the server answer what was asked for."""
        self._answers = self._client._transport.run(asked, partial=True)
        self.steps += 1

    def step(self) -> None:
        if asked := self.ask():
            self.receive(asked)

    def end(self) -> SentEvent | None:
        while not self.is_over:
            self.step()
        return self.sent


@pytest.fixture
def divided(url: str, namespace: str, count: int) -> Iterator[AppClient]:
    """A client of the namespace as it is divided."""
    with AppClient(url, namespace=namespace, partitions=count) as client:
        yield client


@pytest.fixture
def counted() -> _Counted:
    return _Counted()


@pytest.fixture
def work(url: str, namespace: str, count: int, counted: _Counted) -> Callable[..., Any]:
    """Run the jobs of everything that was sent."""
    host = WorkerHost(url, namespace, count)
    return lambda **settings: host.settle(counted.app, **settings)


def _replay(client: Client, event_id: str, job: str | None = None, *, if_no_runs: bool = True) -> _Stepped:
    return _Stepped(client, client._plan_to_replay(event_id, None, if_no_runs=if_no_runs, job=job))


def _turns(first: int, second: int) -> Iterator[list[int]]:
    """Yield every order in which so many steps of two can come."""
    for places in combinations(range(first + second), first):
        yield [0 if place in places else 1 for place in range(first + second)]


@pytest.mark.parametrize(
    ("jobs", "is_sent_by"),
    [((None, None), 1), ((NEW, NEW), 1), ((None, NEW), 1), ((NEW, OTHER), 2)],
    ids=["to all", "to one", "to all and to one", "to one each"],
)
async def test_of_two_at_once_one_replays_in_every_order_of_their_steps(
    divided: AppClient,
    counted: _Counted,
    work: Callable[..., Any],
    jobs: tuple[str | None, str | None],
    is_sent_by: int,
) -> None:
    """The other one looks again before it takes the next number; two that are for other jobs leave out neither."""
    divided.send_event(Event("asked", "alone", id="alone"))
    await work()
    alone = _replay(divided, "alone")
    alone.end()
    orders = list(_turns(alone.steps, alone.steps))
    ids = [f"e{number}" for number in range(len(orders))]
    divided.send_events([Event("asked", each, id=each) for each in ids])
    await work()
    for event_id, order in zip(ids, orders, strict=True):
        both = [_replay(divided, event_id, job) for job in jobs]
        for turn in order:
            both[turn].step()
        sent = [each.id for each in (both[0].end(), both[1].end()) if each is not None]
        assert sorted(sent) == [f"{event_id}~r{number}" for number in range(1, is_sent_by + 1)], order
    await work()
    if None not in jobs:
        assert counted.calls == Counter((str(job).removeprefix("app/"), each) for job in {*jobs} for each in ids)


class _Meeting:
    """Two threads wait for each other before either sends its first replay of an event: none of them can be first."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._send = replays._send
        self.met: list[str] = []

    def send(self, keys: Keys, outgoing: Outgoing, token: str) -> Plan[SentEvent]:
        if outgoing.event_id.endswith("~r1") and self._barrier.wait(30) == 0:
            self.met.append(outgoing.event_id)
        return (yield from self._send(keys, outgoing, token))


async def _await_each(client: AsyncClient, ids: Sequence[str], **given: Any) -> list[Any]:
    async with client:
        return [await client.replay_event(each, if_no_runs=True, **given) for each in ids]


async def _await_all(client: AsyncClient, ids: Sequence[str], **given: Any) -> list[Any]:
    async with client:
        return await client.replay_events(ids, if_no_runs=True, **given)


def _each(client: Client, ids: Sequence[str], **given: Any) -> list[Any]:
    with client:
        return [client.replay_event(each, if_no_runs=True, **given) for each in ids]


def _all(client: Client, ids: Sequence[str], **given: Any) -> list[Any]:
    with client:
        return client.replay_events(ids, if_no_runs=True, **given)


Ask = Callable[..., list[Any]]
ASKED: dict[str, tuple[type[Client | AsyncClient], Ask, str | None]] = {
    "Client": (Client, _each, None),
    "Client, many": (Client, _all, None),
    "AsyncClient": (AsyncClient, lambda *args: asyncio.run(_await_each(*args)), None),
    "AsyncClient, many": (AsyncClient, lambda *args: asyncio.run(_await_all(*args)), None),
    "AppClient": (AppClient, lambda *args: _each(*args, job=NEW), "new"),
    "AppClient, many": (AppClient, lambda *args: _all(*args, job=NEW), "new"),
    "AsyncAppClient": (AsyncAppClient, lambda *args: asyncio.run(_await_each(*args, job=NEW)), "new"),
    "AsyncAppClient, many": (AsyncAppClient, lambda *args: asyncio.run(_await_all(*args, job=NEW)), "new"),
}


@pytest.mark.parametrize("count", [1], ids=["undivided"])
@pytest.mark.parametrize(("client", "ask", "job"), ASKED.values(), ids=ASKED)
async def test_of_two_threads_at_once_one_replays(  # noqa: PLR0917 - fixtures, and the case
    url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    divided: AppClient,
    counted: _Counted,
    work: Callable[..., Any],
    client: type[Client | AsyncClient],
    ask: Ask,
    job: str | None,
) -> None:
    """Each with a client, or an event loop, of its own; the other is told that nothing was sent."""
    ids = [f"e{number}" for number in range(MANY)]
    name = "matched" if job is None else "asked"
    divided.send_events([Event(name, each, id=each) for each in ids], deliver_after=3_600)
    for each in ids:  # so that they have no runs, though a job gets their replays
        divided.cancel_event(each)
    await work()
    meeting = _Meeting()
    monkeypatch.setattr(replays, "_send", meeting.send)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, client(url, namespace=namespace), ids) for _ in range(2)]
        found = [each.result() for each in asked]
    assert meeting.met == [f"{each}~r1" for each in ids]
    for event_id, *both in zip(ids, *found, strict=True):
        assert [each.id for each in both if each is not None] == [f"{event_id}~r1"]
    await work()
    assert counted.calls == Counter((job or "matched", each) for each in ids)


@pytest.mark.parametrize("if_no_runs", [False, True])
async def test_a_call_whose_reply_is_lost_is_one_replay(
    divided: AppClient, work: Callable[..., Any], *, if_no_runs: bool
) -> None:
    """The repeated call has the token of the first, whatever came between them."""
    divided.send_event(Event("asked", id="e"))
    await work()
    replay = _replay(divided, "e", if_no_runs=if_no_runs)
    while load("send").sha not in (asked := replay.ask())[0].args:
        replay.receive(asked)
    replay.receive(asked)  # and this reply is lost
    await work()
    second = divided.replay_event("e")
    replay.receive(asked)
    found = replay.end()
    assert second is not None
    assert found is not None
    assert (found.id, found.duplicate, second.id) == ("e~r1", False, "e~r2")
    await work()
    assert not divided.list_events(state="pending").items


async def test_a_replay_that_may_still_run_counts_for_its_own_job(divided: AppClient, work: Callable[..., Any]) -> None:
    """Delayed or pending; a canceled one counts for none."""
    divided.send_event(Event("asked", "x", id="e"))
    await work()

    def replay(job: str | None, delay: float | None = None) -> str | None:
        sent = divided.replay_event("e", job=job, if_no_runs=True, deliver_after=delay)
        return None if sent is None else sent.id

    assert replay(NEW, 3_600) == "e~r1"
    assert (replay(NEW), replay(None)) == (None, None)
    assert (replay(OTHER), replay(OTHER)) == ("e~r2", None)
    divided.cancel_event("e~r1")
    assert replay(NEW) == "e~r3"
    await work()
    assert (replay(NEW), replay(OTHER), replay(None)) == (None, None, None)


async def test_a_replay_of_a_replay_counts_the_runs_of_the_first(
    divided: AppClient, counted: _Counted, work: Callable[..., Any]
) -> None:
    """The one that all are replays of, as long as it is known."""
    divided.send_event(Event("matched", "x", id="e"))
    await work()
    divided.replay_event("e", job=NEW)
    await work()
    assert divided.replay_event("e~r1", job="app/matched", if_no_runs=True) is None
    assert divided.replay_event("e~r1", job=OTHER, if_no_runs=True) is not None
    await work()
    assert counted.calls == {("matched", "x"): 1, ("new", "x"): 1, ("other", "x"): 1}


async def test_runs_of_which_only_the_number_is_kept_count_for_every_job(
    divided: AppClient, counted: _Counted, work: Callable[..., Any]
) -> None:
    """A replay's contents, and the jobs of its runs, are dropped before its id is; which job it was is not known."""
    for event_id in ("e", "unmatched"):
        divided.send_event(Event("asked", event_id, id=event_id))
    await work()
    divided.replay_event("e", job=NEW, if_no_runs=True)
    divided.replay_event("unmatched", if_no_runs=True)
    await work(retention=Retention(success=0))
    assert divided.get_event("e~r1").runs == []
    assert divided.replay_event("e", job=NEW, if_no_runs=True) is None
    assert divided.replay_event("e", job=OTHER, if_no_runs=True) is None
    assert divided.replay_event("unmatched", job=NEW, if_no_runs=True) is not None
    await work()
    assert counted.calls == {("new", "e"): 1, ("new", "unmatched"): 1}


async def test_a_replay_counts_though_one_before_it_is_forgotten(
    divided: AppClient, redis: redis_py.Redis, work: Callable[..., Any]
) -> None:
    """A run that failed is remembered for longer; no id is used again meanwhile."""
    divided.send_event(Event("asked", "x", id="e"))
    await work()
    for job in (OTHER, NEW):
        divided.replay_event("e", job=job)
    await work()
    redis.delete(divided.partitions.of("e~r1").event("e~r1"))
    assert divided.replay_event("e", job=NEW, if_no_runs=True) is None
    third = divided.replay_event("e", job=OTHER, if_no_runs=True)
    assert third is not None
    assert third.id == "e~r3"
    await work()
