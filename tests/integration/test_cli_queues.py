"""The commands that pause and limit queues say what is set now, for people and as JSON."""

from __future__ import annotations

import re

import pytest

from headrace import Client
from headrace_worker.operate.app_client import AppClient
from tests.support.commands import Headrace, document, fails
from tests.support.queues import queues_app


@pytest.fixture
def _queue(url: str, namespace: str) -> None:
    """The queue `app/a` is registered."""
    with AppClient(url, namespace=namespace) as registering:
        registering.register_app(queues_app([], "a"))


@pytest.mark.usefixtures("_queue")
def test_a_queue_is_paused_and_goes_on(headrace: Headrace, client: Client) -> None:
    """The line has the time, the document the reason, too."""
    said = headrace("queues", "pause", "app/a", "--reason", "the bank is down").stdout
    assert re.fullmatch(r"queue app/a: paused since [-\dT:.]+Z; limit as declared\n", said)
    again = document(headrace("queues", "pause", "app/a", "--json"))
    assert (again["reason"], again["limit"]) == ("the bank is down", "declared")
    (controls,) = client.list_queue_controls()
    assert again["queue"] == controls.queue == "app/a"
    assert headrace("queues", "resume", "app/a").stdout.startswith("queue app/a: runs start; ")
    assert document(headrace("queues", "resume", "app/a", "--json"))["paused_at"] is None


@pytest.mark.usefixtures("_queue")
def test_a_queue_is_limited(headrace: Headrace, client: Client) -> None:
    """By a number, not at all, or as the code says."""
    assert headrace("queues", "limit", "app/a", "1500").stdout == "queue app/a: runs start; at most 1,500 in flight\n"
    assert document(headrace("queues", "limit", "app/a", "5", "--json"))["limit"] == 5
    assert headrace("queues", "limit", "app/a", "none").stdout == "queue app/a: runs start; no limit\n"
    assert client.list_queue_controls()[0].limit is None
    assert document(headrace("queues", "limit", "app/a", "declared", "--json"))["limit"] == "declared"
    assert client.list_queue_controls() == []


@pytest.mark.usefixtures("_queue")
@pytest.mark.parametrize("limit", ["0", "1.5", "many", ""])
def test_a_bad_limit_is_exit_code_2(headrace: Headrace, limit: str) -> None:
    """Nothing is set."""
    fails(headrace("queues", "limit", "app/a", limit), 2, "whole number from 1", "nor 'none'")


@pytest.mark.usefixtures("_queue")
def test_a_queue_is_shown_with_what_is_set_for_it(headrace: Headrace) -> None:
    """Since when it is paused, why, and its limit; a dash while nothing is set."""
    assert headrace("queues", "list").stdout.splitlines()[1].endswith("-")
    headrace("queues", "pause", "app/a", "--reason", "the bank is down")
    headrace("queues", "limit", "app/a", "5")
    for verb in (["list"], ["show", "app/a"]):
        said = headrace("queues", *verb).stdout
        assert re.search(r"paused since [-\dT:.]+Z \(the bank is down\), limit 5", said)
    controls = document(headrace("queues", "show", "app/a", "--json"))["controls"]
    assert (controls["reason"], controls["limit"]) == ("the bank is down", 5)
    assert controls["paused_at"] is not None


@pytest.mark.usefixtures("_queue")
def test_the_queues_that_there_are_are_named(headrace: Headrace) -> None:
    """A name without its app is the usual mistake."""
    fails(headrace("queues", "pause", "a"), 1, "no queue 'a' in this namespace: there is app/a; name it as APP/QUEUE")
