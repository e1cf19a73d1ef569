"""Commands act on many: what they do is bounded, asked about, can be interrupted, and is noted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from headrace import Client, Event
from headrace_worker import App
from headrace_worker.logs.logger import flush
from headrace_worker.operate import bulk
from headrace_worker.operate.bulk import Chosen, carry_out, choose
from headrace_worker.terminal import asking
from tests.apps.everyday import app
from tests.support.commands import Headrace, document
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
    ("dead", "discard", "--job", "everyday/fail"),
    ("runs", "retry", "--job", "everyday/fail"),
    ("runs", "cancel", "--status", "queued"),
    ("events", "cancel", "--name", "later"),
    ("events", "replay", "--name", "fail"),
    ("queues", "purge", "everyday/default"),
]


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
    from headrace.calls.call import Call

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
    left = [letter.run_id for letter in client.iter_dead_letters()]
    assert len(left) + int(done.stderr.split()[2]) == 10
    assert not [run for run in left if run and run.startswith("other")]
    assert headrace("dead", "discard", "--all", "--yes").exit_code == 2
    assert len(list(client.iter_dead_letters())) == len(left)
    (entry,) = client.list_audit().items
    assert (entry.verb, entry.reason, entry.via, entry.failed) == ("dead discard", "tidy", "headrace", 0)
    assert (set(entry.asked), entry.done) == ({"since"}, 10 - len(left))
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


def test_an_interrupt_ends_the_work_between_two_batches(
    headrace: Headrace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done is noted; the cursor leads to what is left; the exit code is 130."""
    client.send_events([Event("later", id=f"l{n}") for n in range(6)], deliver_after=3_600)
    monkeypatch.setattr(bulk, "BATCH", 2)
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
    cursor = ["--cursor", end["cursor"]] if end["cursor"] else []
    second = headrace("events", "cancel", "--name", "later", "--yes", *cursor)
    assert second.exit_code == 0
    assert {event.status for event in client.iter_events()} == {"canceled"}
    assert [entry.done for entry in client.list_audit().items] == [4, 2]


def test_so_many_a_second() -> None:
    """The batches are smaller, and wait for what is left of their time."""
    waits = list[float]()
    chosen = Chosen.of([str(n) for n in range(25)])
    results = list(carry_out(chosen, lambda batch: [None] * len(batch), rate=10, sleep=waits.append))
    assert [each.id for each in results] == chosen.ids
    assert [round(wait) for wait in waits] == [1, 1]


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
    assert choose(client.list_dead_letters, 10).ids == []
    await settle()
