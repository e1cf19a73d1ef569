"""The lists on the command line: their JSON, their pages, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace_worker import App, Retry, event_trigger
from headrace_worker.cli.root import root
from headrace_worker.operate.app_client import AppClient
from headrace_worker.testing import run_until_settled
from tests.apps.everyday import app
from tests.scripts import users
from tests.support.codecs import Scrambler
from tests.support.commands import Headrace, document, fails
from tests.support.waiting import wait_until

LISTS = {
    "events list": "events", "runs list": "runs", "delayed list": "delayed", "dead list": "dead",
    "dead groups": "groups", "audit list": "audit", "workers list": "workers", "queues list": "queues",
    "jobs list": "jobs", "app routes": "apps",
}  # fmt: skip


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_one_document_under_its_noun(headrace: Headrace, command: str) -> None:
    """With what is damaged, the cursor, and how far it looked."""
    noun = LISTS[command]
    searched = {"entries": 0, "back_to": None, "complete": True, "remembered_since": None, "not_compared": 0}
    found = document(headrace(*command.split(), "--json"))
    assert found == {noun: [], "damaged": [], "cursor": None, "searched": searched}


@pytest.mark.leaves_records
async def test_lists_are_narrowed_and_paged(headrace: Headrace, client: Client, settle: Callable[[], Any]) -> None:
    """By relative times and filters; with --all every page, a line for each item with --json as well."""
    client.send_events([Event("echo", id=f"e{number}") for number in range(30)])
    client.send_event(Event("fail", "no", id="bad"))
    client.send_event(Event("nobody", id="lonely"))
    await settle()
    client.send_event(Event("echo", id="later"), deliver_after=7_200)

    def ids(*args: str) -> list[str]:
        lines = headrace(*args, "--all", "--json").stdout.splitlines()
        return [json.loads(line)["id"] for line in lines]

    assert ids("events", "list", "--limit", "7") == ["later", "lonely", "bad", *(f"e{n}" for n in range(29, -1, -1))]
    assert ids("events", "list", "--state", "unmatched") == ["lonely"]
    assert ids("events", "list", "--name", "fail", "--since", "2h") == ["bad"]
    assert ids("events", "list", "--until", "2h") == []
    assert ids("runs", "list", "--status", "failed", "--queue", "everyday/default") == ["bad:everyday/fail"]
    assert ids("runs", "list", "--status", "executing", "--older-than", "30m") == []
    assert ids("delayed", "list") == ids("delayed", "list", "--until", "3h") == ["later"]
    assert ids("delayed", "list", "--until", "1h") == []
    assert len(ids("dead", "list", "--job", "everyday/fail", "--reason", "failed", "--error", "ValueError")) == 1
    assert document(headrace("dead", "groups", "--json"))["groups"][0]["count"] == 1
    table = headrace("events", "list", "--all").stdout.splitlines()
    assert len(table) == 1 + 33
    assert sum(line.startswith("ID ") for line in table) == 1
    first = headrace("events", "list", "--name", "fail", "--limit", "5")
    assert "bad" in first.stdout
    assert document(headrace("events", "list", "--json"))["searched"]["back_to"].endswith("Z")


@pytest.mark.parametrize("since", ["yesterday", "2w", "h", "-2h", "2026-01-01T00:00:00", "9" * 12 + "d"])
def test_a_time_that_is_none_is_exit_code_2(headrace: Headrace, since: str) -> None:
    """The line says what one looks like."""
    fails(headrace("runs", "list", f"--since={since}"), 2, "--since")


def _named(*names: str) -> list[tuple[str, ...]]:
    """Return the commands of `headrace` with one of these names, by walking its groups."""
    groups = {noun: group.commands for noun, group in root.commands.items() if isinstance(group, click.Group)}
    return [(noun, verb) for noun, verbs in groups.items() for verb in verbs if verb in names]


EVERY_LIST = [*_named("list", "groups", "routes"), ("stats",), ("top",)]


@pytest.mark.leaves_records
@pytest.mark.parametrize("args", EVERY_LIST, ids=" ".join)
def test_a_list_to_a_closed_pipe_ends_silently(args: tuple[str, ...], client: Client, url: str, namespace: str) -> None:
    """As text and as JSON, with a line to print or without."""
    client.send_event(Event("echo"), deliver_after=3_600)
    for option in ([], ["--json"]):
        command = [sys.executable, "-m", "headrace_worker.cli", *args, "--url", url, "--namespace", namespace, *option]
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        os.close(theirs)
        assert "Error" not in done.stderr
        assert "Traceback" not in done.stderr
        assert not [line for line in done.stderr.splitlines() if "worker" not in line]  # a note that none is alive


@pytest.mark.leaves_records
async def test_times_are_utc_whatever_the_zone(
    headrace: Headrace, client: Client, settle: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every list, and what commands say of queues, events, runs and dead letters, in one form that ends with Z."""
    client.send_events([Event("echo", id="good"), Event("fail", "no", id="bad")])
    await settle()
    client.send_event(Event("echo", id="later"), deliver_after=7_200)
    paused = headrace("queues", "pause", "everyday/default", "--reason", "why").stdout
    (letter,) = client.list_dead_letters().items
    shows = [("events", "show", "good"), ("events", "show", "later"), ("runs", "show", "bad:everyday/fail"),
             ("dead", "show", letter.id), ("queues", "show", "everyday/default"),
             ("jobs", "show", "everyday/echo")]  # fmt: skip
    commands = [args for args in [*EVERY_LIST, *shows] if args != ("top",)]

    def said(zone: str) -> list[str]:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        return [re.sub(r"\d+\.\d s|\d+ min", "", headrace(*args).stdout) for args in commands]

    try:
        everywhere = [said(zone) for zone in ("UTC", "America/New_York", "Asia/Kolkata")]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert everywhere[0] == everywhere[1] == everywhere[2]
    times = re.findall(r"\d{4}-\d\d-\d\d.\d\d:\d\d\S*", "\n".join([paused, *everywhere[0]]))
    assert len(times) > 10
    assert [each for each in times if not re.fullmatch(r"[-\d]+T\d\d:\d\d:\d\d\.\d{3}Z[;,]?", each)] == []


@pytest.mark.parametrize(
    "command", [("events", "list"), ("dead", "groups"), ("runs", "retry", "--dry-run")], ids=" ".join
)
def test_a_time_in_the_future_is_pointed_out(headrace: Headrace, command: tuple[str, ...]) -> None:
    """Nothing has happened since then; what is delayed lies there."""
    said = headrace(*command, "--since", "2999-01-01T00:00:00Z")
    assert said.exit_code == 0
    assert "--since is in the future" in said.stderr
    assert "future" not in headrace("delayed", "list", "--since", "2h").stderr


@pytest.mark.usefixtures("client")
async def test_a_reader_that_leaves_is_no_error(
    client: Client, settle: Callable[[], Any], url: str, namespace: str
) -> None:
    """`| head -1` ends the command silently, and ids are whole."""
    name = "x" * 200
    client.send_events([Event("echo", id=f"{name}{number}") for number in range(500)])
    await settle()
    command = f"{sys.executable} -m headrace_worker.cli runs list --all --url {url} --namespace {namespace} | head -2"
    done = await asyncio.to_thread(
        subprocess.run, ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert f"{name}499:everyday/echo" in done.stdout.splitlines()[1]


async def test_a_run_is_waited_for(headrace: Headrace, client: Client, settle: Callable[[], Any]) -> None:
    """Exit code 0 only if it succeeded."""
    client.send_events([Event("echo", id="good"), Event("fail", "no", id="bad")])
    await settle()
    assert document(headrace("runs", "wait", "good:everyday/echo", "--json"))["status"] == "succeeded"
    assert headrace("runs", "wait", "bad:everyday/fail").exit_code == 1
    fails(headrace("runs", "wait", "nope:everyday/fail"), 1, "nope")
    fails(headrace("runs", "wait", "good:everyday/none"), 1, "everyday/none")


@pytest.mark.leaves_records
def test_a_run_that_goes_on_is_not_waited_for_longer(
    headrace: Headrace, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """The line names the run."""
    client.send_event(Event("echo", id="slow"))
    redis.hset(keys.event("slow"), "r:app/job", "q 1 0 0 0 default 7-0 - 0 0")
    fails(headrace("runs", "wait", "slow:app/job", "--timeout", "0.1"), 1, "run 'slow:app/job' has not settled")


@pytest.mark.leaves_records
def test_new_events_are_followed(client: Client, url: str, namespace: str) -> None:
    """Those with the name that is asked for, one a line as they come, until Ctrl-C."""
    command = [sys.executable, "-m", "headrace_worker.cli", "events", "tail", "--name", "a", "--json"]
    process = subprocess.Popen(
        [*command, "--url", url, "--namespace", namespace], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines: list[dict[str, Any]] = []
        with redis_py.Redis.from_url(url) as server:
            wait_until(lambda: "xrange" in {each["cmd"] for each in server.client_list()}, 30)
        client.send_events([Event("a", id="e1"), Event("b", id="e2"), Event("a", id="e3")])
        lines += [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [line["id"] for line in lines] == ["e1", "e3"]
        process.send_signal(2)
        assert process.wait(10) == 130
        assert process.communicate()[1] == ""
    finally:
        process.kill()
        process.communicate()


def _head(table: str) -> list[str]:
    return re.split(r" {2,}", table.splitlines()[0])


@pytest.mark.leaves_records
def test_events_are_listed_with_when_they_were_sent(headrace: Headrace) -> None:
    """Not with the time that they name; delayed ones alone come by when they are due, and it is not known."""
    long_ago = "2020-01-01T00:00:00Z"
    assert headrace("send", "probe", "--id", "p", "--timestamp", long_ago, "--deliver-after", "3600").exit_code == 0
    (listed,) = document(headrace("events", "list", "--json"))["events"]
    assert listed["sent_at"] > "2026" > listed["timestamp"]
    for args in ((), ("--state", "delayed", "--since", "5m"), ("--state", "delayed", "--state", "pending")):
        table = headrace("events", "list", *args).stdout
        assert _head(table) == ["ID", "NAME", "STATUS", "SOURCE", "SENT", "DELIVER AT", "RUNS"]
        assert listed["sent_at"][:19] in table
        assert "2020" not in table
    by_due = headrace("events", "list", "--state", "delayed").stdout
    assert _head(by_due) == ["ID", "NAME", "STATUS", "SOURCE", "DELIVER AT", "RUNS"]
    assert document(headrace("events", "list", "--state", "delayed", "--json"))["events"][0]["sent_at"] is None


NAMES = [
    ("runs list --job everyday/ecco", "did you mean everyday/echo?"),
    ("runs list --queue everyday/nope", "no queue 'everyday/nope'"),
    ("runs list --worker nope", "no worker 'nope' is known"),
    ("runs list --event-name nope", "no event of the name nope is listed"),
    ("events list --name nope", "no event of the name nope is listed"),
    ("dead list --job everyday/nope", "no dead letter of job 'everyday/nope'; there are some of everyday/fail"),
    ("dead groups --job everyday/nope", "no dead letter of job 'everyday/nope'; there are some of everyday/fail"),
]


@pytest.mark.leaves_records
async def test_a_list_says_that_nobody_knows_a_name(
    headrace: Headrace, client: Client, settle: Callable[[], Any], url: str, namespace: str
) -> None:
    """Where it finds nothing: a line on standard error, also with --json, and exit code 0."""
    with AppClient(url, namespace=namespace) as registrar:
        registrar.register_app(app)
    client.send_event(Event("fail", "no"))
    await settle()
    for command, note in NAMES:
        for args in ((), ("--json",)):
            found = headrace(*command.split(), *args)
            assert (found.exit_code, found.stderr.count("\n")) == (0, 1), found.output
            assert note in found.stderr
    for known in (
        "runs list --job everyday/echo", "runs list --queue everyday/default --status waiting",
        "events list --name fail --state delayed", "dead list --job everyday/fail --error nope", "runs list --until 9h",
    ):  # fmt: skip
        assert headrace(*known.split()).stderr == "", known


def test_a_list_does_without_the_rights_to_look_a_name_up(
    headrace: Headrace, redis: redis_py.Redis, url: str, namespace: str
) -> None:
    """It is not refused for a note."""
    rules = users.rules_in(namespace, "headrace-producer")
    redis.execute_command("ACL", "SETUSER", "narrow", "reset", ">secret", *rules, "-smembers")
    narrow = urlunsplit(urlsplit(url)._replace(netloc=f"narrow:secret@{urlsplit(url).netloc.rpartition('@')[2]}"))
    found = headrace("runs", "list", "--job", "everyday/nope", "--status", "failed", HEADRACE_URL=narrow)
    redis.execute_command("ACL", "DELUSER", "narrow")
    assert (found.exit_code, found.stderr) == (0, ""), found.output


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_name_that_none_can_have_is_not_waited_for(headrace: Headrace, name: str) -> None:
    """No event would ever come."""
    fails(headrace("events", "tail", f"--name={name}"), 2, f"--name: must have 1 to 256 characters, not {len(name)}")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("runs list --event e --until 2h", "--until: was given together with --event, which names one event"),
        ("runs list --event e --cursor c", "--cursor: was given together with --event, whose runs are one page"),
        ("runs retry --event e --event-name n", "--event-name: was given together with --event"),
        ("runs list --cursor event_id", "--cursor: 'event_id' is none that a listing has returned"),
        ("send a --deliver-after 1 --deliver-at 2036-01-01T00:00:00Z", "together with --deliver-after; give one of"),
    ],
)
def test_an_error_names_options(headrace: Headrace, args: str, message: str) -> None:
    """And not what the arguments are called in Python; what was given is shown as it is."""
    fails(headrace(*args.split()), 2, message)


@pytest.mark.leaves_records
async def test_what_opens_a_sealed_error_is_an_option(headrace: Headrace, url: str, namespace: str) -> None:
    """Each command that takes `--error` says how many it has not compared."""
    sealed = App("sealed", codec=Scrambler())

    @sealed.job(id="bad", trigger=event_trigger("bad"), retry=Retry(max_attempts=1))
    async def bad() -> None:
        raise ValueError("a secret")

    with Client(url, namespace=namespace, codec=Scrambler()) as client:
        client.send_events([Event("bad"), Event("bad")])
        await run_until_settled(sealed, url, namespace=namespace)
    note = "not compared: 2 dead letters, whose errors are sealed; give the --codec that they were sealed with\n"
    for command in ("list", "list --all", "groups", "retry --dry-run", "discard --yes"):
        done = headrace("dead", *command.split(), "--error", "secret")
        assert (done.exit_code, note in done.stderr) == (0, True), done.output
    assert document(headrace("dead", "list", "--error", "secret", "--json"))["searched"]["not_compared"] == 2
    assert "on the command line --codec" in headrace("dead", "list").stdout
