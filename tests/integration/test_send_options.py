"""Each event of a call is sent with options of its own, in the same round trip."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Client, Event, SendOptions, ServerError
from headrace_worker import App, Context, JobIO, SyncJobIO, event_trigger
from tests.support.clients import Kind, open_client
from tests.support.workers import WorkerHost


@pytest.mark.leaves_records
@pytest.mark.parametrize("partitions", [1, 4])
def test_each_event_has_its_own_options(url: str, namespace: str, kind: Kind, partitions: int) -> None:
    """An option that an event leaves out is that of the call."""
    with open_client(kind, url, namespace=namespace, partitions=partitions) as client:
        first, second, third = client.send_events(
            [
                Event("a"),
                ({"name": "b"}, SendOptions(ordering_key="user-1", account_id="own")),
                (Event("c"), SendOptions(deliver_after=60)),
            ],
            account_id="acme",
        )
        found = [client.get_event(sent.id) for sent in (first, second, third)]
        assert [(each.ordering_key, each.account_id, each.status) for each in found] == [
            (None, "acme", "pending"),
            ("user-1", "own", "pending"),
            (None, "acme", "delayed"),
        ]
        assert (first.deliver_at, second.deliver_at) == (None, None)
        assert third.deliver_at == found[2].deliver_at is not None
        client.cancel_event(third.id)


@pytest.mark.parametrize("job", ["async", "plain"])
async def test_a_job_sends_events_with_their_own_options(host: WorkerHost, client: Client, job: str) -> None:
    """The ids of its events are derived all the same."""
    app = App("app")
    seen: list[Any] = []
    told: list[Any] = [
        Event("told", 1),
        (Event("told", 2), SendOptions(ordering_key="own")),
        ({"name": "told"}, SendOptions()),
    ]

    @app.job(id="listener", trigger=event_trigger("told"))
    async def listen(payload: Any, ctx: Context) -> None:
        assert ctx.account is not None
        seen.append((payload, ctx.event.ordering_key, ctx.account.id, ctx.event.id[:2]))

    @app.job(id="async", trigger=event_trigger("asked.async"))
    async def coroutine(io: JobIO) -> None:
        await io.send_events("many", told, account_id="acme", ordering_key="all")

    @app.job(id="plain", trigger=event_trigger("asked.plain"))
    def plain(io: SyncJobIO) -> None:
        io.send_events("many", told, account_id="acme", ordering_key="all")

    client.send_event(Event(f"asked.{job}"))
    await host.settle(app)
    expected = [(1, "all", "acme", "d_"), (2, "own", "acme", "d_"), (None, "all", "acme", "d_")]
    assert sorted(seen, key=str) == sorted(expected, key=str)


@pytest.mark.leaves_records
@pytest.mark.parametrize("partitions", [1, 4])
def test_no_batch_of_a_key_overtakes_one_that_failed(
    redis: Any, url: str, namespace: str, kind: Kind, partitions: int
) -> None:
    """Something else has written where one event's record goes: its batch fails, and none of its key follows."""
    events = [Event("a", id=f"e{number}") for number in range(1_700)]
    with open_client(kind, url, namespace=namespace, partitions=partitions) as client:
        keys = client.partitions.of("user-1")
        redis.set(keys.event("e700"), "no hash", px=60_000)
        with pytest.raises(ServerError, match="WRONGTYPE") as caught:
            client.send_events(events, ordering_key="user-1")
        expected = [event.id for event in events[:500]]
        assert [sent.id for sent in caught.value.sent] == expected
        assert [event_id.decode() for event_id in redis.lrange(keys.order("user-1"), 0, -1)] == expected
        redis.delete(keys.event("e700"))
        again = client.send_events(events, ordering_key="user-1")
        assert [sent.duplicate for sent in again] == [True] * 500 + [False] * 1_200
        assert redis.llen(keys.order("user-1")) == len(events)
