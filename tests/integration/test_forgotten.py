"""Commands find what the index of what was sent has forgotten where it still stands, or say that they do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.calls import indexing
from headrace.formats.keys import Keys
from headrace.model.page import Page
from headrace_worker.operate.bulk import Times
from headrace_worker.operate.open_events import OpenEvents
from headrace_worker.terminal.output import shown
from tests.support.commands import Headrace, document
from tests.support.waiting import wait_until

Settle = Callable[[], Any]
KEPT = 20
MANY = 130


@pytest.fixture(autouse=True)
def short_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "INDEX_ENTRIES", KEPT)


@pytest.fixture
def crowd(client: Client, redis: redis_py.Redis, keys: Keys) -> Iterator[Callable[[], object]]:
    """Return what sends so many events that the index forgets those before; they are delayed, and canceled at last."""

    def send() -> None:
        for _ in range(MANY):
            client.send_event(Event("crowd"), deliver_after=7_200)
        redis.xtrim(keys.recent, maxlen=KEPT, approximate=False)  # as the leader does

    yield send
    for event in client.iter_events(state="delayed"):
        client.cancel_event(event.id)


def delay(client: Client, names: list[str]) -> None:
    client.send_events([Event("later", id=name, source="shop") for name in names], deliver_after=3_600)


@pytest.mark.parametrize("more", [(), ("--runs",)], ids=["alone", "with runs"])
@pytest.mark.parametrize("given", [("--name", "later"), ("--source", "shop")], ids=" ".join)
def test_every_delayed_event_is_canceled(
    headrace: Headrace, client: Client, crowd: Callable[[], object], given: tuple[str, ...], more: tuple[str, ...]
) -> None:
    """Also those that were sent long ago, each once."""
    names = [f"l{number:02}" for number in range(70)]
    delay(client, names)
    crowd()
    assert document(headrace("events", "list", *given, "--json"))["events"] == []
    *lines, end = map(json.loads, headrace("events", "cancel", *given, *more, "--yes", "--json").stdout.splitlines())
    assert sorted(line["id"] for line in lines) == names
    assert (end["done"], end["left"], end["cursor"]) == (70, 0, None)
    assert (end["remembered_since"] is None) == (not more), "delivered ones may be forgotten"
    assert {event.name for event in client.iter_events(state="delayed")} == {"crowd"}


def test_delayed_events_that_are_narrowed_by_time_are_those_remembered(
    headrace: Headrace, client: Client, crowd: Callable[[], object]
) -> None:
    """Only the index knows when they were sent; the command says how far it goes back."""
    delay(client, ["l0"])
    crowd()
    delay(client, ["l1"])
    given = headrace("events", "cancel", "--name", "later", "--since", "1h", "--yes")
    assert (given.exit_code, given.stdout) == (0, "l1 canceled\n")
    assert "older ones are found by their ids alone" in given.stderr
    assert client.get_event("l0").status == "delayed"


async def test_replays_and_lists_say_since_when_events_are_listed(
    headrace: Headrace, client: Client, settle: Settle, crowd: Callable[[], object]
) -> None:
    """As the list of events and a dry run do; not of what was sent since."""
    client.send_event(Event("echo", id="old"))
    await settle()
    crowd()
    since = client.list_events().searched.remembered_since
    said = f"events are listed since {shown(since)}; older ones are found by their ids alone ('headrace index')\n"
    given = ("events", "replay", "--name", "echo", "--since", "1h")
    none = "no event of the name echo is listed\n"
    assert headrace(*given, "--yes").stderr == f"{none}{said}events replay: 0 done, 0 failed, 0 left\n"
    assert headrace(*given, "--dry-run").stderr.startswith(none + said)
    for more in (("--yes",), ("--dry-run",)):
        found = document(headrace(*given, *more, "--json"))["remembered_since"]
        assert datetime.fromisoformat(found) == since
    for pages in ((), ("--all",), ("--all", "--json")):
        assert headrace("events", "list", "--name", "echo", *pages).stderr == none + said
    assert headrace("events", "list", "--limit", "2").stderr.startswith("more: ")
    assert headrace("events", "list", "--since", "0s").stderr == ""
    assert headrace("events", "list", "--state", "delayed", "--all").stderr == ""


def test_retries_say_since_when_runs_are_listed(headrace: Headrace, redis: redis_py.Redis, keys: Keys) -> None:
    """As the list of those that settled does."""
    for number in range(KEPT):
        redis.xadd(keys.runs, {f"e{number}:app/job": "f"}, id=f"{60_000 + number}-0")
    said = "runs are listed since 1970-01-01T00:01:00"
    assert headrace("runs", "list", "--status", "failed").stderr.startswith(said)
    assert headrace("runs", "retry", "--status", "failed", "--yes").stderr.startswith(said)
    assert headrace("runs", "cancel", "--status", "queued", "--yes").stderr == "runs cancel: 0 done, 0 failed, 0 left\n"


def test_what_was_sent_after_the_question_is_not_chosen(client: Client, crowd: Callable[[], object]) -> None:
    """While a command goes on; if too much was sent for the index to tell, the events' own times do."""
    delay(client, ["l0"])
    times = Times(client.server_time())
    wait_until(lambda: client.server_time() >= times.asked_at + timedelta(milliseconds=1))
    delay(client, ["l1"])
    reading = OpenEvents(client, {"name": "later"}, runs=False)

    def ids(page: Page[Any]) -> list[str]:
        return [event.id for event in page.items]

    assert ids(reading.read(times, None, 50)) == ["l0"]
    delay(client, ["l2"])
    assert ids(reading.read(times, None, 50)) == ["l0"]
    crowd()
    for each in (reading, OpenEvents(client, {"name": "later"}, runs=False)):
        assert ids(each.read(times, None, 50)) == ["l0"]
