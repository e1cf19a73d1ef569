"""Commands act on many: what they do is bounded, asked about, can be interrupted, and is noted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from headrace import Client, Event
from headrace.calls.call import Call
from headrace_worker import App
from headrace_worker.cli.root import root
from headrace_worker.logs.logger import flush
from headrace_worker.operate import bulk, pace
from headrace_worker.terminal import asking
from tests.apps.everyday import app
from tests.support.commands import Headrace, document, fails
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

Settle = Callable[[], Any]


async def _dead(client: Client, settle: Settle, count: int, name: str = "fail") -> None:
    client.send_events([Event(name, "no", id=f"{name}{number}") for number in range(count)])
    await settle()


async def _queued(client: Client, host: WorkerHost, count: int) -> list[str]:
    """Runs wait in the queue of an app without workers."""
    await host.settle(app)  # so that its subscriptions are known
    sent = client.send_events([Event("echo", n, id=f"q{n}") for n in range(count)])
    async with host.working(App("other", dispatch_only=True)):
        await await_until(lambda: all(client.get_event(each.id).status == "dispatched" for each in sent))
    await asyncio.to_thread(flush, 5.0)  # or lines of the worker would be among those of the next command
    return [f"{each.id}:everyday/echo" for each in sent]


BULK = [
    ("dead", "retry", "--all"),
    ("dead", "discard", "--all"),
    ("dead", "discard", "--job", "everyday/fail"),
    ("runs", "retry", "--job", "everyday/fail"),
    ("runs", "cancel", "--status", "queued"),
    ("events", "cancel", "--name", "later"),
    ("events", "cancel", "--name", "later", "--runs"),
    ("events", "replay", "--name", "fail"),
    ("queues", "purge", "everyday/default"),
]


def _paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield each command that asks before it acts."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _paths(each, (*path, name))
    elif any("--yes" in parameter.opts for parameter in command.params):
        yield path


def test_each_command_that_asks_is_tried_without_a_yes() -> None:
    """None was forgotten; each takes `--yes` as such commands do, and one shape of JSON."""
    assert {command[:2] for command in BULK} == set(_paths(root))
    for path in _paths(root):
        command: click.Command = root
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        assert isinstance(command, asking.BulkCommand), path


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", BULK, ids=" ".join)
async def test_nothing_is_done_without_a_yes(
    headrace: Headrace, client: Client, settle: Settle, host: WorkerHost, command: tuple[str, ...], *, as_json: bool
) -> None:
    """Off a terminal the exit code is 2 and nothing changes, with --json too; the line names namespace and count."""
    await _dead(client, settle, 2)
    await _queued(client, host, 2)
    client.send_event(Event("later", id="later"), deliver_after=3_600)
    before = _state(client)
    refused = headrace(*command, *(["--json"] if as_json else []))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"namespace {client.partitions.namespace!r}" in refused.stderr
    assert "--yes" in refused.stderr
    dry = headrace(*command, "--dry-run", "--json")
    assert (dry.exit_code, json.loads(dry.stdout)["count"]) == (0, 1 if "later" in command else 2)
    assert _state(client) == before
    client.cancel_event("later")
    await settle()


def _state(client: Client) -> object:
    return (
        [letter.id for letter in client.iter_dead_letters()],
        [(event.id, event.status, event.deliver_at) for event in client.iter_events()],
        [run.status for event in client.iter_events() for run in event.runs],
        client.list_audit().items,
    )


async def test_a_letter_that_comes_after_the_question_stays(
    headrace: Headrace, client: Client, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is chosen is fixed before the question is asked."""
    await _dead(client, settle, 3)
    ask = asking._ask

    def ask_while_one_more_dies(*args: Any) -> None:
        client._transport.run([_one_more_letter(client)])
        ask(*args)

    monkeypatch.setattr(asking, "_ask", ask_while_one_more_dies)
    assert headrace("dead", "discard", "--all", f"--yes={client.partitions.namespace}").exit_code == 0
    assert [letter.run_id for letter in client.iter_dead_letters()] == ["late:everyday/fail"]


def _one_more_letter(client: Client) -> Any:
    return Call(
        ("XADD", client.partitions.first.dead, "*", "run", "late:everyday/fail", "reason", "failed", "error", ""), str
    )


async def test_a_filter_keeps_what_it_does_not_name(headrace: Headrace, client: Client, settle: Settle) -> None:
    """Three of ten are discarded, seven stay; --all wants the namespace's name."""
    await _dead(client, settle, 7)
    client.send_events([Event("fail", "yes", id=f"other{n}") for n in range(3)])
    await settle()
    letters = {letter.run_id: letter for letter in client.iter_dead_letters()}
    until = min(letter.dead_at for run, letter in letters.items() if run and run.startswith("other"))
    done = headrace("dead", "discard", "--since", until.isoformat(), "--yes", "--note", "tidy")
    assert done.exit_code == 0
    left = [str(letter.run_id) for letter in client.iter_dead_letters()]
    assert sorted(left) == [f"fail{number}:everyday/fail" for number in range(7)]
    assert done.stderr == "dead discard: 3 done, 0 failed, 0 left\n"
    discarded = [letter.id for run, letter in letters.items() if run and run.startswith("other")]
    assert sorted(done.stdout.splitlines()) == sorted(f"{each} discarded" for each in discarded)
    assert headrace("dead", "discard", "--all", "--yes").exit_code == 2
    assert len(list(client.iter_dead_letters())) == len(left)
    (entry,) = client.list_audit().items
    assert (entry.verb, entry.reason, entry.via, entry.failed) == ("dead discard", "tidy", "headrace", 0)
    assert (set(entry.asked), entry.done) == ({"since"}, 3)
    assert "@" in entry.who


async def test_at_most_so_many_are_chosen(headrace: Headrace, client: Client, settle: Settle) -> None:
    """There are more: the command says so, and goes on from its cursor."""
    await _dead(client, settle, 5)
    first = headrace("runs", "retry", "--job", "everyday/fail", "--max", "3", "--yes", "--json")
    end = json.loads(first.stdout.splitlines()[-1])
    assert (end["done"], end["left"]) == (3, 0)
    assert "there are more" in first.stderr
    dry = headrace("dead", "discard", "--job", "everyday/fail", "--max", "1", "--dry-run")
    assert "1 or more dead letters" in dry.stderr
    await settle()


async def test_a_queue_is_purged(headrace: Headrace, client: Client, host: WorkerHost, settle: Settle) -> None:
    """Its runs end as canceled, so that their events settle; its name has to be given. Paused or not."""
    runs = await _queued(client, host, 3)
    client.pause_queue("everyday/default")
    assert headrace("queues", "purge", "everyday/default", "--yes").exit_code == 2
    purged = headrace("queues", "purge", "everyday/default", "--yes=everyday/default", "--reason", "old")
    assert (purged.exit_code, purged.stderr) == (0, "queues purge: 3 done, 0 failed, 0 left\n")
    assert {client.get_run(run).status for run in runs} == {"canceled"}
    assert all(client.get_event(f"q{n}").is_settled for n in range(3))
    client.resume_queue("everyday/default")
    await settle()


async def test_open_runs_are_canceled_by_a_filter(
    headrace: Headrace, client: Client, host: WorkerHost, settle: Settle
) -> None:
    """A line each; a second time there is nothing left."""
    runs = await _queued(client, host, 3)
    done = headrace("runs", "cancel", "--job", "everyday/echo", "--yes")
    assert (done.exit_code, sorted(done.stdout.splitlines())) == (0, sorted(f"{run} canceled" for run in runs))
    again = headrace("runs", "cancel", "--job", "everyday/echo", "--yes")
    assert (again.exit_code, again.stdout) == (0, "")
    one = headrace("runs", "retry", runs[0])
    assert (one.exit_code, one.stdout) == (1, "")
    assert headrace("runs", "retry", runs[0], "--canceled").stdout == f"{runs[0]} queued\n"
    await settle()
    finished = headrace("runs", "cancel", runs[0])
    assert (finished.exit_code, finished.stderr) == (1, f"run {runs[0]!r} is already finished: succeeded\n")


async def test_events_are_replayed_from_the_command_line(headrace: Headrace, client: Client, settle: Settle) -> None:
    """Each line names the replay; the safe way leaves out what has had a run."""
    client.send_event(Event("echo", 1, id="e"))
    await settle()
    assert headrace("events", "replay", "e").stdout == "e e~r1\n"
    assert re.search(r"^replay of +e$", headrace("events", "show", "e~r1").stdout, re.MULTILINE)
    assert headrace("events", "replay", "e", "--if-no-runs").stdout == "e -\n"
    await settle()
    by_job = headrace("events", "replay", "--name", "echo", "--job", "everyday/fail", "--if-no-runs", "--yes")
    assert by_job.stdout == "e e~r2\n"
    await settle()
    assert [run.job for run in client.get_event("e~r2").runs] == ["everyday/fail"]


def test_an_interrupt_ends_the_work_between_two_portions(
    headrace: Headrace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done is noted; the cursor leads to what is left; the exit code is 130."""
    client.send_events([Event("later", id=f"l{n}") for n in range(6)], deliver_after=3_600)
    monkeypatch.setattr(pace, "PORTION", 2)
    monkeypatch.setattr(bulk, "_PAGE", 2)
    cancel = Client.cancel_events

    def cancel_and_interrupt(self: Client, *args: Any, **given: Any) -> Any:
        found = cancel(self, *args, **given)
        os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(Client, "cancel_events", cancel_and_interrupt)
    first = headrace("events", "cancel", "--name", "later", "--yes", "--json")
    end = json.loads(first.stdout.splitlines()[-1])
    assert (first.exit_code, end["done"], end["left"]) == (130, 2, 4)
    monkeypatch.setattr(Client, "cancel_events", cancel)
    second = headrace("events", "cancel", "--name", "later", "--yes", "--cursor", end["cursor"])
    assert second.exit_code == 0
    assert {event.status for event in client.iter_events()} == {"canceled"}
    assert [entry.done for entry in client.list_audit().items] == [4, 2]


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "inf", "nan"])
def test_a_rate_is_a_number_or_full(headrace: Headrace, client: Client, rate: str) -> None:
    """Anything else is refused before anything is done; nobody waits for a rest that never ends."""
    client.send_event(Event("later", id="l"), deliver_after=3_600)
    refused = headrace("events", "cancel", "l", "--rate", rate)
    assert refused.exit_code == 2
    assert f"'{rate}' is neither a number above 0 nor full" in refused.stderr
    assert client.get_event("l").status == "delayed"
    assert headrace("events", "cancel", "l", "--rate", "full").exit_code == 0
    assert client.get_event("l").status == "canceled"


async def test_acts_are_listed(headrace: Headrace, client: Client) -> None:
    """By whom, with what, and why; the newest first."""
    client.send_event(Event("later", id="l"), deliver_after=3_600)
    headrace("events", "reschedule", "l", "--after", "2h")
    headrace("events", "cancel", "l", "--reason", "not needed")
    client.audit("by hand", {"what": "it"}, done=3)
    entries = document(headrace("audit", "list", "--json"))["audit"]
    assert [each["verb"] for each in entries] == ["by hand", "events cancel", "events reschedule"]
    assert [each["via"] for each in entries] == ["library", "headrace", "headrace"]
    page = document(headrace("audit", "list", "--json", "--limit", "1"))
    rest = document(headrace("audit", "list", "--json", "--cursor", page["cursor"]))
    assert [each["id"] for each in (*page["audit"], *rest["audit"])] == [each["id"] for each in entries]
    assert "not needed" in headrace("audit", "list").stdout
    await asyncio.sleep(0)


async def test_a_thousand_letters_are_retried_once_each(client: Client, settle: Settle, headrace: Headrace) -> None:
    """None is left, none is retried twice, though the list shrinks while it is worked off."""
    await _dead(client, settle, 1_001)
    done = headrace("dead", "retry", "--job", "everyday/fail", "--yes", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["done"] == len({each["id"] for each in lines[:-1]}) == 1_001
    assert list(client.iter_dead_letters()) == []
    await settle()


async def test_a_queue_that_nobody_knows_any_more_is_purged(
    headrace: Headrace, client: Client, host: WorkerHost, settle: Settle
) -> None:
    """Its name is not among the queues, and it holds runs; once it holds none there is no such queue."""
    runs = await _queued(client, host, 1)
    client._transport.run([Call(("SREM", client.partitions.first.queues, "everyday/default"), int)])
    purged = headrace("queues", "purge", "everyday/default", "--yes=everyday/default")
    assert (purged.exit_code, client.get_run(runs[0]).status) == (0, "canceled")
    assert headrace("queues", "purge", "everyday/default", "--yes=everyday/default").exit_code == 1
    await settle()


async def test_what_was_not_delivered_is_not_replayed(headrace: Headrace, client: Client, settle: Settle) -> None:
    """A canceled event is not delivered after all, nor is a delayed one twice; unless its state is named."""
    client.send_event(Event("echo", id="was"))
    await settle()
    for event_id in ("canceled", "delayed"):
        client.send_event(Event("echo", id=event_id), deliver_after=3_600)
    client.send_event(Event("echo", id="pending"))
    client.cancel_event("canceled")
    assert headrace("events", "replay", "--name", "echo", "--if-no-runs", "--yes").stdout == ""
    assert headrace("events", "replay", "--name", "echo", "--yes").stdout == "was was~r1\n"
    named = headrace("events", "replay", "--name", "echo", "--state", "canceled", "--yes")
    assert named.stdout == "canceled canceled~r1\n"
    client.cancel_event("delayed")
    await settle()


async def test_what_is_left_out_is_not_done(headrace: Headrace, client: Client, settle: Settle) -> None:
    """The dry run counts events without a run; the act leaves out those whose replay had one, and says so."""
    client.send_events([Event("nobody asks for it", id=f"e{number}") for number in range(3)])
    client.send_event(Event("echo", id="ran"))
    await settle()
    safe = ("events", "replay", "--state", "settled", "--job", "everyday/echo", "--if-no-runs")
    assert headrace(*safe, "--dry-run").stdout.splitlines() == ["e0", "e1", "e2"]
    assert headrace("events", "replay", "e1", "--job", "everyday/echo").exit_code == 0
    await settle()
    given = headrace(*safe, "--yes")
    assert (given.exit_code, given.stdout) == (0, "e0 e0~r1\ne1 -\ne2 e2~r1\n")
    assert given.stderr == "events replay: 2 done, 0 failed, 1 left out, 0 left\n"
    await settle()
    *lines, end = map(json.loads, headrace(*safe, "--yes", "--json").stdout.splitlines())
    assert lines == [{"id": f"e{n}", "ok": True, "result": "left_out", "error": None, "replay": None} for n in range(3)]
    assert end == {
        "done": 0,
        "failed": 0,
        "left_out": 3,
        "left": 0,
        "more": False,
        "cursor": None,
        "remembered_since": None,
    }
    entries = client.list_audit().items
    assert [(each.done, each.left_out) for each in entries] == [(0, 3), (2, 1), (1, 0)]
    assert entries[0].asked == {"state": ["settled"], "job": "everyday/echo", "if_no_runs": True}


@pytest.mark.parametrize("which", [("e",), ("--name", "echo"), ("--all",)], ids=" ".join)
def test_a_dry_run_refuses_what_the_act_does(headrace: Headrace, client: Client, which: tuple[str, ...]) -> None:
    """A job that is not registered, say."""
    client.send_event(Event("later", id="e"), deliver_after=3_600)
    for more in (("--dry-run",), ("--yes",)):
        fails(headrace("events", "replay", *which, "--job", "shop/nope", *more), 1, "shop/nope")
    client.cancel_event("e")


async def test_an_act_on_one_that_is_gone_goes_on_with_the_rest(
    headrace: Headrace, client: Client, settle: Settle
) -> None:
    """The rest are canceled, each has its line, and the audit has all."""
    for event_id in ("g1", "g2"):
        client.send_event(Event("later", id=event_id), deliver_after=3_600)
    given = headrace("events", "cancel", "g1", "nope", "g2")
    assert (given.exit_code, given.stdout) == (1, "g1 canceled\ng2 canceled\n")
    assert "'nope'" in given.stderr
    (entry,) = client.list_audit().items
    assert (entry.asked, entry.done, entry.failed) == ({"ids": ["g1", "nope", "g2"]}, 2, 1)
    await settle()


async def test_what_fails_is_in_the_audit(headrace: Headrace, client: Client, settle: Settle) -> None:
    """With all that was asked for."""
    client.send_events([Event("echo", id="e"), Event("fail", "no", id="f")])
    await settle()
    for args in (
        ("events", "cancel", "e"),
        ("events", "reschedule", "e", "--after", "60"),
        ("events", "reschedule", "nope", "--after", "60"),
        ("workers", "stop", "nope"),
        ("runs", "retry", "e:everyday/echo", "--canceled"),
        ("events", "replay", "nope", "--delay", "60"),
    ):
        assert headrace(*args).exit_code == 1
    entries = client.list_audit().items[::-1]
    assert [(each.verb, each.done, each.failed) for each in entries] == [
        ("events cancel", 0, 1), ("events reschedule", 0, 1), ("events reschedule", 0, 1), ("workers stop", 0, 1),
        ("runs retry", 0, 1), ("events replay", 0, 1),
    ]  # fmt: skip
    assert entries[3].asked == {"workers": ["nope"]}
    assert entries[4].asked == {"ids": ["e:everyday/echo"], "canceled": True}
    assert entries[5].asked == {"ids": ["nope"], "delay": 60}
