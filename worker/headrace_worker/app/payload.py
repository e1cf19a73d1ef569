"""The payload of a job: to which events its type subscribes, whether its trigger agrees, and how it is parsed. Pure.

The type is the annotation of `payload`, or `schema=`. If it is a typed event's class, or a union of such classes, it
says to which events the job subscribes, and nothing is left that could disagree with it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace import PayloadError
from headrace.model.schema import Parser, parser_of
from headrace.model.typed import event_name_of, unnamed
from headrace_worker.app import functions
from headrace_worker.app.json_schema import impossible_value, schema_of, unknown_key
from headrace_worker.app.trigger import Trigger, event_trigger
from headrace_worker.errors import JobError

_ANY = (None, Any, object)
"""The types that say nothing of a payload."""


class PayloadRules(msgspec.Struct, frozen=True):
    """What a job's definition says of payloads.

    Attributes:
        trigger: the one given, or the one that the payload's type stands for.
        parse: turns an encoded payload into the function's type; None if there is neither parameter nor schema.
        parsers: the same for events whose names decide the type.
    """

    trigger: Trigger
    parse: Parser | None
    parsers: dict[str, Parser]


def payload_rules(
    job_id: str, function: Callable[..., Any], schema: Any, trigger: Trigger | None, *, is_taken: bool
) -> PayloadRules:
    """Return the rules of a job's payload.

    Args:
        schema: the type of the payload, before its annotation.
        is_taken: the function, or one that it depends on, takes the payload.

    Raises:
        JobError: type and trigger do not agree, there is neither, or nothing can be decoded into the type.
    """
    declared = _annotation(job_id, function) if schema is None else schema
    kinds = _typed_in(job_id, declared)
    if trigger is None:
        if not kinds:
            reason = "it has no trigger; write trigger=event_trigger('…'), or annotate payload with a typed event"
            if isinstance(declared, type) and hasattr(declared, "__event__"):
                reason = unnamed(declared)
            raise JobError(job_id, reason)
        trigger = event_trigger(*kinds)
    _check_agreement(job_id, trigger, declared, kinds)
    kinds = kinds or trigger.types
    trigger = msgspec.structs.replace(trigger, types=tuple(kinds))
    _check_filter(job_id, trigger)
    if schema is None and not is_taken:
        return PayloadRules(trigger, None, {})
    if len(trigger.names) == 1 or not kinds:
        return PayloadRules(trigger, _parser(job_id, kinds[0] if kinds else declared), {})
    parsers = {name: _parser(job_id, None) for name in trigger.names}
    parsers.update({kind.__event__: _parser(job_id, kind) for kind in kinds})
    return PayloadRules(trigger, _refuse, parsers)


def _annotation(job_id: str, function: Callable[..., Any]) -> Any:
    """Return the annotation of `payload`; other parameters' annotations need not exist when the program runs."""
    if "payload" not in (parameters := inspect.signature(function).parameters):
        return None
    try:
        return functions.annotation_of(function, "payload")
    except Exception as exc:  # an annotation is any expression
        raise JobError(
            job_id,
            f"the annotation of payload, {parameters['payload'].annotation!r}, can't be found: {exc}; define the type "
            "at the top of a module, or give it as schema=…",
        ) from exc


def _typed_in(job_id: str, declared: Any) -> Sequence[Any]:
    """Return the classes of typed events that a payload may be; nothing for another type."""
    if typing.get_origin(declared) is typing.Annotated:
        declared = typing.get_args(declared)[0]
    is_union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    parts = typing.get_args(declared) if is_union else (declared,)
    kinds = [part for part in parts if event_name_of(part) is not None]
    if kinds and len(kinds) != len(parts):
        others = ", ".join(_name_of(part) for part in parts if part not in kinds)
        reason = f"its payload is a typed event or {others}; the name of an event decides its type, so make all typed"
        raise JobError(job_id, reason)
    names = [kind.__event__ for kind in kinds]
    for name in names:
        if names.count(name) > 1:
            raise JobError(job_id, f"its payload is one of several classes of the event {name!r}; keep one of them")
    return kinds


def _check_agreement(job_id: str, trigger: Trigger, declared: Any, kinds: Sequence[Any]) -> None:
    """Refuse a payload of typed events other than the trigger's."""
    if declared in _ANY or not (kinds or trigger.types):
        return
    names = {kind.__event__ for kind in kinds}
    if names != set(trigger.names) or not set(trigger.types) <= set(kinds):
        subscribed = ", ".join([kind.__name__ for kind in trigger.types] or map(repr, trigger.names))
        raise JobError(
            job_id,
            f"its trigger is for {subscribed}, and its payload is {_name_of(declared)}; name the same events in both",
        )


def _check_filter(job_id: str, trigger: Trigger) -> None:
    """Refuse a filter with a key that no payload of the trigger's events has, or with values that none has there.

    Only typed events are declared whole. Another type may be what the job reads of a larger payload.
    """
    if not trigger.filter or len(trigger.types) < len(trigger.names):
        return
    try:
        schemas = [schema_of(kind) for kind in trigger.types]
        encoded = [schema_of(kind, mode="serialization") for kind in trigger.types]
    except Exception:  # noqa: BLE001 - a type without a schema: nothing is known of its keys
        return
    if fault := unknown_key(trigger.filter, schemas, "filter"):
        raise JobError(job_id, f"{fault}; a filter goes by the names in the encoded payload")
    if fault := impossible_value(trigger.filter, encoded, "filter"):
        raise JobError(job_id, fault)


def _parser(job_id: str, declared: Any) -> Parser:
    try:
        return parser_of(declared)
    except Exception as exc:  # a type's own code may raise anything
        raise JobError(job_id, f"nothing can be decoded into the payload's type {declared!r}: {exc}") from exc


def _refuse(_raw: msgspec.Raw) -> Any:
    raise PayloadError("the event's name is none of those that the job's payload has a class for - at `payload`")


def _name_of(declared: Any) -> str:
    return declared.__name__ if isinstance(declared, type) else str(declared)
