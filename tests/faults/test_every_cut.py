"""The line is cut at every point of every call, in both directions: all is settled once, and called once."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace import AsyncClient, Client, Event, ServerError
from headrace.model.ids import derived_event_id
from headrace_worker import Abort, App, Context, JobIO, Retry, SyncJobIO, Worker, WorkerConfig, event_trigger
from tests.faults.apps import wait_at_gate
from tests.faults.cuts import CUT_POINTS, ChosenCut, CutPoint, each_nth, once_a_kind
from tests.faults.deployment import Deployment
from tests.support.proxy import Proxy
from tests.support.waiting import await_until

LARGE = "x" * 20_000
WORK = {"steady": 1, "second": 2}
"""The jobs that hear `work`, and at which attempt each succeeds."""
ASKED = frozenset(
    {
        "send", "cancel", "watch", "rerun", "HGETALL", "SUBSCRIBE", "XREVRANGE", "INFO", "divide",
        "register", "renew", "dispatch", "started", "settle", "retry", "promote", "rescue", "release", "leave",
        "XREADGROUP dispatch new", "XREADGROUP dispatch own", "XREADGROUP workers own", "BLPOP", "CLIENT ID",
        "XPENDING",
    }
)  # fmt: skip
"""What producer and worker ask in one errand, besides the reads of queues."""


def errands(deployment: Deployment, queue: str) -> App:
    """Jobs for each way of a run through a worker's calls."""
    app, calls = App("errands"), deployment.calls
    retry = Retry(max_attempts=2, min_delay=0.05, jitter=False)

    @app.job(id="steady", trigger=event_trigger(["work", "child"]))
    async def steady(ctx: Context) -> None:
        calls.add(ctx.event.id, "steady", ctx.run.attempt)

    @app.job(id="second", trigger=event_trigger("work"), retry=retry, queue=queue)
    async def second(ctx: Context) -> None:
        calls.add(ctx.event.id, "second", ctx.run.attempt)
        if ctx.run.attempt == 1:
            raise RuntimeError("the first attempt fails")

    @app.job(id="bad", trigger=event_trigger("bad"))
    async def bad(ctx: Context) -> None:
        calls.add(ctx.event.id, "bad", ctx.run.attempt)
        raise Abort("it always fails")

    _add_patient_jobs(app, deployment)
    _add_parents(app, deployment, queue)
    return app


def _add_patient_jobs(app: App, deployment: Deployment) -> None:
    @app.job(id="slow", trigger=event_trigger("slow"))
    async def slow(ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, "slow", ctx.run.attempt)
        await asyncio.sleep(0.4)  # so long that its record says that it executes

    @app.job(id="held", trigger=event_trigger("held"))
    async def held(ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, "held", ctx.run.attempt)
        await wait_at_gate(deployment.folder, "held")


def _add_parents(app: App, deployment: Deployment, queue: str) -> None:
    @app.job(id="parent", trigger=event_trigger("parent"))
    async def parent(io: JobIO, ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, "parent", ctx.run.attempt)
        await io.send_event("key", Event("child"))

    @app.job(id="plain", trigger=event_trigger("parent"), queue=queue)
    def plain(io: SyncJobIO, ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, "plain", ctx.run.attempt)
        io.send_event("key", Event("child"))


class Errand:
    """Everything that a producer and a worker can ask of a server, once, over a line that is cut."""

    def __init__(self, deployment: Deployment, app: App, client: Client | AsyncClient) -> None:
        self._deployment = deployment
        self._app = app
        self._client = client
        self.expected: Counter[tuple[str, str, int]] = Counter()
        self.statuses: dict[str, dict[str, str]] = {}

    async def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """Return what the client's method gives, whichever kind of client it is."""
        function = getattr(self._client, method)
        if inspect.iscoroutinefunction(function):
            return await function(*args, **options)
        return await asyncio.to_thread(function, *args, **options)

    def expect(self, event: str, attempts: Mapping[str, int], status: str = "succeeded") -> None:
        """Each of these jobs is called once at each of so many attempts, and ends so."""
        for job, last in attempts.items():
            self.expected.update({(event, job, attempt): 1 for attempt in range(1, last + 1)})
            self.statuses.setdefault(event, {})[job] = status

    def leave_with_a_dead_worker(self) -> None:
        """Leave a run and an event pending under a worker whose lease has expired."""
        deployment = self._deployment
        run, event = deployment.send("work"), deployment.send("work")
        for each in (run, event):
            self.expect(each, WORK)
        deployment.register_dead("dead", self._app)
        held = deployment.redis.xreadgroup("dispatch", "dead", {deployment.keys.events: ">"}, count=2)
        assert len(held[0][1]) == 2

    async def send(self) -> None:
        """Send and read everything; wait until all is done that does not wait at the gate."""
        first = Event("work", id="first")
        assert not (await self.ask("send_event", first)).duplicate
        self.expect("first", WORK)
        for sent in await self.ask("send_events", [Event("work"), Event("work", LARGE)], ordering_key="k"):
            self.expect(sent.id, WORK)
        later = await self.ask("send_event", Event("work"), deliver_after=0.2)
        self.expect(later.id, WORK)
        await self.send_to_others()
        canceled = await self.ask("send_event", Event("work"), deliver_after=60)
        assert (await self.ask("cancel_event", canceled.id)).status == "canceled"
        bad = await self.ask("send_event", Event("bad"))
        await self.fail_twice(bad.id)
        assert (await self.ask("wait_for_event", later.id, 30)).is_settled
        assert (await self.ask("send_event", first)).duplicate
        assert (await self.ask("get_event", "first")).status in {"dispatched", "settled"}
        assert (await self.ask("list_runs", job="errands/bad")).items

    async def send_to_others(self) -> None:
        """Run jobs that take their time and send events themselves."""
        for name in ("slow", "held"):
            sent = await self.ask("send_event", Event(name))
            self.expect(sent.id, {name: 1})
        sent = await self.ask("send_event", Event("parent"))
        for job in ("parent", "plain"):
            self.expect(sent.id, {job: 1})
            self.expect(derived_event_id(f"{sent.id}:errands/{job}", "key"), {"steady": 1})

    async def fail_twice(self, event: str) -> None:
        """Let the run fail, and retry it with the client."""
        self.expect(event, {"bad": 1}, "failed")
        await self.ask("wait_for_event", event, 30)
        assert (await self.ask("get_run", f"{event}:errands/bad")).status == "failed"
        assert [entry.run_id for entry in (await self.ask("list_dead_letters")).items] == [f"{event}:errands/bad"]
        await self.ask("retry_run", f"{event}:errands/bad")
        self.expected[event, "bad", 1] += 1
        await self.ask("wait_for_event", event, 30)

    def assert_done_once(self) -> None:
        """Check that each call was made once, and that each run has ended as expected."""
        calls = Counter((call.event, call.job, call.attempt) for call in self._deployment.calls.read())
        assert calls == self.expected
        assert {event: self._deployment.statuses(event) for event in self.statuses} == self.statuses


@asynccontextmanager
async def open_client(url: str, namespace: str, *, is_async: bool) -> AsyncIterator[Client | AsyncClient]:
    client = (AsyncClient if is_async else Client)(url, namespace=namespace, attempts=20, timeout=None)
    try:
        yield client
    finally:
        closed = client.close()
        if closed is not None:
            await closed


async def start(app: App, url: str, namespace: str) -> tuple[Worker, asyncio.Future[None]]:
    """Start a worker; start another one if the server could not be reached at the start."""
    config = WorkerConfig(lease=60, block=0.2, grace=0.0)
    while True:
        up = asyncio.Event()
        worker = Worker(app, url, namespace=namespace, config=config, on_started=up.set)
        running = asyncio.ensure_future(worker.run())
        await asyncio.wait([running, asyncio.ensure_future(up.wait())], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            return worker, running
        with pytest.raises(ServerError):
            running.result()
        up.set()


async def run_errand(deployment: Deployment, proxy: Proxy, queue: str, cut: ChosenCut) -> None:
    """Ask everything once over the line; then let another worker execute what the first has released."""
    app = errands(deployment, queue)
    proxy.add(cut)
    async with open_client(proxy.url, deployment.namespace, is_async=queue != "default") as client:
        errand = Errand(deployment, app, client)
        errand.leave_with_a_dead_worker()
        worker, running = await start(app, proxy.url, deployment.namespace)
        await errand.send()
        held = next(event for event, job, _ in errand.expected if job == "held")
        queues = {"default", queue}
        await await_until(
            lambda: deployment.open_work("errands", *queues) == 1, 30, what="all but the run that is held"
        )
        assert not running.done(), "the worker has ended by itself"
        worker.stop()
        await asyncio.wait_for(running, 60)
    deployment.open_gate("held")
    errand.expected[held, "held", 1] += 1
    async with deployment.working(app, lease=10, block=0.2):
        await deployment.drained("errands", *queues)
    errand.assert_done_once()


@pytest.fixture(params=["default", "other"])
def queue(request: pytest.FixtureRequest) -> str:
    """The app's second queue: a worker of one queue blocks on it, one of two takes from both."""
    name: str = request.param
    return name


@pytest.mark.parametrize("point", CUT_POINTS)
async def test_each_kind_of_request_cut_once_loses_and_repeats_nothing(
    deployment: Deployment, proxy: Proxy, queue: str, point: CutPoint
) -> None:
    """The first of each kind, all in one errand; requests of the checks at a start only with one queue."""
    cut = ChosenCut(point, once_a_kind(0, trials=queue == "default"))
    await run_errand(deployment, proxy, queue, cut)
    read = "XREADGROUP workers new" if queue == "default" else "take"
    known = {kind.removesuffix(" with something").removesuffix(" in vain") for kind in cut.kinds}
    assert {*ASKED, read} <= known


@pytest.mark.slow
@pytest.mark.parametrize("ordinal", range(1, 6))
@pytest.mark.parametrize("point", CUT_POINTS)
async def test_each_kind_of_request_cut_later_loses_and_repeats_nothing(
    deployment: Deployment, proxy: Proxy, queue: str, point: CutPoint, ordinal: int
) -> None:
    """The second, third … of each kind."""
    await run_errand(deployment, proxy, queue, ChosenCut(point, once_a_kind(ordinal, trials=False)))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(25))
@pytest.mark.parametrize("point", CUT_POINTS)
async def test_every_request_cut_loses_and_repeats_nothing(
    deployment: Deployment, proxy: Proxy, queue: str, point: CutPoint, first: int
) -> None:
    """One request of 25, each time from another one on."""
    await run_errand(deployment, proxy, queue, ChosenCut(point, each_nth(25, first)))
