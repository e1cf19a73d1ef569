"""A producer that calls, and one that awaits: the same sends, and the same mistakes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from headrace import (
    AsyncClient,
    Client,
    Event,
    EventStatus,
    PayloadCodec,
    Retention,
    RunStatus,
    SendOptions,
    SentEvent,
)
from tests.typing.events import CardAdded, CardRemoved, Nameless, NewUser, OrderPlaced, OrderShipped, Refunded, UserLeft


class Codec:
    def encode(self, data: bytes, bound_to: bytes) -> bytes:
        return data + bound_to

    def decode(self, data: bytes, bound_to: bytes) -> bytes:
        return data.removesuffix(bound_to)


def settings() -> None:
    codec: PayloadCodec = Codec()
    retention = Retention(success=timedelta(hours=1), failure=86_400, dedupe_client=0.5, dedupe_sender=60)
    with Client(
        "redis://localhost",
        namespace="shop",
        partitions=4,
        retention=retention,
        max_event_bytes=1_000,
        attempts=1,
        codec=codec,
        source="billing",
        headers={"traceparent": "00"},
        timeout=timedelta(seconds=5),
    ) as client:
        assert_type(client, Client)
        assert_type(client.url, str)
        assert_type(client.partitions.namespace, str)
        assert_type(client.has_workers(), bool | None)
    client.close()


def one_event(client: Client) -> None:
    sent = client.send_event(
        Event(
            "user.new",
            {"id": "u_1"},
            context={"by": "support"},
            id="u_1",
            timestamp=datetime.now(UTC),
            source="shop",
        ),
        deliver_at=datetime.now(UTC),
        account_id="a_1",
        ordering_key="u_1",
        wait_replicas=1,
        wait_replicas_timeout=timedelta(seconds=1),
    )
    assert_type(sent, SentEvent)
    assert_type(sent.id, str)
    assert_type(sent.delivered_at, datetime | None)
    assert_type(sent.replicas, int | None)
    assert_type(sent.duplicate, bool)
    assert_type(sent.status, EventStatus)
    assert_type(client.send_event({"name": "user.new"}, deliver_after=30), SentEvent)
    assert_type(client.send_event(NewUser("u_1"), deliver_after=timedelta(days=1)), SentEvent)


def each_kind_of_event(client: Client, row: Mapping[str, Any]) -> None:
    client.send_event(row)
    client.send_event({"name": "user.new", "payload": {"id": "u_1"}, "id": "u_1"})
    client.send_event(UserLeft("u_1"))
    client.send_event(OrderPlaced("o_1"))
    client.send_event(OrderShipped("o_1"))
    client.send_event(CardAdded("1234"))
    client.send_event(CardRemoved("1234"))
    client.send_event(Refunded(id="o_1"))


def several_events(client: Client) -> None:
    sent = client.send_events([NewUser("u_1"), Event("user.left"), {"name": "other"}], ordering_key="u_1")
    assert_type(sent, list[SentEvent])
    client.send_events(NewUser(f"u_{number}") for number in range(3))
    users = [NewUser("u_1"), NewUser("u_2")]
    client.send_events(users, deliver_after=1.5, account_id="a_1", wait_replicas=1, wait_replicas_timeout=2)
    events = [Event("user.new")]
    client.send_events(events)


async def awaited() -> None:
    async with AsyncClient("redis://localhost", namespace="shop", codec=Codec()) as client:
        assert_type(client, AsyncClient)
        assert_type(await client.send_event(NewUser("u_1"), deliver_after=30), SentEvent)
        assert_type(await client.send_event(Event("user.new"), ordering_key="u_1"), SentEvent)
        assert_type(await client.send_events([NewUser("u_1"), Event("user.left"), {"name": "other"}]), list[SentEvent])
        assert_type(await client.has_workers(), bool | None)
    await client.close()


def mistakes(client: Client) -> None:
    client.send_event("user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event("user.new", {"id": "u_1"})  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    client.send_event(Nameless("u_1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event(NewUser)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event(NewUser(5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event(NewUser("u_1"), deliver_after="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event(NewUser("u_1"), deliver_at=30)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_event(NewUser("u_1"), delay=30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.send_events(NewUser("u_1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.send_events([Nameless("u_1")])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Client(namespace=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(codec=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("redis://localhost", "shop")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Retention(success="1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def mistakes_awaited(client: AsyncClient) -> None:
    client.send_event(NewUser("u_1"))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    client.send_events([NewUser("u_1")])  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await client.send_event("user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send_event(Nameless("u_1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sent: SentEvent = client.send_event(NewUser("u_1"))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(sent)
    with AsyncClient():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        ...


def options_of_their_own(client: Client) -> None:
    later = SendOptions(deliver_after=timedelta(hours=1), ordering_key="u_1", dedupe_for=86_400)
    assert_type(client.send_events([(NewUser("u_1"), later), {"name": "user.new"}]), list[SentEvent])
    client.send_events([NewUser("u_1"), (NewUser("u_2"), {"deliver_after": 5})])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.send_event(Event("user.new", headers={"traceparent": "00"}, id="u_1"), dedupe_for=60, timeout=1)
    states: list[RunStatus] = ["failed", "timed_out"]
    client.list_runs(status=states)
    states.append("lost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
