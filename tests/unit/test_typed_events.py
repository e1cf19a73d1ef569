"""A typed event is declared once: sender, subscription, filter and parser all go by its class."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest

from headrace import Event, EventRecord, InvalidEvent, PayloadError, Sealed, SealedEvent
from headrace.formats.codec import decode_event
from headrace.model.values import decode_value, encode
from headrace.plans.prepare import as_event
from headrace_worker import App, DefinitionError, JobError, event_trigger
from headrace_worker.app.job import Job, JobFunction
from headrace_worker.app.routes import subscriptions_of
from headrace_worker.app.trigger import Trigger
from tests.support.outgoing import prepare_one


class Address(msgspec.Struct, rename="camel"):
    zip_code: str


class NewUser(msgspec.Struct, frozen=True, rename="camel"):
    __event__: ClassVar[str] = "new.user"
    user_id: str
    plan: str = "free"
    addresses: list[Address] = []
    extra: dict[str, int] = {}


@dataclass
class UserLeft:
    __event__: ClassVar[str] = "user.left"
    user_id: str


class Paid(pydantic.BaseModel):
    __event__: ClassVar[str] = "paid"
    amount: int


class OtherUser(msgspec.Struct):
    __event__: ClassVar[str] = "new.user"


class Untyped(msgspec.Struct):
    user_id: str


class Field(msgspec.Struct):
    user_id: str
    __event__: str = "field"


class Number(msgspec.Struct):
    __event__: ClassVar[int] = 5


def _define(function: JobFunction, **options: Any) -> Job:
    app = App("shop")
    app.job(id="job", **options)(function)
    return app.jobs["job"]


def _read(given: Any) -> tuple[str, Any]:
    event = decode_event(prepare_one(given).body)
    return event.n, decode_value(event.p)


@pytest.mark.parametrize(
    ("given", "name", "payload"),
    [
        (NewUser("u"), "new.user", {"userId": "u", "plan": "free", "addresses": [], "extra": {}}),
        (UserLeft("u"), "user.left", {"user_id": "u"}),
        (Paid(amount=3), "paid", {"amount": 3}),
    ],
)
def test_the_name_comes_from_the_class(given: Any, name: str, payload: Any) -> None:
    """Alone, by `Event.of`, and as the payload of an event of that name."""
    assert _read(given) == _read(Event.of(given)) == _read(Event(name, given)) == (name, payload)


def test_event_of_takes_an_event_s_own_fields() -> None:
    """They are those of Event, but for the name; what is left out stays out, so the client's own source counts."""
    of, event = signature(Event.of).parameters, signature(Event).parameters
    assert {name: of[name].default for name in of if name != "payload"} == {
        name: event[name].default for name in event if name not in ("name", "payload")
    }
    assert Event.of(UserLeft("u"), id="1", context={"a": 1}, source="web", headers={"b": "c"}) == Event(
        "user.left", UserLeft("u"), {"a": 1}, "1", None, "web", {"b": "c"}
    )
    with pytest.raises(InvalidEvent, match=r"payload: is no typed event: Untyped has no __event__; write __event__: "):
        Event.of(Untyped("u"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (NewUser(5), r"payload: does not fit NewUser: Expected `str`, got `int` - at `payload.userId`"),  # type: ignore[arg-type]
        (UserLeft(None), r"payload: does not fit UserLeft: Expected `str`, got `None` - at `payload.user_id`"),  # type: ignore[arg-type]
        (Paid.model_construct(amount="x"), r"payload: does not fit Paid: Input should be .* - at `payload.amount`"),
        (Event("other", NewUser("u")), r"name: is 'other', and its payload is a NewUser, of 'new.user' events"),
        (NewUser, r"event: must be an Event, a typed event or a mapping, not the class NewUser"),
        (Untyped("u"), r"event: must be .* a mapping, not Untyped: Untyped has no __event__; write __event__: "),
        (5, r"event: must be an Event, a typed event or a mapping, not int; nothing was sent"),
        (Field("u"), r"not Field: Field\.__event__ is a field; write __event__: ClassVar\[str\]"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_sent(given: Any, said: str) -> None:
    """With the path, for who made it; not as an invalid payload, for who is on call."""
    with pytest.raises(InvalidEvent, match=said):
        prepare_one(given)


def test_a_list_in_place_of_an_event_is_for_send_events() -> None:
    """Unless that was called."""
    with pytest.raises(InvalidEvent, match="a typed event or a mapping, not list; send_events sends several"):
        as_event([NewUser("u")])  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match="a mapping, not list; nothing was sent"):
        prepare_one([])


def _welcome(payload: NewUser) -> None: ...


def _audit(payload: NewUser | UserLeft) -> None: ...


def _bare(payload) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def _untyped(payload: Untyped) -> None: ...


def test_the_annotation_is_the_subscription() -> None:
    """Of one class, of a union, and of `schema=`."""
    assert _define(_welcome).trigger.names == ("new.user",)
    assert _define(_audit).trigger.names == ("new.user", "user.left")
    assert _define(_bare, schema=Paid).trigger.names == ("paid",)


def test_a_union_is_parsed_by_the_event_s_name() -> None:
    """So its classes need no tags, and no other name has a parser."""
    job = _define(_audit)
    raw = msgspec.Raw(encode({"userId": "u", "user_id": "v"}))
    assert job.parsers["new.user"](raw) == NewUser("u")
    assert job.parsers["user.left"](raw) == UserLeft("v")
    assert job.parse is not None
    with pytest.raises(PayloadError, match="none of those"):
        job.parse(raw)


def test_a_trigger_of_classes_gives_a_payload_without_annotation_its_type() -> None:
    """Names beside them are not parsed."""
    job = _define(_bare, trigger=event_trigger(NewUser, "legacy"))
    raw = msgspec.Raw(encode({"userId": "u"}))
    assert job.trigger.names == ("new.user", "legacy")
    assert job.parsers["new.user"](raw) == NewUser("u")
    assert job.parsers["legacy"](raw) == {"userId": "u"}


def test_what_is_stored_of_a_typed_trigger_is_what_its_names_would_store() -> None:
    """So a job's route does not change when its events get types."""
    typed, named = App("shop"), App("shop")
    typed.job(id="job", trigger=event_trigger(NewUser, filter={"plan": ["pro"]}))(_welcome)
    named.job(id="job", trigger=event_trigger("new.user", filter={"plan": ["pro"]}))(_bare)
    assert subscriptions_of(typed) == subscriptions_of(named)


@pytest.mark.parametrize(
    ("function", "trigger", "said"),
    [
        (_untyped, None, "it has no trigger; write trigger=event_trigger"),
        (_welcome, event_trigger(UserLeft), "its trigger is for UserLeft, and its payload is NewUser; name the same"),
        (
            _welcome,
            event_trigger(NewUser, UserLeft),
            "its trigger is for NewUser, UserLeft, and its payload is NewUser",
        ),
        (_welcome, event_trigger("old.user"), "its trigger is for 'old.user', and its payload is NewUser"),
        (_welcome, event_trigger(OtherUser), "its trigger is for OtherUser, and its payload is NewUser"),
        (_untyped, event_trigger(NewUser), "its trigger is for NewUser, and its payload is Untyped"),
    ],
)
def test_a_trigger_and_a_payload_that_disagree_are_refused(
    function: JobFunction, trigger: Trigger | None, said: str
) -> None:
    """When the job is defined, with its name."""
    with pytest.raises(JobError, match=f"job 'job': {said}"):
        _define(function, trigger=trigger)


def test_a_union_is_of_typed_events_of_different_names() -> None:
    """An event's name decides the class."""
    with pytest.raises(JobError, match="a typed event or NoneType; the name of an event decides its type"):
        _define(_bare, schema=NewUser | None)
    with pytest.raises(JobError, match=r"several classes of the event 'new\.user'; keep one of them"):
        _define(_bare, schema=NewUser | OtherUser)


def test_a_class_without_a_name_is_no_event() -> None:
    """The error says what to give it."""
    with pytest.raises(
        DefinitionError, match=r"the class Untyped names no event: Untyped has no __event__; write __event__: ClassVar"
    ):
        event_trigger(Untyped)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Field, r"Field\.__event__ is a field; write __event__: ClassVar\[str\] = "),
        (Number, r"Number\.__event__ is 5, and no text; write __event__: ClassVar\[str\] = "),
    ],
)
def test_an_event_s_name_is_a_class_variable_and_a_text(kind: Any, said: str) -> None:
    """The error says so where the class was to be the subscription."""
    with pytest.raises(JobError, match=f"job 'job': {said}"):
        _define(_bare, schema=kind)
    with pytest.raises(DefinitionError, match=said):
        event_trigger(kind)


@pytest.mark.parametrize(
    "definition",
    [
        {"plan": ["pro"], "userId": [{"$exists": True}]},
        {"addresses": {"zipCode": ["1"]}},
        {"extra": {"any": [1]}},
    ],
)
def test_a_filter_goes_by_the_encoded_names(definition: Any) -> None:
    """Through lists, and into maps, whose keys are free."""
    assert _define(_welcome, trigger=event_trigger(NewUser, filter=definition)).trigger.filter == definition


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"plann": ["pro"]}, r"filter\.plann: no payload has a field 'plann'; did you mean 'plan'\?"),
        ({"user_id": ["u"]}, r"filter\.user_id: .* did you mean 'userId'\?"),
        ({"addresses": {"zip": ["1"]}}, r"filter\.addresses\.zip: .* there are zipCode|did you mean"),
        ({"plan": {"x": ["1"]}}, r"filter\.plan\.x: no payload has anything inside of it, so there is no 'x'"),
        ({"age": [1]}, r"filter\.age: .* there are addresses, extra, plan, userId; a filter goes by the names in the"),
    ],
)
def test_a_filter_on_what_no_payload_has_is_refused(definition: Any, said: str) -> None:
    """It would match nothing, for ever."""
    with pytest.raises(JobError, match=said):
        _define(_welcome, trigger=event_trigger(NewUser, filter=definition))


def test_a_filter_may_name_what_one_of_several_events_has() -> None:
    """Pydantic's models and dataclasses, too. A plain type may be what a job reads of a larger payload."""
    _define(_audit, trigger=event_trigger(NewUser, UserLeft, filter={"plan": ["pro"]}))
    _define(_bare, trigger=event_trigger(Paid, filter={"amount": [{"$gt": 1}]}))
    with pytest.raises(JobError, match=r"filter\.sum: .* there are amount"):
        _define(_bare, trigger=event_trigger(Paid, filter={"sum": [1]}))
    _define(_untyped, trigger=event_trigger("x", filter={"plan": ["pro"]}))
    _define(_bare, trigger=event_trigger(Paid, "x", filter={"plan": ["pro"]}))


def _record(payload: Any) -> EventRecord:
    return msgspec.convert(
        {
            "id": "1", "name": "new.user", "payload": payload, "context": None, "timestamp": "2026-01-01T00:00:00Z",
            "source": "web", "account_id": None, "status": "pending", "deliver_at": None, "delivered_at": None,
            "canceled_at": None, "runs": [],
        },
        EventRecord,
    )  # fmt: skip


def test_a_record_gives_its_payload_as_a_type() -> None:
    """A typed event's class, or any other type."""
    record = _record({"userId": "u"})
    assert record.payload_as(NewUser) == NewUser("u")
    assert record.payload_as(dict[str, str]) == {"userId": "u"}
    with pytest.raises(PayloadError, match=r"missing required field `user_id` - at `payload`"):
        record.payload_as(UserLeft)
    with pytest.raises(SealedEvent, match="no key"):
        msgspec.structs.replace(record, payload=Sealed(b"", "no key")).payload_as(NewUser)
