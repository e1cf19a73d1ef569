"""Checks what a list is asked for: each error names the argument at fault. Pure."""

from __future__ import annotations

from datetime import timedelta

from headrace.errors import InvalidArgument
from headrace.formats.codec import to_micros
from headrace.formats.keys import is_name
from headrace.model.moments import MAX_DURATION_S, aware_moment, seconds_of


def check_limit(limit: object) -> None:
    """Raise InvalidArgument for what can be no length of a page."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
        raise InvalidArgument("limit", f"must be 1 to 1000, not {limit!r}")


def bad_cursor(cursor: object) -> InvalidArgument:
    """Return the error for a cursor that no list has returned."""
    return InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")


def check_text(field: str, given: object) -> None:
    """Raise InvalidArgument for what is neither a string nor None."""
    if given is not None and not isinstance(given, str):
        raise InvalidArgument(field, f"must be a string or None, not {given!r}")


def check_job(job: object) -> None:
    """Raise InvalidArgument for what names no job."""
    if job is not None and not (isinstance(job, str) and "/" in job):
        raise InvalidArgument("job", f"must be <app>/<job id> or None, not {job!r}")


def check_queue(queue: object) -> None:
    """Raise InvalidArgument for what names no queue."""
    if queue is not None and not (
        isinstance(queue, str) and queue.count("/") == 1 and all(map(is_name, queue.split("/")))
    ):
        raise InvalidArgument("queue", f"must be <app>/<queue> or None, not {queue!r}")


def millis_of(field: str, given: object) -> int | None:
    """Return a moment in ms since 1970; None for None."""
    if given is None:
        return None
    try:
        return max(to_micros(aware_moment(given)) // 1000, 0)
    except ValueError as exc:
        raise InvalidArgument(field, str(exc)) from exc


def since_id(since: object) -> str:
    """Return the id of the oldest entry that counts; empty for every entry."""
    millis = millis_of("since", since)
    return "" if millis is None else f"{millis}-0"


def until_id(until: object) -> str:
    """Return an entry id behind the newest that counts; empty for every entry."""
    millis = millis_of("until", until)
    return "" if millis is None else f"{millis + 1}-0"


def age_ms(field: str, given: float | timedelta | None) -> int | None:
    """Return an age in ms; None for None."""
    if given is None:
        return None
    age_s = seconds_of(given)
    if age_s is None or not 0 <= age_s <= MAX_DURATION_S:
        raise InvalidArgument(field, f"must be seconds >= 0 or a timedelta, not {given!r}")
    return round(age_s * 1000)
