"""Events are canceled with their runs, come at another time, and are replayed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from headrace import Client, ContentsGone, DamagedRecord, Event, EventNotFound, InvalidArgument, Retention, SealedEvent
from headrace.calls.call import Call
from headrace_worker import App, event_trigger
from headrace_worker.inspect.jobs import UnknownJob
from headrace_worker.operate.app_client import AppClient
from tests.support.codecs import SCRAMBLER
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

TRIGGER = event_trigger("asked")


@pytest.fixture
def app_client(url: str, namespace: str) -> Iterator[AppClient]:
    """A client that may send an event to one job."""
    with AppClient(url, namespace=namespace) as client:
        yield client


class _Counted:
    """An app of three jobs, two of them for events named `asked`, and how often each was called with what."""

    def __init__(self) -> None:
        self.app = App("app")
        self.calls = Counter[tuple[str, object]]()
        for name, trigger in (("one", TRIGGER), ("two", TRIGGER), ("new", event_trigger("other"))):
            self._define(name, trigger)

    def _define(self, name: str, trigger: object) -> None:
        @self.app.job(id=name, trigger=trigger)  # type: ignore[arg-type]
        async def job(payload: object) -> None:
            await asyncio.sleep(0)
            self.calls[name, payload] += 1


async def test_all_open_runs_of_an_event_are_canceled(host: WorkerHost, client: Client) -> None:
    """Those that have ended stay as they are."""
    app, going = App("app"), asyncio.Event()

    @app.job(id="quick", trigger=TRIGGER)
    async def quick() -> None:
        await asyncio.sleep(0)

    @app.job(id="long", trigger=TRIGGER)
    async def long() -> None:
        going.set()
        await asyncio.sleep(60)

    async with host.working(app):
        sent = client.send_event(Event("asked"))
        await going.wait()
        await await_until(lambda: client.get_run(f"{sent.id}:app/quick").is_settled)
        record = await asyncio.to_thread(client.cancel_event, sent.id, runs=True, reason="stop")
    assert {run.job: run.status for run in record.runs} == {"app/long": "canceled", "app/quick": "succeeded"}
    assert client.get_event(sent.id) == record
    assert record.status == "settled"


async def test_an_event_that_no_worker_has_looked_at_gets_no_runs(host: WorkerHost, client: Client) -> None:
    """It is canceled itself, with its place in the order of its key."""
    counted = _Counted()
    first = client.send_event(Event("asked", "first"), ordering_key="k")
    client.send_event(Event("asked", "second"), ordering_key="k")
    assert client.cancel_event(first.id).status == "pending"
    assert client.cancel_event(first.id, runs=True).status == "canceled"
    await host.settle(counted.app)
    assert counted.calls == {("one", "second"): 1, ("two", "second"): 1}
    assert client.get_event(first.id).runs == []


async def test_a_delayed_event_comes_at_another_time(host: WorkerHost, client: Client) -> None:
    """Earlier or later; one that was delivered stays delivered."""
    counted = _Counted()
    soon = client.send_event(Event("asked", "soon"), deliver_after=3_600)
    late = client.send_event(Event("asked", "late"), deliver_after=0.5)
    there = datetime.now(UTC) + timedelta(days=1)
    there = there.replace(microsecond=0)
    assert client.reschedule_event(late.id, deliver_at=there).deliver_at == there
    async with host.working(counted.app):
        assert (await asyncio.to_thread(client.reschedule_event, soon.id, deliver_after=0)).status == "delayed"
        await await_until(lambda: client.get_event(soon.id).is_settled)
        assert (await asyncio.to_thread(client.reschedule_event, soon.id, deliver_after=9)).status == "settled"
    assert set(counted.calls) == {("one", "soon"), ("two", "soon")}
    client.cancel_event(late.id)
    assert client.reschedule_event(late.id, deliver_after=9).status == "canceled"
    with pytest.raises(EventNotFound):
        client.reschedule_event("nope", deliver_after=9)
    with pytest.raises(InvalidArgument, match="deliver_at"):
        client.reschedule_event(late.id)
    with pytest.raises(InvalidArgument, match=r"deliver_at: .*; nothing was changed$"):
        client.reschedule_event(late.id, deliver_at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the fault


async def test_a_replay_is_a_new_event_that_names_its_original(host: WorkerHost, client: Client) -> None:
    """Each has an id of its own; the replay of a replay names the first; the original stays a duplicate."""
    counted = _Counted()
    sent = client.send_event(Event("asked", "x", {"by": "me"}, id="e"), account_id="a", ordering_key="k")
    await host.settle(counted.app)
    original = client.get_event("e")
    replays = [client.replay_event(each) for each in ("e", "e", "e~r1")]
    assert [each.id for each in replays if each] == ["e~r1", "e~r2", "e~r3"]
    assert client.send_event(Event("asked", "x", id="e")).duplicate
    await host.settle(counted.app)
    assert counted.calls == {("one", "x"): 4, ("two", "x"): 4}
    assert client.get_event("e") == original
    third = client.get_event("e~r3")
    assert (third.replay_of, original.replay_of) == ("e", None)
    same = ("name", "payload", "context", "source", "account_id", "timestamp", "ordering_key", "headers")
    assert [getattr(third, each) for each in same] == [getattr(original, each) for each in same]
    assert sent.id == "e"


@pytest.mark.parametrize("if_no_runs", [False, True])
@pytest.mark.parametrize("job", [None, "one", "new"])
async def test_a_replay_goes_to_every_job_or_to_one(
    host: WorkerHost, app_client: AppClient, job: str | None, *, if_no_runs: bool
) -> None:
    """A chosen job gets it whatever its trigger; the safe way sends only what has no run yet, also the second time."""
    counted = _Counted()
    app_client.send_event(Event("asked", "x", id="e"))
    await host.settle(counted.app)
    before = counted.calls.copy()
    chosen = None if job is None else f"app/{job}"
    for _ in range(2):
        app_client.replay_event("e", job=chosen, if_no_runs=if_no_runs)
        await host.settle(counted.app)
    times = 2 if not if_no_runs else 1 if job == "new" else 0
    jobs = ("one", "two") if job is None else (job,)
    assert counted.calls - before == Counter({(each, "x"): times for each in jobs if times})


def test_a_replay_needs_a_job_that_is_there(app_client: AppClient) -> None:
    """Nothing is sent otherwise."""
    app_client.send_event(Event("asked", id="e"))
    with pytest.raises(UnknownJob):
        app_client.replay_event("e", job="app/none")
    with pytest.raises(EventNotFound):
        app_client.get_event("e~r1")


async def test_contents_that_are_gone_can_t_be_replayed(host: WorkerHost, client: Client) -> None:
    """The error says so."""
    client.send_event(Event("nobody", id="e"))
    await host.settle(_Counted().app, retention=Retention(success=0))
    with pytest.raises(ContentsGone, match="'e'"):
        client.replay_event("e")
    with pytest.raises(EventNotFound):
        client.replay_event("nope")


def test_a_sealed_event_is_opened_and_sealed_again(url: str, namespace: str) -> None:
    """A seal holds for one id, so a client without the codec can't replay it."""
    with Client(url, namespace=namespace, codec=SCRAMBLER) as sealing:
        sealing.send_event(Event("asked", {"secret": 1}, id="e"))
        replay = sealing.replay_event("e")
        assert replay is not None
        assert sealing.get_event(replay.id).payload == {"secret": 1}
        with Client(url, namespace=namespace) as plain, pytest.raises(SealedEvent, match="codec"):
            plain.replay_event("e")


def test_an_id_that_is_too_long_is_not_replayed(client: Client) -> None:
    """It has no room for what a replay's has behind it."""
    client.send_event(Event("asked", id="e" * 254))
    with pytest.raises(InvalidArgument, match="256"):
        client.replay_event("e" * 254)


@pytest.mark.parametrize("partitions", [1, 4])
def test_each_event_has_its_own_answer(url: str, namespace: str, partitions: int) -> None:
    """One that is not known, and one whose record can't be read, hold up none of the others, and no others' answers."""
    with Client(url, namespace=namespace, partitions=partitions) as client:
        for event_id in ("d1", "d2"):
            client.send_event(Event("asked", id=event_id), deliver_after=3_600)
        place = client.partitions.of("odd")
        client._transport.run([Call(("HSET", place.event("odd"), "m", "odd"), int)])
        first, missing, odd, second = client.cancel_events(["d1", "nope", "odd", "d2"])
        client._transport.run([Call(("DEL", place.event("odd")), int)])
        assert isinstance(missing, EventNotFound)
        assert isinstance(odd, DamagedRecord)
        assert [getattr(each, "status", each) for each in (first, second)] == ["canceled", "canceled"]
        with pytest.raises(EventNotFound):
            client.cancel_event("nope")
