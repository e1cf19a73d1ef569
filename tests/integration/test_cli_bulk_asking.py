"""What a command on many is asked, and answers: by IDs or by filters, on a terminal or off one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from headrace import Client, Event
from headrace.calls.call import Call
from headrace_worker import App, event_trigger
from tests.apps.everyday import app
from tests.support.commands import Headrace, document, fails
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

Settle = Callable[[], Any]


async def _some_of_all(client: Client, settle: Settle) -> dict[str, str]:
    """Have something for each command; return its id."""
    client.send_events([Event("fail", "no", id="fail"), Event("nobody asks for it", id="echo")])
    await settle()
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    (letter,) = client.list_dead_letters().items
    run = "fail:everyday/fail"
    return {
        "dead retry": letter.id, "dead discard": letter.id, "runs retry": run, "runs cancel": run,
        "events cancel": "later", "events replay": "echo",
    }  # fmt: skip


def _state(client: Client) -> object:
    return (
        [letter.id for letter in client.iter_dead_letters()],
        [(event.id, event.status, [run.status for run in event.runs]) for event in client.iter_events()],
        client.list_audit().items,
    )


async def test_ids_are_tried_and_bounded_as_filters_are(headrace: Headrace, client: Client, settle: Settle) -> None:
    """`--dry-run` does nothing, whatever was named; more IDs than `--max` are refused."""
    ids = await _some_of_all(client, settle)
    before = _state(client)
    for verb, each in ids.items():
        if verb == "runs cancel":
            continue  # it has finished, so there is nothing to cancel
        dry = headrace(*verb.split(), each, "--dry-run")
        assert (dry.exit_code, dry.stdout) == (0, f"{each}\n")
        assert dry.stderr.startswith("1 ")
        assert dry.stderr.endswith("; nothing was done\n")
        as_json = document(headrace(*verb.split(), each, "--dry-run", "--json"))
        assert as_json == {"count": 1, "failed": 0, "more": False, "first": [each], "remembered_since": None}
        many = headrace(*verb.split(), each, f"{each}-2", "--max", "1")
        assert many.exit_code == 2
        assert "2 IDs are more than --max 1" in many.stderr
        both = headrace(*verb.split(), each, "--all")
        assert both.exit_code == 2
        assert "give either IDs, or filters, or --all" in both.stderr
    assert _state(client) == before
    client.cancel_event("later")


async def test_lines_of_json_have_one_shape(headrace: Headrace, client: Client, settle: Settle) -> None:
    """A line for each id, also for one alone, and a last one, whatever became of it."""
    ids = await _some_of_all(client, settle)
    shapes: dict[str, tuple[bool, str | None, dict[str, str | None]]] = {
        "runs cancel": (False, None, {}), "events cancel": (True, "canceled", {}),
        "events replay": (True, "sent", {"replay": "echo~r1"}),
        "dead discard": (True, "discarded", {}), "runs retry": (True, "queued", {}),
        "dead retry": (False, None, {"run": None}),
    }  # fmt: skip
    for verb, (ok, result, facts) in shapes.items():
        line, end = map(json.loads, headrace(*verb.split(), ids[verb], "--json").stdout.splitlines())
        error = line.pop("error")
        assert (error is None) == ok
        assert line == {"id": ids[verb], "ok": ok, "result": result} | facts
        assert end == {
            "done": int(ok),
            "failed": int(not ok),
            "left_out": 0,
            "left": 0,
            "more": False,
            "cursor": None,
            "remembered_since": None,
        }
    await settle()


async def test_a_cancellation_says_what_it_has_come_to(headrace: Headrace, client: Client, host: WorkerHost) -> None:
    """`asked` is told from `canceled`, in JSON too."""
    async with host.working(app):
        client.send_event(Event("nap", 60, id="n"))
        await await_until(lambda: client.get_event("n").runs and client.get_run("n:everyday/nap").status == "executing")
        line, _ = map(json.loads, headrace("runs", "cancel", "n:everyday/nap", "--json").stdout.splitlines())
    assert (line["ok"], line["result"]) == (True, "asked")


def test_a_yes_is_one_word(headrace: Headrace, client: Client) -> None:
    """`--yes` never takes the next word for a name, nor is any other value a yes."""
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    for wrong in ("--yes=no", "--yes=", f"--yes={client.partitions.namespace}"):
        refused = headrace("events", "cancel", "--name", "later", wrong)
        assert refused.exit_code == 2
        assert f"say --yes, not {wrong}; nothing was done" in refused.stderr
    named = headrace("dead", "discard", "--all", "--yes=other")
    assert named.exit_code == 2
    assert f"say --yes={client.partitions.namespace}, not --yes=other" in named.stderr
    assert client.get_event("later").status == "delayed"
    assert headrace("events", "cancel", "--yes", "later").stdout == "later canceled\n"
    headrace("events", "cancel", "--reason", "--yes", "later")
    assert client.list_audit(limit=1).items[0].reason == "--yes", "it is that option's value"
    assert "--yes[=NAME]" in headrace("events", "cancel", "--help").stdout


def test_a_question_names_one_as_one(headrace: Headrace, client: Client) -> None:
    """And says what is asked for beside the filter."""
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    asked = headrace("events", "cancel", "--name", "later", "--runs").stderr
    assert f"events cancel: 1 event of namespace {client.partitions.namespace!r} (name later, runs true)" in asked
    assert "(all, runs true): nothing was done" in headrace("events", "cancel", "--all", "--runs").stderr
    client.cancel_event("later")


def test_a_queue_that_is_none_is_not_purged(headrace: Headrace) -> None:
    """It was misspelt."""
    fails(headrace("queues", "purge", "shop/tow", "--yes=shop/tow"), 1, "no queue", "shop/tow")
    fails(headrace("queues", "purge", "shop/tow", "--dry-run"), 1, "no queue", "shop/tow")


@pytest.mark.parametrize(("typed", "exit_code"), [(b"n\n", 2), (b"y\n", 0)], ids=["n", "y"])
def test_an_answer_on_a_terminal(url: str, namespace: str, client: Client, typed: bytes, exit_code: int) -> None:
    """No is no; the line says so, and nothing of usage."""
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    shown, code = _answer(url, namespace, typed, "events", "cancel", "--name", "later")
    assert code == exit_code, shown
    assert (client.get_event("later").status == "canceled") == (exit_code == 0)
    assert ("nothing was done" in shown) == (exit_code != 0)
    assert not {"Usage", "Aborted", "--help"} & set(shown.replace("!", " ").split())
    client.cancel_event("later")


def test_a_name_is_typed_on_a_terminal(url: str, namespace: str, client: Client) -> None:
    """Another one is a no."""
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    client._transport.run([Call(("XADD", client.partitions.first.dead, "*", "run", "x:a/b", "reason", "failed"), str)])
    shown, code = _answer(url, namespace, b"other\n", "dead", "discard", "--all")
    assert (code, "that is not the name; nothing was done" in shown) == (2, True)
    assert len(list(client.iter_dead_letters())) == 1
    assert _answer(url, namespace, f"{namespace}\n".encode(), "dead", "discard", "--all")[1] == 0
    assert list(client.iter_dead_letters()) == []
    client.cancel_event("later")


def _answer(url: str, namespace: str, typed: bytes, *args: str) -> tuple[str, int]:
    """Type an answer to what a command asks on its terminal; return what it shows, and its exit code."""
    command = [sys.executable, "-m", "tests.support.terminal", *args, "--url", url, "--namespace", namespace]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        while not shown.rstrip().endswith(b":"):
            read = os.read(process.stdout.fileno(), 65_536)
            assert read, shown
            shown += read
        process.stdin.write(typed)
        process.stdin.flush()
        shown += process.stdout.read()
    return shown.decode(), process.returncode


def test_an_id_that_is_named_twice_counts_once(headrace: Headrace, client: Client) -> None:
    """The first is kept; neither --max nor the audit counts the other."""
    client.send_events([Event("later", id=each) for each in ("a", "b")], deliver_after=3_600)
    done = headrace("events", "cancel", "b", "a", "b", "--max", "2", "--json")
    *lines, end = map(json.loads, done.stdout.splitlines())
    assert ([line["id"] for line in lines], end["done"], end["failed"]) == (["b", "a"], 2, 0)
    (entry,) = client.list_audit().items
    assert (entry.asked, entry.done) == ({"ids": ["b", "a"]}, 2)


async def test_a_letter_and_its_run_count_once(headrace: Headrace, client: Client, settle: Settle) -> None:
    """Both name one run, which is retried once."""
    ids = await _some_of_all(client, settle)
    letter, run = ids["dead retry"], ids["runs retry"]
    assert document(headrace("dead", "retry", letter, run, "--dry-run", "--json"))["first"] == [letter]
    done = headrace("dead", "retry", run, letter, "--json")
    *lines, end = map(json.loads, done.stdout.splitlines())
    assert ([line["id"] for line in lines], end["done"], end["failed"]) == ([run], 1, 0)
    client.cancel_event("later")
    await settle()


UNKNOWN = [
    ("runs cancel", "x:everyday/echo"), ("runs retry", "x:everyday/echo"), ("dead retry", "x:everyday/echo"),
    ("dead retry", "1764000000000-0"), ("dead discard", "1764000000000-0"), ("events cancel", "x"),
    ("events replay", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "each"), UNKNOWN)
async def test_a_dry_run_says_which_ids_are_unknown(
    headrace: Headrace, client: Client, settle: Settle, verb: str, each: str
) -> None:
    """In the words of the act, and with its exit code; the others are counted."""
    known = (await _some_of_all(client, settle))["runs retry" if verb == "runs cancel" else verb]
    if verb == "runs cancel":
        client.retry_run(known)
    dry = headrace(*verb.split(), known, each, "--dry-run")
    assert (dry.exit_code, dry.stdout) == (1, f"{known}\n")
    why, end = dry.stderr.splitlines()
    assert end.endswith(", 1 would fail; nothing was done")
    assert document(headrace(*verb.split(), known, each, "--dry-run", "--json")) == {
        "count": 1, "failed": 1, "more": False, "first": [known], "remembered_since": None,
    }  # fmt: skip
    act = headrace(*verb.split(), each)
    assert (act.exit_code, act.stderr) == (1, f"{why}\n")
    client.cancel_event("later")
    await settle()


async def test_a_dry_run_says_what_can_not_be_done(headrace: Headrace, client: Client, settle: Settle) -> None:
    """What has finished is not canceled, nor what was delivered; what has succeeded is not retried."""
    client.send_events([Event("echo", id="done"), Event("echo", id="off")])
    await settle()
    for verb, each in (
        ("runs cancel", "done:everyday/echo"), ("events cancel", "done"), ("runs retry", "done:everyday/echo"),
    ):  # fmt: skip
        dry = headrace(*verb.split(), each, "--dry-run")
        assert (dry.exit_code, dry.stdout) == (1, "")
        assert headrace(*verb.split(), each).stderr == dry.stderr.splitlines(keepends=True)[0]
    assert headrace("events", "cancel", "done", "--runs", "--dry-run").exit_code == 0


async def test_a_function_that_goes_on_is_told_from_a_failure(
    headrace: Headrace, client: Client, host: WorkerHost
) -> None:
    """Its run is canceled all the same; the exit code says that it has not ended."""
    stubborn = App("stubborn", version="1")
    may_end = asyncio.Event()

    @stubborn.job(id="go", trigger=event_trigger("go"))
    async def go_on() -> None:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    def is_executing(event_id: str) -> bool:
        return [run.status for run in client.get_event(event_id).runs] == ["executing"]

    command = ("runs", "cancel", "--job", "stubborn/go", "--wait", "0.1", "--yes")
    async with host.working(stubborn):
        try:
            client.send_event(Event("go", id="d1"))
            await await_until(lambda: is_executing("d1"))
            said = headrace(*command, "--json")
            client.send_event(Event("go", id="d2"))
            await await_until(lambda: is_executing("d2"))
            end_line = headrace(*command).stderr.splitlines()[-1]
        finally:
            may_end.set()
    line, end = map(json.loads, said.stdout.splitlines())
    assert (line["ok"], line["result"], end["failed"], said.exit_code) == (False, "asked", 1, 1)
    assert "is canceled, but its function has not ended" in line["error"]
    assert end_line == "runs cancel: 0 done, 1 failed (1 canceled, and still executing), 0 left"
    assert client.get_run("d1:stubborn/go").status == "canceled"


async def test_canceled_runs_are_retried_by_filters(headrace: Headrace, client: Client, settle: Settle) -> None:
    """With `--canceled`, beside those that failed; by its ID the refusal names that option."""
    client.send_event(Event("fail", "no", id="failed"))
    await settle()
    client.send_event(Event("fail", "no", id="off"))
    await settle()
    client.retry_run("off:everyday/fail")
    client.cancel_run("off:everyday/fail")
    for more in ((), ("--dry-run",)):
        refused = headrace("runs", "retry", "off:everyday/fail", *more)
        assert refused.exit_code == 1
        assert "give --canceled" in refused.stderr
    command = ("runs", "retry", "--job", "everyday/fail", "--dry-run")
    assert headrace(*command).stdout == "failed:everyday/fail\n"
    assert set(headrace(*command, "--canceled").stdout.splitlines()) == {"failed:everyday/fail", "off:everyday/fail"}
    assert headrace(*command[:-1], "--canceled", "--yes").exit_code == 0
    await settle()
    assert client.get_run("off:everyday/fail").status == "failed"


async def test_a_name_that_nobody_knows_is_refused(headrace: Headrace, settle: Settle) -> None:
    """It was misspelt; nobody takes `0 done` for an answer."""
    await settle()
    for verb in ("cancel", "retry"):
        fails(headrace("runs", verb, "--job", "everyday/ecoh", "--yes"), 1, "no job", "everyday/echo")
        fails(headrace("runs", verb, "--queue", "shop/tow", "--yes"), 1, "no queue", "everyday/default")
        assert headrace("runs", verb, "--job", "everyday/echo", "--yes").exit_code == 0
        noted = headrace("runs", verb, "--event-name", "ecoh", "--yes")
        assert (noted.exit_code, noted.stderr.splitlines()[0]) == (0, "no event of the name ecoh is listed")
    fails(headrace("runs", "cancel", "--worker", "nope", "--yes"), 1, "no worker", "nope")
    noted = headrace("events", "replay", "--name", "ecoh", "--dry-run")
    assert (noted.exit_code, noted.stderr.splitlines()[0]) == (0, "no event of the name ecoh is listed")
