"""The events to which a job subscribes. Pure: a trigger is data that is checked at its definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headrace.formats.outgoing import MAX_TEXT
from headrace.model.typed import TypedEvent, event_name_of, unnamed
from headrace.model.values import decode_value, encode
from headrace_worker.app.filters import compile_filter
from headrace_worker.errors import DefinitionError


class Trigger(msgspec.Struct, frozen=True):
    """The events that a job subscribes to: with one of the names, from one of the sources, passing both filters.

    Attributes:
        names: exact, case-sensitive.
        sources: exact; empty for any source.
        types: the classes of the typed events among them.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...] = ()
    filter: dict[str, Any] | None = None
    context_filter: dict[str, Any] | None = None
    types: tuple[Any, ...] = ()


def event_trigger(
    *names: str | type[TypedEvent] | Iterable[str | type[TypedEvent]],
    source: str | Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - the name that Trigger.dev v2 gave it
    context_filter: Mapping[str, Any] | None = None,
) -> Trigger:
    """Return a trigger for events by name, source, and filters on their payload and context.

    Args:
        names: names, or classes of typed events, which stand for theirs; an event has to have one of them.
        source: one source or several; None for any.
        filter: the filter that the payload must pass, in the language of event filters.
        context_filter: the same for the context.

    Raises:
        DefinitionError: a name or source that no event can have.
        FilterError: a filter that breaks a rule of the language; the error gives the path.
    """
    given = [each for name in names for each in _several(name)]
    return Trigger(
        names=_texts("name", [event_name_of(each) or each for each in given]),
        sources=() if source is None else _texts("source", source),
        filter=_checked(filter, "filter"),
        context_filter=_checked(context_filter, "context_filter"),
        types=tuple(dict.fromkeys(each for each in given if isinstance(each, type))),
    )


def _several(given: Any) -> Iterable[Any]:
    is_one = isinstance(given, str | bytes | type | Mapping) or not isinstance(given, Iterable)
    return (given,) if is_one else given


def _checked(given: Mapping[str, Any] | None, at: str) -> dict[str, Any] | None:
    """Return the filter as it is stored: plain data, which later changes of `given` do not touch."""
    if given is None:
        return None
    compile_filter(given, at=at)
    plain: dict[str, Any] = decode_value(encode(given))
    return plain


def _texts(field: str, given: object) -> tuple[str, ...]:
    found = [_text(field, value) for value in _several(given)]
    if not found:
        raise DefinitionError(f"event_trigger: {field} is empty; give at least one")
    return tuple(dict.fromkeys(found))


def _text(field: str, value: object) -> str:
    if value == "":
        raise DefinitionError(f"event_trigger: {field} is empty; give one that events have, such as 'order.placed'")
    if isinstance(value, type):
        raise DefinitionError(f"event_trigger: the class {value.__name__} names no event: {unnamed(value)}")
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise DefinitionError(f"event_trigger: {field} {value!r} must be a string of 1 to {MAX_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise DefinitionError(
            f"event_trigger: {field} {value!r} has a lone surrogate, which no event can have"
        ) from exc
    return str.__str__(value)  # a member of an enumeration counts as its text
