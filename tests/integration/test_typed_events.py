"""Typed events on their way through a server: sent by their class, received as it, asserted by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest

from headrace import AsyncClient, Client, Event, InvalidEvent
from headrace_worker import App, Context, JobIO, SyncJobIO, event_trigger
from headrace_worker.testing import Headrace


class NewUser(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "new.user"
    user_id: str
    plan: str = "free"


class UserLeft(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "user.left"
    user_id: str


class Welcomed(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "welcomed"
    user_id: str


@pytest.fixture
def kit(client: Client) -> Iterator[Headrace]:
    kit = Headrace(client.url, client.partitions.namespace)
    yield kit
    kit.close()


async def test_a_class_is_sender_subscription_and_payload(kit: Headrace) -> None:
    """Jobs receive it by their annotation, alone or in a union, and send more of them."""
    app, seen = App("shop"), list[Any]()

    @app.job(id="welcome")
    async def welcome(payload: NewUser, io: JobIO) -> None:
        await io.send_event("welcomed", Welcomed(payload.user_id))

    @app.job(id="audit")
    def audit(payload: NewUser | UserLeft, ctx: Context) -> None:
        seen.append((ctx.event.name, payload))

    @app.job(id="greet")
    def greet(payload: Welcomed, io: SyncJobIO) -> str:
        io.send_events("again", [Event.of(UserLeft(payload.user_id), id=f"left-{payload.user_id}")])
        return payload.user_id

    @app.job(id="pro", trigger=event_trigger(NewUser, filter={"plan": ["pro"]}))
    def pro(payload: NewUser) -> str:
        return payload.plan

    async with AsyncClient(kit.url, namespace=kit.namespace) as client:
        await client.send_events([NewUser("u", "pro"), Event.of(NewUser("v"), id="v"), {"name": "other"}])
    runs = await kit.run(app)
    assert sorted(seen, key=repr) == [
        ("new.user", NewUser("u", "pro")), ("new.user", NewUser("v")),
        ("user.left", UserLeft("u")), ("user.left", UserLeft("v")),
    ]  # fmt: skip
    assert runs["pro"].output == "pro"
    assert sorted(run.output for run in runs.of("greet")) == ["u", "v"]
    (left,) = kit.assert_sent(UserLeft, id="left-u", times=1)
    assert left.payload_as(UserLeft) == UserLeft("u")


def test_a_wrong_typed_event_reaches_no_server(headrace_sync: Headrace) -> None:
    """The send says where it is wrong; nothing of its call was sent."""
    headrace_sync.client.send_event(NewUser("u"))
    with pytest.raises(InvalidEvent, match=r"events\[1\]\.payload: does not fit NewUser: .* at `payload\.user_id`"):
        headrace_sync.client.send_events([NewUser("v"), NewUser(5)])  # type: ignore[arg-type]
    assert len(headrace_sync.assert_sent(NewUser, user_id="u", payload=NewUser("u"))) == 1
    with pytest.raises(AssertionError, match=r"event 'new\.user', plan='pro' was to be sent .*\n  new\.user"):
        headrace_sync.assert_sent(NewUser, plan="pro")
    assert [event.name for event in headrace_sync.sent(NewUser)] == ["new.user"]
