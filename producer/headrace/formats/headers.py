"""The headers of events, checked as they are given: texts by their names, which travel beside the payload. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.errors import InvalidEvent

MAX_HEADERS_BYTES = 4_096

MadeHeaders = Callable[[], Mapping[str, str]]


def merge_headers(
    common: Mapping[str, str] | None, own: object, index: int | None = None, *, field: str = "headers"
) -> dict[str, str]:
    """Return headers with an event's own among them, which go before those of the same name; raise InvalidEvent.

    Args:
        common: headers that are checked already.
        index: the place of the event in its call; None if it has no number.
        field: what the error calls them.
    """
    headers = dict(common or {})
    for key, value in _pairs(own, index, field):
        if not isinstance(key, str):
            raise InvalidEvent(field, f"has the key {key!r}, which is no string", index)
        if not isinstance(value, str):
            raise InvalidEvent(f"{field}.{key}", f"must be a string, not {type(value).__name__}", index)
        headers[str.__str__(key)] = str.__str__(value)
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in headers.items())
    except UnicodeEncodeError as exc:
        raise InvalidEvent(field, f"has a lone surrogate, which UTF-8 can't carry: {exc}", index) from exc
    if size > MAX_HEADERS_BYTES:
        reason = f"has {size:,} bytes, more than the {MAX_HEADERS_BYTES:,} that all headers of an event may have"
        raise InvalidEvent(field, reason, index)
    return headers


def headers_now(headers: dict[str, str] | MadeHeaders) -> dict[str, str]:
    """Return the headers of a client; raise InvalidEvent where its function makes none, which names them."""
    if not callable(headers):
        return headers
    try:
        made = headers()
    except Exception as exc:
        raise InvalidEvent("client.headers", f"could not be made: {type(exc).__name__}: {exc}") from exc
    return merge_headers(None, made, field="client.headers")


def _pairs(given: object, index: int | None, field: str) -> list[tuple[Any, Any]]:
    if not isinstance(given, Mapping):
        raise InvalidEvent(field, f"must be a mapping of strings, not {type(given).__name__}", index)
    try:
        return list(given.items())
    except Exception as exc:  # a mapping's own code may raise anything
        raise InvalidEvent(field, f"can't be read: {type(exc).__name__}: {exc}", index) from exc
