"""A canceled run keeps its place until its function has ended, and its attempt is listed, counted and followed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
import redis as redis_py
from structlog.testing import capture_logs

from headrace import AsyncClient, Client, Event, InvalidArgument, StillExecuting
from headrace_worker import App, Context, JobIO, event_trigger
from headrace_worker.doctor import limits
from headrace_worker.doctor.finding import Finding
from headrace_worker.inspect.depths import read_depths
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from tests.support.commands import Headrace, document
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

TRIGGER = event_trigger("asked")
LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: whatever does was woken."""
FOREVER = 30


class Stubborn:
    """A job, async or plain, whose function goes on after its cancellation until it is let; its queue takes one run."""

    def __init__(self, *, is_async: bool = True) -> None:
        self.app, self.begun, self.told = App("app"), list[str](), threading.Event()
        self.go_on, self.is_async = threading.Event(), is_async
        job: Callable[..., Any] = self._async if is_async else self._plain
        self.app.job(id="job", trigger=TRIGGER, concurrency=1)(job)
        self.app.job(id="quick", trigger=event_trigger("quick"))(_quick)

    async def _async(self, payload: str) -> None:
        self.begun.append(payload)
        ends_at = monotonic() + FOREVER  # or a test that fails would never end
        while not self.go_on.is_set() and monotonic() < ends_at:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.told.set()

    def _plain(self, payload: str) -> None:
        self.begun.append(payload)
        self.go_on.wait(FOREVER)


@pytest.fixture
def stubborn() -> Iterator[Stubborn]:
    """An async one, which is let go at the end of the test."""
    made = Stubborn()
    yield made
    made.go_on.set()


@pytest.fixture(params=[True, False], ids=["async", "plain"])
def either(request: pytest.FixtureRequest) -> Iterator[Stubborn]:
    """One of either kind."""
    made = Stubborn(is_async=request.param)
    yield made
    made.go_on.set()


async def _quick() -> None: ...


async def _begin(client: Client, stubborn: Stubborn) -> str:
    """Two runs are there; the first has begun. Return its id."""
    first, _ = client.send_events([Event("asked", payload="first"), Event("asked", payload="second")])
    await await_until(lambda: stubborn.begun)
    return f"{first.id}:app/job"


def _pending(host: WorkerHost, redis: redis_py.Redis, queue: str = "job") -> int:
    return int(redis.xpending(f"headrace:{{{host.namespace}:0}}:queue:app/{queue}", "workers")["pending"])


async def test_a_function_that_goes_on_keeps_its_place(
    host: WorkerHost, client: Client, redis: redis_py.Redis, either: Stubborn
) -> None:
    """A limit is not exceeded: the next run begins when the function has returned, and not before."""
    async with host.working(either.app, **LONG), host.working(either.app, **LONG):
        run = await _begin(client, either)
        with pytest.raises(StillExecuting) as caught:
            await asyncio.to_thread(client.cancel_run, run, wait=1.5)  # longer than a cancellation is waited for
        assert (caught.value.run_id, caught.value.wait_s) == (run, 1.5)
        assert client.get_run(run).status == "canceled"
        quick = client.send_event(Event("quick"))
        await asyncio.to_thread(client.wait_for_event, quick.id, 10)  # workers take what they may
        assert (either.begun, _pending(host, redis)) == (["first"], 1)
        assert client.cancel_run(run).answer == "asked"
        either.go_on.set()
        assert (await asyncio.to_thread(client.cancel_run, run, wait=10)).answer in {"stopped", "canceled"}
        await await_until(lambda: either.begun == ["first", "second"])
        await await_until(lambda: _pending(host, redis) == 0)
    assert either.told.is_set() is either.is_async
    assert client.get_run(run).status == "canceled"
    assert client.list_dead_letters().items == []


async def test_the_log_does_not_say_that_a_function_which_goes_on_has_ended(
    host: WorkerHost, client: Client, either: Stubborn
) -> None:
    """It is told to stop; a plain one, whose thread can't be ended, keeps its slot."""
    with capture_logs() as lines:
        async with host.working(either.app, grace=0.1, **LONG):
            run = await _begin(client, either)
            client.cancel_run(run)
            await await_until(lambda: any("its slot" in line["event"] for line in lines))
    told, goes_on = [line["event"] for line in lines if line.get("run") == run][:2]
    assert told == "run was canceled; its function is told to stop"
    assert goes_on.startswith("run ignores" if either.is_async else "a plain function can't be ended")


@pytest.fixture
def inspector(host: WorkerHost) -> Iterator[AppClient]:
    """It looks at the queues and workers of the test's namespace."""
    with AppClient(host.url, namespace=host.namespace) as made:
        yield made


async def test_a_function_that_goes_on_is_counted(
    host: WorkerHost, client: Client, inspector: AppClient, stubborn: Stubborn
) -> None:
    """It is in flight, also where its queue has no entry, and hides no run that waits."""

    def counts() -> tuple[int, int, int]:
        queue = inspector.get_queue("app/job")
        return queue.waiting, queue.in_flight, queue.canceled

    async with (
        host.working(stubborn.app, **LONG) as worker,
        AsyncAppClient(host.url, namespace=host.namespace) as app_client,
    ):
        first = client.send_event(Event("asked", payload="first"))
        await await_until(lambda: stubborn.begun)
        assert counts() == (0, 1, 0)
        assert client.cancel_run(f"{first.id}:app/job").answer == "asked"
        assert counts() == (0, 1, 1)
        found = inspector.get_queue("app/job")
        assert found.in_flight_of == found.canceled_of == {worker.name: 1}
        for _ in range(2):
            client.send_event(Event("asked", payload="second"))
        await await_until(lambda: counts() == (2, 1, 1))
        assert inspector.list_queues().items[1] == inspector.get_queue("app/job")
        (job,) = (each for each in (await app_client.list_jobs()).items if each.job == "app/job")
        assert (job.waiting, job.in_flight) == (2, 1)
        assert client._run(read_depths(client.partitions)).queues["app/job"] == 2
        stubborn.go_on.set()
        await await_until(lambda: counts() == (0, 0, 0))
    assert stubborn.begun == ["first", "second", "second"]


async def test_the_worker_in_which_a_function_goes_on_is_shown(
    host: WorkerHost, client: Client, inspector: AppClient, headrace: Headrace, stubborn: Stubborn
) -> None:
    """By its queue, and with the worker itself; nothing is said where none goes on."""
    async with host.working(stubborn.app, **LONG) as worker:
        name = str(worker.name)
        run = await _begin(client, stubborn)
        shows = (("queues", "show", "app/job"), ("workers", "show", name))
        assert [each for each in shows if "canceled" in headrace(*each).stdout.lower()] == []
        assert client.cancel_run(run).answer == "asked"
        for each in shows:
            assert re.search(r"^canceled +1 function goes on$", headrace(*each).stdout, re.MULTILINE)
            assert document(headrace(*each, "--json"))["canceled"] == 1
        assert re.search(rf"^{name} +1 +1 +yes$", headrace(*shows[0]).stdout, re.MULTILINE)
        detail = inspector.get_worker(name)
        assert (detail.runs, detail.canceled, detail.is_complete) == ([], 1, True)
        stubborn.go_on.set()


async def test_the_doctor_names_the_worker_whose_functions_fill_a_limit(
    host: WorkerHost, client: Client, headrace: Headrace, either: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says mends it: the worker stops, and the run that waits begins in another."""

    async def found() -> list[Finding]:
        async with AsyncAppClient(host.url, namespace=host.namespace) as asker:
            return [each for each in (await asker.diagnose()).findings if each.check == "canceled"]

    async with host.working(either.app, grace=0.1, lease=1.5) as worker:
        run = await _begin(client, either)
        assert client.cancel_run(run).answer == "asked"
        assert await found() == []  # it may still end: it was canceled just now
        monkeypatch.setattr(limits, "LATE_MS", -1)
        findings: list[Finding] = []
        while not findings or not findings[0].facts["waiting"]:
            findings = await found()
        (finding,) = findings
        assert (finding.severity, finding.facts["workers"]) == ("error", [worker.name])
        assert finding.facts["in_flight"] == finding.facts["waiting"] == 1
        command, _, _ = finding.mend.partition(":")
        assert command == f"headrace workers stop {worker.name}"
        headrace(*command.split()[1:])
        await await_until(lambda: worker.is_stopping, 20)
    assert await found() == []
    either.go_on.set()
    await host.settle(either.app)
    assert either.begun == ["first", "second"]


async def test_a_worker_that_stops_leaves_nothing_of_it(
    host: WorkerHost, client: Client, redis: redis_py.Redis, either: Stubborn
) -> None:
    """The place is free for another worker, and there is no dead letter."""
    async with host.working(either.app, grace=0.1):
        run = await _begin(client, either)
        assert client.cancel_run(run).answer == "asked"
    prefix = f"headrace:{{{host.namespace}:0}}:"
    assert _pending(host, redis) == 0
    assert redis.xinfo_consumers(f"{prefix}queue:app/job", "workers") == []
    either.go_on.set()
    await host.settle(either.app)
    assert either.begun == ["first", "second"]
    assert client.list_dead_letters().items == []


async def _lose_a_delivery(
    host: WorkerHost, client: Client, redis: redis_py.Redis, delete: Callable[[str], object]
) -> None:
    """The reply that delivers a run to a worker is lost; its entry is deleted, and the worker looks what it has."""
    app, called = App("app"), list[int]()
    app.job(id="job", trigger=TRIGGER)(lambda: called.append(1))
    key = f"headrace:{{{host.namespace}:0}}:queue:app/default"
    await host.settle(app)  # so that the queue is known
    client.pause_queue("app/default")
    async with host.working(app) as worker:
        sent = client.send_event(Event("asked"))
        await await_until(lambda: client.get_event(sent.id).status == "dispatched")
        (found,) = redis.xrange(key) or [(b"", {})]
        redis.xclaim(key, "workers", worker.name or "", 0, [found[0]], force=True)  # type: ignore[list-item]
        delete(f"{sent.id}:app/job")
        assert _pending(host, redis, "default") == 1
        redis.client_kill_filter(_type="normal", skipme=True)
        await await_until(lambda: _pending(host, redis, "default") == 0)
    assert called == []


async def test_an_entry_that_was_deleted_on_its_way_is_forgotten(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """Its run was canceled: nothing is called, and nothing is left to look at."""

    def cancel(run: str) -> None:
        assert client.cancel_run(run).answer == "asked"

    await _lose_a_delivery(host, client, redis, cancel)
    assert client.list_dead_letters().items == []


@pytest.mark.leaves_records  # nothing says any more whose entry it was
async def test_an_entry_that_something_else_deleted_is_a_dead_letter(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """No run was canceled: that is not passed over in silence."""
    key = f"headrace:{{{host.namespace}:0}}:queue:app/default"
    await _lose_a_delivery(host, client, redis, lambda _: redis.xtrim(key, maxlen=0, approximate=False))
    (letter,) = client.list_dead_letters().items
    assert letter.reason == "unreadable"
    assert "deleted from its stream" in str(letter.error)


async def test_a_run_that_is_only_taken_for_canceled_stays_open(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """Its delivery is forgotten, as by a program that destroys the group: its function is ended, and called again."""
    app, begun, ended, go_on = App("app"), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.job(id="job", trigger=TRIGGER)
    async def job() -> None:
        begun.set()
        try:
            await go_on.wait()
        finally:
            ended.set()

    async with host.working(app):
        run = f"{client.send_event(Event('asked')).id}:app/job"
        await begun.wait()
        key = f"headrace:{{{host.namespace}:0}}:queue:app/default"
        (found,) = redis.xrange(key) or [(b"", {})]
        redis.xack(key, "workers", found[0] or b"")
        redis.client_kill_filter(_type="pubsub")  # who listens anew looks what it has
        await ended.wait()
    assert client.get_run(run).finished_at is None
    redis.xgroup_setid(key, "workers", "0")  # as a group that is made anew
    go_on.set()
    await host.settle(app)
    assert client.get_run(run).status == "succeeded"


async def _cancel_one_that_has_sent(host: WorkerHost, client: Client) -> str:
    """A run is canceled whose function has sent an event. Return its id."""
    app, sent_it = App("app"), asyncio.Event()

    @app.job(id="job", trigger=TRIGGER)
    async def job(io: JobIO) -> None:
        await io.send_event("child", Event("child"))
        sent_it.set()
        await asyncio.sleep(FOREVER)

    async with host.working(app):
        event = client.send_event(Event("asked"))
        run = f"{event.id}:app/job"
        await asyncio.wait_for(sent_it.wait(), 10)
        await await_until(lambda: client.get_run(run).status == "executing")
        stopped = await asyncio.to_thread(client.cancel_run, run, reason="why", wait=timedelta(seconds=10))
        assert stopped.answer == "stopped"
    return run


async def test_the_attempt_is_listed(host: WorkerHost, client: Client) -> None:
    """Also as its run's first, and once: also if the run is retried."""
    run = await _cancel_one_that_has_sent(host, client)
    record = client.get_run(run)
    (attempt,) = record.attempts
    assert (attempt.number, attempt.kind, attempt.worker) == (1, "canceled", record.worker)
    assert (attempt.started_at, attempt.ended_at) == (record.started_at, record.finished_at)
    assert attempt.error is not None
    assert attempt.error.message == "why"
    client.retry_run(run, canceled=True)
    assert client.get_run(run).attempts == [attempt]


async def test_the_attempt_is_counted_and_its_events_follow_it(host: WorkerHost, client: Client) -> None:
    """As those of any other attempt."""
    run = await _cancel_one_that_has_sent(host, client)
    tree = client.get_tree(client.get_run(run).event_id)
    assert [each.record and each.record.name for each in tree.sent[run]] == ["child"]
    with AppClient(host.url, namespace=host.namespace) as operator:
        (counts,) = operator.get_stats(3600).jobs
    assert (counts.job, counts.counts.canceled, counts.counts.succeeded) == ("app/job", 1, 0)


async def test_the_functions_of_many_are_waited_for_together(
    host: WorkerHost, client: Client, stubborn: Stubborn
) -> None:
    """Those of an event, too, and by the awaited client; an error names the run that goes on."""
    begun = list[str]()

    @stubborn.app.job(id="gives-in", trigger=event_trigger("gentle"))
    async def gives_in(ctx: Context) -> None:
        begun.append(ctx.run.id)
        await asyncio.sleep(FOREVER)

    async with host.working(stubborn.app), AsyncClient(host.url, namespace=host.namespace) as awaited:
        runs = [await _begin(client, stubborn)]
        ids = [each.id for each in client.send_events([Event("gentle"), Event("gentle")])]
        runs += [f"{each}:app/gives-in" for each in ids]
        await await_until(lambda: len(begun) == 2)
        goes_on, stopped = await awaited.cancel_runs(runs[:2], wait=0.3)
        assert isinstance(goes_on, StillExecuting)
        assert not isinstance(stopped, Exception)
        assert stopped.answer == "stopped"
        with pytest.raises(StillExecuting, match=runs[0]):
            await awaited.cancel_run(runs[0], wait=0)
        assert (await awaited.cancel_event(ids[1], runs=True, wait=10)).runs[0].status == "canceled"
        stubborn.go_on.set()


@pytest.mark.parametrize("wait", [-1, "soon", float("nan")])
def test_a_bad_wait_is_refused(client: Client, wait: Any) -> None:
    """Before anything is canceled."""
    with pytest.raises(InvalidArgument, match="wait: must be seconds"):
        client.cancel_run("e:app/job", wait=wait)


async def _command(host: WorkerHost, *args: str) -> tuple[int | None, str, str]:
    """Run `headrace ARGS` beside the worker of the test; return its exit code and what it has printed."""
    env = {**os.environ, "HEADRACE_URL": host.url, "HEADRACE_NAMESPACE": host.namespace}
    command = (sys.executable, "-m", "headrace_worker.cli", *args)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=env)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_commands_wait_for_functions(host: WorkerHost, client: Client, stubborn: Stubborn) -> None:
    """The end is in the line of the run; exit code 1 says that a function goes on."""
    async with host.working(stubborn.app):
        run = await _begin(client, stubborn)
        event_id = run.partition(":")[0]
        code, out, err = await _command(host, "runs", "cancel", run, "--wait", "0.1")
        assert (code, out) == (1, "")
        assert "is canceled, but its function has not ended within 0.1 s" in err
        code, _, err = await _command(host, "events", "cancel", event_id, "--wait", "1")
        assert code == 2
        assert "give --runs as well" in err
        ending = asyncio.ensure_future(_command(host, "runs", "cancel", run, "--wait", "20"))
        asyncio.get_running_loop().call_later(0.5, stubborn.go_on.set)
        code, out, _ = await ending
        assert (code, out) in {(0, f"{run} stopped\n"), (0, f"{run} canceled\n")}  # the latter of a slow process
