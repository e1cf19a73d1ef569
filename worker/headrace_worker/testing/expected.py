"""What a test expects of sent events, compared with what was sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec

from headrace import EventRecord, InvalidArgument, PayloadError, TypedEvent
from headrace.model.typed import event_name_of

_NONE: Any = object()
_OWN_FIELDS = frozenset({"id", "source", "context", "account_id", "ordering_key", "headers", "payload"})
_MARKS = ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__", "__pydantic_validator__")
"""Of classes whose instances are payloads: an instance is compared with what was sent as one of its class."""
_MOST_SHOWN = 50


class Expected(msgspec.Struct, frozen=True):
    """The name of events, the class to read their payloads as, and the values that they must have."""

    name: str
    kind: Any
    fields: dict[str, Any]

    @classmethod
    def of(cls, event: str | type[TypedEvent] | TypedEvent, fields: Mapping[str, Any]) -> Self:
        """Return what is expected of events with a name, of a class, or with the payload that an instance is.

        Raises:
            InvalidArgument: `event` is none of the three, or no payload of the class has one of the fields.
        """
        if isinstance(event, str):
            return cls(event, None, dict(fields))
        kind = event if isinstance(event, type) else type(event)
        name = event_name_of(kind)
        if name is None:
            raise InvalidArgument("event", f"must be a name, a typed event or the class of one, not {event!r}")
        if event is not kind and "payload" in fields:
            raise InvalidArgument("payload", f"is what is given already, {event!r}; leave one of them out")
        _check_fields(kind, fields)
        return cls(name, kind, dict(fields) if event is kind else {"payload": event, **fields})

    def __str__(self) -> str:
        return f"event {self.name!r}" + "".join(f", {field}={value!r}" for field, value in self.fields.items())

    def is_met_by(self, event: EventRecord) -> bool:
        """Return whether an event is one of those that are expected."""
        if event.name != self.name or not _is_payload(event, self.fields.get("payload", event.payload)):
            return False
        payload = event.payload if self.kind is None else event.payload_as(self.kind)
        others = {field: value for field, value in self.fields.items() if field != "payload"}
        return all(
            bool((getattr(event, field) if field in _OWN_FIELDS else _value_of(payload, field)) == value)
            for field, value in others.items()
        )

    def explain(self, sent: Sequence[EventRecord]) -> str:
        """Return what was sent, and what the test may have meant."""
        return "; ".join([*self._hints(sent), _shown(sent)])

    def _hints(self, sent: Sequence[EventRecord]) -> Iterator[str]:
        for field in sorted(self.fields.keys() & _OWN_FIELDS - {"payload"}):
            for event in sent:
                if event.name == self.name and _value_of(event.payload, field) == self.fields[field]:
                    yield f"`{field}` is the event's own {field}; for the payload's write payload={event.payload!r}"
                    break


def _check_fields(kind: Any, fields: Mapping[str, Any]) -> None:
    """Refuse a field that no payload of a class has: `times=0` would hold whatever was sent."""
    if getattr(kind, "model_config", {}).get("extra") == "allow":
        return
    models = getattr(kind, "model_fields", None)
    known = [each.name for each in msgspec.inspect.type_info(kind).fields] if models is None else list(models)  # type: ignore[attr-defined]
    for field in fields:
        if field not in known and field not in _OWN_FIELDS and not hasattr(kind, field):
            raise InvalidArgument(
                field, f"{kind.__name__} has no such field; fields of {kind.__name__}: {', '.join(known)}"
            )


def _is_payload(event: EventRecord, value: object) -> bool:
    """Return whether a value is an event's payload: as it was read, or read as one of the value's class."""
    if event.payload == value:
        return True
    if not any(hasattr(type(value), mark) for mark in _MARKS):
        return False
    try:
        return bool(event.payload_as(type(value)) == value)
    except PayloadError:
        return False


def _value_of(payload: Any, field: str) -> Any:
    return payload.get(field, _NONE) if isinstance(payload, Mapping) else getattr(payload, field, _NONE)


def _shown(events: Sequence[EventRecord]) -> str:
    if not events:
        return "nothing was sent"
    more = f"\n  and {len(events) - _MOST_SHOWN} more" if len(events) > _MOST_SHOWN else ""
    return "sent were:" + "".join(f"\n  {each.name} {each.payload!r}" for each in events[:_MOST_SHOWN]) + more
