"""Typed events: a payload whose class carries the name of its events, in `__event__`. Pure."""

from __future__ import annotations

from typing import ClassVar, Protocol


class TypedEvent(Protocol):
    """The payload of one kind of event, as a Struct, a dataclass, an attrs class or a model of pydantic.

    `__event__` is the events' name: a send takes it from there, and a job whose `payload` has the class as its
    annotation subscribes to it.
    """

    __event__: ClassVar[str]


def unnamed(kind: type) -> str:
    """Return why a class is no typed event's, and what to write."""
    found = getattr(kind, "__event__", None)
    if found is None:
        return f'{kind.__name__} has no __event__; write __event__: ClassVar[str] = "…" into it'
    is_field = "__event__" in getattr(kind, "__struct_fields__", ())
    what = "a field" if is_field else f"{found!r}, and no text"
    return f'{kind.__name__}.__event__ is {what}; write __event__: ClassVar[str] = "…"'


def event_name_of(kind: object) -> str | None:
    """Return the name of the events of which a class is the payload; None for any other class."""
    name = getattr(kind, "__event__", None)
    return name if isinstance(kind, type) and isinstance(name, str) else None
