"""Typed events of each kind of class, as senders and jobs of the pages beside this one use them."""

from dataclasses import dataclass
from typing import ClassVar, assert_type

import attrs
import msgspec
import pydantic

from headrace import Event, TypedEvent
from headrace_worker import event_trigger


class NewUser(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "user.new"
    user_id: str
    plan: str = "free"


class UserLeft(msgspec.Struct):
    __event__: ClassVar[str] = "user.left"
    user_id: str


@dataclass
class OrderPlaced:
    __event__: ClassVar[str] = "order.placed"
    id: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class OrderShipped:
    __event__: ClassVar[str] = "order.shipped"
    id: str


@attrs.define
class CardAdded:
    __event__: ClassVar[str] = "card.added"
    digits: str


@attrs.frozen
class CardRemoved:
    __event__: ClassVar[str] = "card.removed"
    digits: str


class Refunded(pydantic.BaseModel):
    __event__: ClassVar[str] = "refunded"
    id: str


class Nameless(msgspec.Struct):
    user_id: str


class NamedByField(msgspec.Struct):
    __event__: str
    user_id: str


class NamedByNumber(msgspec.Struct):
    __event__: ClassVar[int] = 5


def each_kind_is_one() -> list[TypedEvent]:
    return [
        NewUser("u_1"),
        UserLeft("u_1"),
        OrderPlaced("o_1"),
        OrderShipped("o_1"),
        CardAdded("1234"),
        CardRemoved("1234"),
        Refunded(id="o_1"),
    ]


def each_class_is_one() -> list[type[TypedEvent]]:
    return [NewUser, UserLeft, OrderPlaced, OrderShipped, CardAdded, CardRemoved, Refunded]


def events_of_them() -> None:
    assert_type(Event.of(NewUser("u_1"), id="u_1", context={"by": "support"}, source="shop"), Event)
    Event.of(OrderPlaced("o_1"))
    Event.of(CardAdded("1234"))
    Event.of(Refunded(id="o_1"))


def triggers_of_them() -> None:
    event_trigger(NewUser, UserLeft, OrderPlaced, OrderShipped, CardAdded, CardRemoved, Refunded)
    event_trigger([NewUser, "user.left"])


def mistakes() -> None:
    Event.of(Nameless("u_1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event.of(NamedByField("user.new", "u_1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event.of(NamedByNumber())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event.of(NewUser)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event.of("user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event.of(NewUser("u_1"), "u_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Event()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Event("user.new", identity="u_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Event("user.new").name = "user.left"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event_trigger(Nameless)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
