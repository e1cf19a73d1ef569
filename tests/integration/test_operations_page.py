"""What the page on operations shows from Python does what the commands beside it do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from headrace import Event, InvalidArgument, RunRecord
from headrace_worker import App, Queue, Retry, event_trigger
from headrace_worker.operate.app_client import AppClient
from tests.support.snippets import blocks
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


@pytest.fixture
def client(url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppClient]:
    monkeypatch.setenv("HEADRACE_URL", url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
    with AppClient() as client:
        yield client


def shown(name: str) -> Any:
    """Return a function that the page shows."""
    (code,) = [code for code in blocks("docs/operations.md", "python") if f"def {name}(" in code]
    module: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, "docs/operations.md", "exec", dont_inherit=True), module)
    return module[name]


def dispatcher() -> App:
    """An app whose worker dispatches for all, and takes no run of another."""
    app = App("other")
    app.job(id="none", trigger=event_trigger("nothing"))(lambda: None)
    return app


@pytest.mark.leaves_records
async def test_a_queue_is_purged(client: AppClient, host: WorkerHost) -> None:
    """Its queued runs are canceled, those of another queue stay, and the audit has it."""
    app = App("shop")
    app.job(id="mail", trigger=event_trigger("order.placed"), queue=Queue("mail"))(lambda: None)
    app.job(id="pack", trigger=event_trigger("order.placed"))(lambda: None)
    client.register_app(app)
    async with host.working(dispatcher()):
        client.send_events([Event("order.placed")] * 5)
        await await_until(lambda: len(client.list_runs(status="queued").items) == 10, 20)
        shown("purge")(client, "shop/mail", "wrong price list")
    assert {run.job for run in client.iter_runs(status="queued")} == {"shop/pack"}
    canceled = list(client.iter_runs(status="canceled"))
    assert [(run.job, run.error and run.error.message) for run in canceled] == [("shop/mail", "wrong price list")] * 5
    (noted,) = client.list_audit().items
    assert (noted.verb, noted.asked, noted.done, noted.failed) == ("queues purge", {"queue": "shop/mail"}, 5, 0)


@pytest.mark.leaves_records
async def test_dead_letters_with_an_error_are_retried(client: AppClient, host: WorkerHost) -> None:
    """From the oldest on; those of another error stay dead."""
    app, bank_is_away = App("shop"), True
    charged = list[int]()

    @app.job(id="charge", trigger=event_trigger("order.placed"), retry=Retry.none())
    async def charge(payload: dict[str, int]) -> None:
        if payload["number"] == 0:
            raise ValueError("no such account")
        if bank_is_away:
            raise ConnectionError("the bank is away")
        charged.append(payload["number"])

    for number in range(3):
        client.send_event(Event("order.placed", {"number": number}))
        await host.settle(app)
    bank_is_away = False
    assert shown("retry_dead")(client, "shop/charge", "the bank is away") == []
    await host.settle(app, concurrency=1)
    assert charged == [1, 2]
    assert [letter.error for letter in client.iter_dead_letters()] == ["ValueError: no such account"]


@pytest.mark.leaves_records
async def test_events_of_a_time_are_replayed_to_one_job(client: AppClient, host: WorkerHost) -> None:
    """Those before and behind are not, nor is any a second time, nor to another job."""
    ids = ["before", "one", "two", "behind"]
    app = App("shop")
    app.job(id="mail", trigger=event_trigger("order.placed"))(lambda: None)
    times = []
    for event_id in ids:
        times.append(client.server_time())
        client.send_event(Event("order.placed", id=event_id))
        await host.settle(app)
    app.job(id="audit", trigger=event_trigger("order.placed"))(lambda: None)
    client.register_app(app)
    replay, since, until = shown("replay"), times[1], times[3] - timedelta(milliseconds=1)
    assert replay(client, "order.placed", since, until, "shop/audit") == ["one~r1", "two~r1"]
    assert replay(client, "order.placed", since, until, "shop/audit") == []
    await host.settle(app)
    audited: list[RunRecord] = client.list_runs(job="shop/audit").items
    assert sorted(run.event_id for run in audited) == ["one~r1", "two~r1"]
    assert len(client.list_runs(job="shop/mail").items) == len(ids)


async def test_the_workers_of_a_machine_are_drained(client: AppClient, host: WorkerHost) -> None:
    """They are stopped once the run that they have has ended by itself, and they take no other."""
    app, begun, go_on = App("shop"), list[str](), asyncio.Event()

    @app.job(id="mail", trigger=event_trigger("order.placed"))
    async def mail(payload: str) -> None:
        begun.append(payload)
        await go_on.wait()

    async with host.working(app, lease=1.5, concurrency=2) as worker:
        client.send_event(Event("order.placed", "before"))
        await await_until(lambda: begun == ["before"], 20)
        draining = asyncio.ensure_future(shown("drain")(socket.gethostname()))
        await await_until(lambda: client.get_worker(str(worker.name)).worker.state == "quiet", 20)
        client.send_event(Event("order.placed", "after"))
        await await_until(lambda: client.get_queue("shop/default").waiting == 1, 20)
        assert not draining.done()
        assert not worker.is_stopping
        go_on.set()
        await draining
        await await_until(lambda: worker.is_stopping, 20)
    assert begun == ["before"]
    await host.settle(app)
    assert {run.status for run in client.iter_runs()} == {"succeeded"}


def test_nobody_to_tell_is_no_call(client: AppClient) -> None:
    """As on a machine without workers."""
    assert client.quiet_workers([]) == client.stop_workers(iter(())) == []


def test_one_text_is_not_several_names(client: AppClient) -> None:
    """It would be taken for its letters."""
    for tell in (client.quiet_workers, client.stop_workers):
        with pytest.raises(InvalidArgument, match="names: must be several names, not the text 'w1'"):
            tell("w1")
