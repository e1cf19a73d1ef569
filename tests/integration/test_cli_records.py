"""`headrace events`, `runs` and `dead` show, list and change what is remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace.lists.merge import entry_rank
from tests.support.commands import Headrace, document, fails
from tests.support.stored import add_run


def test_runs_list_names_what_it_cannot_show(headrace: Headrace, client: Client, redis: redis_py.Redis) -> None:
    """On standard error, beside the table, and with `--json` in the page."""
    event_id = client.send_event(Event("a")).id
    record = client.partitions.first.event(event_id)
    redis.delete(record)
    redis.set(record, "something else", ex=60)
    assert f"{event_id} can't be read: a key of this namespace has a type" in headrace("runs", "list").stderr
    page = json.loads(headrace("runs", "list", "--json").stdout)
    assert (page["runs"], [each["id"] for each in page["damaged"]]) == ([], [event_id])


# Events.


async def test_events_show_prints_what_is_remembered(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """The event, and each of its runs, as JSON with named errors, and as lines for people."""
    client.send_event(Event("fail", "no\x1b[31m luck", id="e1"))
    await settle()
    event = document(headrace("events", "show", "e1", "--json"))
    (run,) = event["runs"]
    assert (event["id"], event["status"], run["job"], run["status"]) == ("e1", "settled", "everyday/fail", "failed")
    assert (run["error"]["type"], run["error"]["message"]) == ("ValueError", "no\x1b[31m luck")
    assert event["delivered_at"].endswith("Z")
    text = headrace("events", "show", "e1").stdout
    assert re.search(r"^name +fail$", text, re.MULTILINE)
    assert re.search(r"^everyday/fail +failed +1 +\S+Z +\S+Z +ValueError: no\\x1b\[31m luck$", text, re.MULTILINE)
    assert text.endswith("\ndispatched to 1 job: everyday/fail\n")
    assert "\x1b" not in text


async def test_events_wait_answers_by_how_the_runs_ended(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """0 when all succeeded, 1 when one did not; both show the event."""
    client.send_events([Event("echo", 1, id="good"), Event("fail", "no", id="bad")])
    await settle()
    good, bad = headrace("events", "wait", "good", "--json"), headrace("events", "wait", "bad", "--json")
    assert (good.exit_code, document(good)["runs"][0]["output"]) == (0, 1)
    assert (bad.exit_code, document(bad)["id"]) == (1, "bad")
    assert bad.stderr == "1 of 1 runs ended without success\n"


@pytest.mark.leaves_records
def test_events_wait_gives_up_after_its_timeout(headrace: Headrace, client: Client) -> None:
    """What has not settled is an error of exit code 1."""
    client.send_event(Event("echo", id="e1"))
    fails(headrace("events", "wait", "e1", "--timeout", "0.05"), 1, "'e1'", "0.05 s")


def test_events_cancel_cancels_what_is_delayed(headrace: Headrace, client: Client) -> None:
    """The record says so."""
    client.send_event(Event("echo", id="e1"), deliver_after=60)
    result = headrace("events", "cancel", "e1", "--json")
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"id": "e1", "ok": True, "result": "canceled", "error": None},
        {"done": 1, "failed": 0, "left_out": 0, "left": 0, "more": False, "cursor": None, "remembered_since": None},
    ]
    assert client.get_event("e1").status == "canceled"


async def test_events_cancel_says_that_it_came_too_late(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """What was delivered before is not canceled: exit code 1."""
    client.send_event(Event("echo", id="e1"))
    await settle()
    result = headrace("events", "cancel", "e1")
    assert (result.exit_code, result.stderr) == (1, "event 'e1' is settled and can't be canceled any more\n")


# Runs and dead letters.


async def test_runs_are_listed_page_by_page(headrace: Headrace, client: Client, settle: Callable[[], Any]) -> None:
    """Job and status choose, a cursor goes on, and each run is on one page."""
    client.send_events([Event("echo", number, id=f"e{number}") for number in range(5)])
    client.send_event(Event("fail", "no", id="bad"))
    await settle()
    first = document(headrace("runs", "list", "--job", "everyday/echo", "--limit", "3", "--json"))
    second = document(
        headrace("runs", "list", "--job", "everyday/echo", "--limit", "3", "--cursor", first["cursor"], "--json")
    )
    ids = [run["id"] for page in (first, second) for run in page["runs"]]
    assert sorted(ids) == [f"e{number}:everyday/echo" for number in range(5)]
    assert second["cursor"] is None
    failed = document(headrace("runs", "list", "--status", "failed", "--json"))
    assert [run["id"] for run in failed["runs"]] == ["bad:everyday/fail"]
    assert [run["event_name"] for run in failed["runs"]] == ["fail"]
    text = headrace("runs", "list", "--limit", "3")
    head, *rows = text.stdout.splitlines()
    assert head.split() == ["RUN", "EVENT", "STATUS", "ATTEMPT", "STARTED", "FINISHED", "ERROR"]
    assert re.fullmatch(r"bad:everyday/fail +fail +failed +1 +\S+Z +\S+Z  ValueError: no", rows[0])
    assert re.fullmatch(r"more: --cursor \S+\n", text.stderr)


async def test_runs_show_prints_output_or_error(headrace: Headrace, client: Client, settle: Callable[[], Any]) -> None:
    """A run has one or the other, and the traceback with the error."""
    client.send_events([Event("echo", {"a": 1}, id="good"), Event("fail", "no", id="bad")])
    await settle()
    assert re.search(r'^output +\{"a":1\}$', headrace("runs", "show", "good:everyday/echo").stdout, re.MULTILINE)
    failed = headrace("runs", "show", "bad:everyday/fail").stdout
    assert re.search(r"^error +ValueError: no$", failed, re.MULTILINE)
    assert "\nTraceback (most recent call last):\n" in failed
    run = document(headrace("runs", "show", "bad:everyday/fail", "--json"))
    assert list(run)[:5] == ["id", "event_id", "job", "status", "attempt"]


async def test_dead_letters_are_listed_shown_and_retried(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """By the id of the letter or of its run, by job, or all; what is retried is queued again and no letter any more."""
    client.send_events([Event("fail", "no", id=f"e{number}") for number in range(4)])
    await settle()
    letters = document(headrace("dead", "list", "--json"))["dead"]
    by_run = {letter["run_id"]: letter["id"] for letter in letters}
    assert sorted(by_run) == [f"e{number}:everyday/fail" for number in range(4)]
    letter = document(headrace("dead", "show", by_run["e0:everyday/fail"], "--json"))
    assert (letter["reason"], letter["error"], letter["job"]) == ("failed", "ValueError: no", "everyday/fail")
    assert re.search(r"^reason +failed$", headrace("dead", "show", letter["id"]).stdout, re.MULTILINE)

    by_id = headrace("dead", "retry", by_run["e0:everyday/fail"], "e1:everyday/fail")
    assert (by_id.exit_code, by_id.stdout) == (0, "e0:everyday/fail queued\ne1:everyday/fail queued\n")
    assert len(document(headrace("dead", "list", "--json"))["dead"]) == 2
    by_job = headrace("dead", "retry", "--job", "everyday/fail", "--json", "--yes")
    *lines, end = map(json.loads, by_job.stdout.splitlines())
    assert lines == [
        {"id": by_run[run], "ok": True, "result": "queued", "error": None, "run": run}
        for run in sorted(("e2:everyday/fail", "e3:everyday/fail"), key=lambda run: entry_rank(by_run[run]))
    ]
    assert end == {
        "done": 2,
        "failed": 0,
        "left_out": 0,
        "left": 0,
        "more": False,
        "cursor": None,
        "remembered_since": None,
    }
    assert headrace("dead", "list").stdout.split() == ["ID", "SINCE", "REASON", "RUN", "ERROR"]
    await settle()
    everything = headrace("dead", "retry", "--all", "--yes")
    assert (everything.exit_code, everything.stdout.count(" queued\n")) == (0, 4)
    await settle()


@pytest.mark.parametrize("command", [("runs", "list"), ("dead", "retry")])
@pytest.mark.parametrize("job", ["welcome", "billing/", "a/b/c", ""])
def test_a_job_is_named_with_its_app(headrace: Headrace, command: tuple[str, str], job: str) -> None:
    """Any other text would find nothing, without an error."""
    result = headrace(*command, "--job", job)
    assert result.exit_code == 2
    assert f"'--job': {job!r} does not name an app and its job, as in billing/welcome" in result.stderr


async def test_retry_all_skips_a_dead_letter_that_cant_be_retried(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """The other runs are queued, a line names this one, and the exit code is 1."""
    client.send_events([Event("fail", "no", id="e1"), Event("echo", id="good")])
    await settle()
    result = headrace("dead", "retry", "nope", "good:everyday/echo", "e1:everyday/fail")
    assert (result.exit_code, result.stdout) == (1, "e1:everyday/fail queued\n")
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["dead", "'good:everyday/echo'"]
    await settle()


def test_a_retry_of_a_canceled_run_names_the_command_for_it(
    headrace: Headrace, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """Each in its own way: a dead letter's run is not retried where it was canceled since."""
    run = add_run(redis, keys, client.send_event(Event("a")).id, "app/job", "c")
    for command, way_out in (
        ("runs retry", "give --canceled to retry it all the same"),
        ("dead retry", "'headrace runs retry --canceled' does it all the same"),
    ):
        refused = headrace(*command.split(), run)
        assert refused.exit_code == 1
        assert refused.stderr == f"run {run!r} is canceled and can't be retried: {way_out}\n"


async def test_a_retry_of_a_job_without_dead_letters_fails(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """A misspelt name must not look like success; the error says which jobs have dead letters."""
    none = headrace("dead", "retry", "--job", "everyday/nonesuch")
    assert (none.exit_code, none.stderr) == (
        1, "Error: there is no dead letter of job 'everyday/nonesuch', nor of any other\n",
    )  # fmt: skip
    client.send_event(Event("fail", "no"))
    await settle()
    other = headrace("dead", "retry", "--job", "everyday/nonesuch")
    assert other.exit_code == 1
    assert other.stderr.endswith("; there are some of everyday/fail\n")


async def test_events_show_says_whether_the_event_is_on_its_way(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """One that waits for a worker, and one that no job wants."""
    client.send_event(Event("nobody asks for it", id="e1"))
    waiting = headrace("events", "show", "e1")
    assert "no worker of this namespace is alive" in waiting.stderr
    await settle()
    assert headrace("events", "show", "e1").stdout.endswith("\nno job got it; 'headrace events explain e1' says why\n")


async def test_a_job_that_is_disabled_is_why_no_job_got_an_event(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """`events show` names the command that says so, and does not say that no trigger matches."""
    await settle()
    headrace("jobs", "disable", "everyday/echo", "--reason", "wrong list")
    client.send_event(Event("echo", id="e1"))
    await settle()
    assert headrace("events", "show", "e1").stdout.endswith("\nno job got it; 'headrace events explain e1' says why\n")
    assert "wrong list" in headrace("events", "explain", "e1").stdout


def test_a_time_in_the_past_delivers_an_event_at_once(headrace: Headrace, client: Client) -> None:
    """`events reschedule` says so; of a time to come it says nothing."""
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    assert headrace("events", "reschedule", "later", "--at", "2999-01-01T00:00:00Z").stderr == ""
    past = headrace("events", "reschedule", "later", "--at", "2001-01-01T00:00:00Z")
    assert (past.exit_code, past.stderr) == (0, "that time is past, so the event is delivered at once\n")
    client.cancel_event("later")
