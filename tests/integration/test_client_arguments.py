"""Whatever a caller passes to a client, the error is one of Headrace's and names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from headrace import Client, Event, HeadraceError, InvalidArgument, InvalidEvent, Retention, SendOptions, ServerError
from tests.support.clients import Kind, open_client

ODD: list[Any] = [
    None, b"x", 1, -1, 0, 10**400, 1.5, math.nan, math.inf, -math.inf, "", "x", "a\0b", "\ud800", "x" * 5_000, [], {},
    object(), datetime(1, 1, 1), datetime(9999, 12, 31), datetime.min.replace(tzinfo=UTC),  # noqa: DTZ001
    datetime.max.replace(tzinfo=UTC),
    datetime(9999, 12, 30, tzinfo=timezone(timedelta(hours=-14))), timedelta.max, timedelta.min, timedelta(0),
    Decimal(1), True, {"name": "x"}, Event("x"), len, type, (1, 2), {1}, "e:a/b", "1-1", "1-1~5", "9" * 30 + "-1",
]  # fmt: skip


def is_odd_wait(value: object) -> bool:
    """Return whether a value is no time to wait, or a short one."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0


def calls(client: Any, odd: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield a call for each argument of each method, with an odd value in its place."""
    event = Event("x")
    for name in ("get_event", "get_run", "cancel_event", "retry_run", "get_dead_letter", "send_event", "send_events"):
        yield name, partial(getattr(client, name), odd)
    for name in ("job", "status", "cursor", "limit"):
        yield f"list_runs {name}", partial(client.list_runs, **{name: odd})
    yield "timeout", partial(client.has_workers, timeout=odd)
    for name in ("cursor", "limit"):
        yield f"list_dead_letters {name}", partial(client.list_dead_letters, **{name: odd})
    for name in Event.__struct_fields__:
        yield f"event {name}", partial(client.send_event, {"name": "x", name: odd})
    for name in ("deliver_at", "deliver_after", "account_id", "wait_replicas", "ordering_key", "dedupe_for"):
        yield f"send {name}", partial(client.send_event, event, **{name: odd})
    yield "wait_replicas_timeout", partial(client.send_event, event, wait_replicas=1, wait_replicas_timeout=odd)
    yield "several", partial(client.send_events, [event, odd])
    yield "a pair", partial(client.send_events, [(event, odd)])
    for name in SendOptions.__struct_fields__:
        yield f"own {name}", partial(client.send_events, [(event, SendOptions(**{name: odd}))])
    yield "wait", partial(client.wait_for_event, odd, 0)
    yield "wait for none", partial(client.wait_for_event, "nothing", odd)
    if is_odd_wait(odd):
        yield "wait for one", partial(client.wait_for_event, "known", odd)


def error_of(call: Callable[[], object]) -> HeadraceError | None:
    """The error of Headrace's that a call raises; any other fails the test."""
    try:
        call()
    except HeadraceError as exc:
        return exc
    return None


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.leaves_records
def test_odd_arguments_are_errors_of_headraces_own(kind: Kind, partitions: int, url: str, namespace: str) -> None:
    """None of redis-py, of msgspec, or of Python."""
    with open_client(kind, url, namespace=namespace, partitions=partitions, attempts=1) as client:
        client.send_event(Event("a", id="known"), deliver_after=60)
        for odd in ODD:
            for what, call in calls(client, odd):
                try:
                    error_of(call)
                except Exception as exc:
                    raise AssertionError(f"{what} with {odd!r:.60}: {exc!r}") from exc


@pytest.mark.parametrize(
    "name", ["namespace", "partitions", "retention", "max_event_bytes", "attempts", "timeout", "codec"]
)
def test_odd_settings_are_refused_by_name(name: str) -> None:
    """Or taken, where they are none."""
    for odd in ODD:
        settings: dict[str, Any] = {name: odd}
        error = error_of(lambda settings=settings: Client("redis://127.0.0.1:1", **settings))  # type: ignore[misc]
        assert error is None or name in str(error)
        assert not isinstance(error, ServerError)


@pytest.mark.parametrize("name", Retention.__struct_fields__)
def test_an_odd_retention_is_refused_by_name(name: str) -> None:
    """It is a number of seconds."""
    for odd in ODD:
        settings: dict[str, Any] = {name: odd}
        error = error_of(lambda settings=settings: Retention(**settings))  # type: ignore[misc]
        assert error is None or name in str(error)


def test_what_is_wrong_is_named(kind: Kind, url: str, namespace: str) -> None:
    """By the argument."""
    wrong: list[tuple[str, Callable[[Any], object]]] = [
        ("job", lambda client: client.list_runs(job=7)),
        ("job", lambda client: client.list_runs(job="welcome")),
        ("status", lambda client: client.list_runs(status=["failed", "done"])),
        ("cursor", lambda client: client.list_runs(cursor=7)),
        ("cursor", lambda client: client.list_dead_letters(cursor=b"1-1")),
        ("limit", lambda client: client.list_dead_letters(limit="1")),
        ("timeout", lambda client: client.wait_for_event("e", None)),
        ("timeout", lambda client: client.get_event("e", timeout="10")),
        ("events", lambda client: client.send_events(None)),
    ]
    with open_client(kind, url, namespace=namespace) as client:
        for field, call in wrong:
            with pytest.raises(InvalidArgument) as caught:
                call(client)
            assert caught.value.field == field


def test_a_wait_for_replicas_is_shorter_than_the_reply_timeout(kind: Kind, url: str, namespace: str) -> None:
    """Where the URL gives a reply less time than the wait takes, that is said, and nothing is sent."""
    with (
        open_client(kind, f"{url}?socket_timeout=1", namespace=namespace) as client,
        pytest.raises(InvalidEvent, match="wait_replicas_timeout: must be less than the 1 s that socket_timeout"),
    ):
        client.send_event(Event("x"), wait_replicas=1, wait_replicas_timeout=2)
