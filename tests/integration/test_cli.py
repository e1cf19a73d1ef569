"""The commands do what they say, print it for people and for machines, and answer with an exit code."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace_worker import __version__
from headrace_worker.cli.root import root as main
from headrace_worker.testing import run_until_settled
from tests.apps.everyday import app

Headrace = Callable[..., Result]
WEBHOOKS = Path(__file__).parents[1] / "data" / "github-webhooks.ndjson"


@pytest.fixture
def headrace(url: str, namespace: str) -> Headrace:
    """Runs `headrace ARGS`; what is not an orderly exit is raised here."""

    def run(*args: str, stdin: str | bytes | None = None, **env: str | None) -> Result:
        full_env = {"HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace, **env}
        return CliRunner().invoke(main, args, stdin, full_env, catch_exceptions=False, prog_name="headrace")

    return run


@pytest.fixture
def settle(url: str, namespace: str) -> Callable[[], Any]:
    """Runs the jobs of everything that was sent."""
    return lambda: run_until_settled(app, url, namespace=namespace)


def document(result: Result) -> Any:
    """What a command printed as one line of JSON."""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def fails(result: Result, exit_code: int, *parts: str) -> None:
    """The command has printed one line of error, with these parts, and nothing else."""
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert re.fullmatch(r"Error: .+\n", result.stderr), result.stderr
    for part in parts:
        assert part in result.stderr


# Sending.


@pytest.mark.leaves_records
def test_send_takes_every_option_of_a_send(headrace: Headrace, client: Client) -> None:
    """What the options say is in the record."""
    options = ["--id", "e1", "--source", "shop", "--context", '{"c": 1}', "--timestamp", "2026-01-31T10:00:00+01:00"]
    result = headrace("send", "new.user", '{"a": [1, null]}', *options, "--deliver-after", "60", "--account-id", "acme")
    assert result.exit_code == 0
    assert re.fullmatch(r"e1 new\.user delayed until \S+Z\n", result.stdout)
    record = client.get_event("e1")
    assert (record.name, record.payload, record.context) == ("new.user", {"a": [1, None]}, {"c": 1})
    assert (record.source, record.account_id, record.status) == ("shop", "acme", "delayed")
    assert record.timestamp == datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.mark.leaves_records
def test_send_deliver_at_is_when_it_is_due(headrace: Headrace, client: Client) -> None:
    """The time is kept to the millisecond."""
    due = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    sent = document(headrace("send", "x", "--deliver-at", due.isoformat(), "--json"))
    assert client.get_event(sent["id"]).deliver_at == due
    assert sent["deliver_at"] == due.isoformat().replace("+00:00", "Z")


@pytest.mark.leaves_records
def test_send_prints_json_with_stable_keys(headrace: Headrace) -> None:
    """The keys are the fields of SentEvent, in their order; times are ISO 8601 in UTC."""
    sent = document(headrace("send", "x", "0", "--json", "--timestamp", "2026-01-31T10:00:00+01:00"))
    assert list(sent) == [
        "id", "name", "payload", "context", "timestamp", "deliver_at", "delivered_at", "duplicate", "replicas",
        "status",
    ]  # fmt: skip
    assert (sent["payload"], sent["timestamp"], sent["duplicate"]) == (0, "2026-01-31T09:00:00Z", False)
    assert datetime.fromisoformat(sent["delivered_at"]).utcoffset() == timedelta(0)


@pytest.mark.leaves_records
def test_send_reads_a_payload_from_standard_input(headrace: Headrace, client: Client) -> None:
    """`-` stands for what is read."""
    sent = document(headrace("send", "x", "-", "--json", stdin='{"from": "stdin ✓"}'))
    assert client.get_event(sent["id"]).payload == {"from": "stdin ✓"}


@pytest.mark.leaves_records
def test_send_says_that_no_worker_is_alive(headrace: Headrace, redis: redis_py.Redis, keys: Keys) -> None:
    """What was sent waits; once a worker has a lease nothing is said, and a lease that is over does not count."""
    waits = "no worker of this namespace is alive: what was sent waits until one starts\n"
    assert headrace("send", "x").stderr == waits
    seconds, micros = redis.time()
    redis.zadd(keys.workers, {"dead": seconds * 1000 - 1})
    assert headrace("send", "x").stderr == waits
    redis.zadd(keys.workers, {"alive": (seconds + 60) * 1000 + micros // 1000})
    assert headrace("send", "x").stderr == ""
    redis.delete(keys.workers)


@pytest.mark.leaves_records
def test_send_says_that_an_id_was_sent_before(headrace: Headrace) -> None:
    """A duplicate is no error."""
    headrace("send", "x", "--id", "e1")
    again = headrace("send", "x", "--id", "e1")
    assert (again.exit_code, again.stdout) == (0, "e1 x was sent before, nothing happened\n")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ((), ["NAME", "--file"]),
        (("x", "{bad"), ["not JSON"]),
        (("x", "hello"), ["not JSON", """'"hello"'"""]),
        (("x", "--context", "nope"), ["--context", "not JSON"]),
        (("x", "--deliver-at", "2030-01-01T00:00:00Z", "--deliver-after", "1"), ["deliver_at", "deliver_after"]),
        (("x", "--deliver-at", "2030-01-01T00:00:00"), ["--deliver-at", "zone"]),
        (("x", "--timestamp", "yesterday"), ["--timestamp", "yesterday"]),
        (("x", "--deliver-after", "-1"), ["deliver_after"]),
        (("x", "--deliver-after", "soon"), ["--deliver-after"]),
        (("", "1"), ["name"]),
        (("x", "123456789012345678901234567890"), ["payload"]),
        (("x", "--file", "/nonexistent"), ["--file", "No such file"]),
        (("x", "--file", str(WEBHOOKS)), ["name", "--file"]),
        (("--id", "e1", "--file", str(WEBHOOKS)), ["id", "--file"]),
    ],
    ids=str,
)
def test_send_refuses_what_is_wrong_in_one_line(headrace: Headrace, args: list[str], parts: list[str]) -> None:
    """The exit code is 2, the line names the argument at fault, and nothing was sent."""
    fails(headrace("send", *args), 2, *parts)


async def test_a_file_of_events_is_sent_whole(headrace: Headrace, client: Client, settle: Callable[[], Any]) -> None:
    """Every line of 327 is an event, in the order of the lines, with the payload of its line."""
    result = headrace("send", "--file", str(WEBHOOKS), "--json")
    assert result.exit_code == 0
    sent = [json.loads(line) for line in result.stdout.splitlines()]
    lines = [json.loads(line) for line in WEBHOOKS.read_text().splitlines()]
    assert len(sent) == len(lines) == 327
    for answer, line in zip(sent, lines, strict=True):
        record = client.get_event(answer["id"])
        assert (record.name, record.source, record.payload) == (line["name"], "github.com", line["payload"])
    await settle()


@pytest.mark.leaves_records
def test_a_file_may_be_standard_input_and_larger_than_a_batch(headrace: Headrace, client: Client) -> None:
    """Events of several batches are sent, whole ones and bare ones; empty lines are passed over."""
    lines = [json.dumps({"name": "n", "payload": number, "id": f"e{number}"}) for number in range(1001)]
    lines.insert(7, "")
    lines.append('{"name": "whole", "id": "w", "source": "s", "context": 1, "timestamp": "2026-01-31T10:00:00+01:00"}')
    result = headrace("send", "--file", "-", "--account-id", "acme", stdin="\n".join(lines))
    assert (result.exit_code, result.stdout) == (0, "1002 events sent\n")
    assert client.get_event("e1000").payload == 1000
    whole = client.get_event("w")
    assert (whole.source, whole.context, whole.account_id) == ("s", 1, "acme")
    assert whole.timestamp == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert headrace("send", "--file", "-", stdin=lines[0]).stdout == "1 event sent, 1 known before\n"


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        ("{", []),
        ("[]", ["object"]),
        ('{"payload": 1}', ["name"]),
        ('{"name": 1}', ["name"]),
        ('{"name": ""}', ["name"]),
        ('{"name": "x", "nope": 1}', ["nope"]),
        ('{"name": "x", "timestamp": "2026-01-31T10:00:00"}', ["timestamp", "naive"]),
        ('{"name": "x", "payload": 123456789012345678901234567890}', ["payload"]),
    ],
    ids=str,
)
def test_a_bad_line_keeps_the_whole_file_back(headrace: Headrace, bad: str, parts: list[str]) -> None:
    """The line's number is said, and not even the batch before it was sent."""
    good = ['{"name": "n"}'] * 600
    result = headrace("send", "--file", "-", stdin="\n".join([*good, bad, *good]))
    fails(result, 2, "line 601: ", "nothing was sent", *parts)
    assert headrace("runs", "list", "--json").stdout == '{"runs":[],"cursor":null,"damaged":[]}\n'


def test_a_line_that_is_no_utf_8_is_named(headrace: Headrace, tmp_path: Path) -> None:
    """As a bad line is; a byte order mark is none of its line."""
    latin, marked = tmp_path / "latin", tmp_path / "marked"
    latin.write_bytes(b'{"name": "a"}\n{"name": "b", "payload": "\xe9"}\n')
    marked.write_bytes(b'\xef\xbb\xbf{"name": "a", "id": "marked"}\n')
    fails(headrace("send", "--file", str(latin)), 2, "line 2: ", "UTF-8", "nothing was sent")
    assert headrace("send", "--file", str(marked)).stdout == "1 event sent\n"


@pytest.mark.leaves_records
def test_a_batch_that_fails_says_what_was_sent(headrace: Headrace) -> None:
    """The lines of the batch and how many events are with the server are in the error, and the rest was not tried."""
    headrace("send", "other", "--id", "taken", "--deliver-after", "60")
    lines = [f'{{"name": "n", "id": "e{number}"}}' for number in range(1200)]
    lines[700] = '{"name": "n", "id": "taken"}'
    result = headrace("send", "--file", "-", stdin="\n".join(lines))
    fails(result, 1, "lines 501 to 1000", "'taken'", "999 events were sent", "from 1001 on were not")


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
    assert re.search(r"^everyday/fail +failed +1 +\S+Z +\S+Z +no\\x1b\[31m luck$", text, re.MULTILINE)
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
    assert (result.exit_code, document(result)["status"]) == (0, "canceled")
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
    text = headrace("runs", "list", "--limit", "3")
    assert text.stdout.splitlines()[0].split() == ["RUN", "STATUS", "ATTEMPT", "STARTED", "FINISHED"]
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
    letters = document(headrace("dead", "list", "--json"))["entries"]
    by_run = {letter["run_id"]: letter["id"] for letter in letters}
    assert sorted(by_run) == [f"e{number}:everyday/fail" for number in range(4)]
    letter = document(headrace("dead", "show", by_run["e0:everyday/fail"], "--json"))
    assert (letter["reason"], letter["error"], letter["job"]) == ("failed", "ValueError: no", "everyday/fail")
    assert re.search(r"^reason +failed$", headrace("dead", "show", letter["id"]).stdout, re.MULTILINE)

    by_id = headrace("dead", "retry", by_run["e0:everyday/fail"], "e1:everyday/fail")
    assert (by_id.exit_code, by_id.stdout) == (0, "e0:everyday/fail queued\ne1:everyday/fail queued\n")
    assert len(document(headrace("dead", "list", "--json"))["entries"]) == 2
    assert headrace("dead", "retry", "--job", "everyday/other").stderr == "0 of 0 dead letters are queued again\n"
    by_job = headrace("dead", "retry", "--job", "everyday/fail", "--json")
    assert sorted(json.loads(line)["id"] for line in by_job.stdout.splitlines()) == [
        "e2:everyday/fail",
        "e3:everyday/fail",
    ]
    assert headrace("dead", "list").stdout.split() == ["ID", "SINCE", "REASON", "RUN", "ERROR"]
    await settle()
    everything = headrace("dead", "retry", "--all")
    assert (everything.exit_code, everything.stdout.count(" queued\n")) == (0, 4)
    await settle()


@pytest.mark.parametrize("command", [("runs", "list"), ("dead", "retry")])
@pytest.mark.parametrize("job", ["welcome", "billing/", "a/b/c", ""])
def test_a_job_is_named_with_its_app(headrace: Headrace, command: tuple[str, str], job: str) -> None:
    """Any other text would find nothing, without a word."""
    result = headrace(*command, "--job", job)
    assert result.exit_code == 2
    assert f"'--job': {job!r} does not name an app and its job, as in billing/welcome" in result.stderr


async def test_one_dead_letter_that_cant_be_retried_does_not_hold_up_the_others(
    headrace: Headrace, client: Client, settle: Callable[[], Any]
) -> None:
    """The others are queued, the one is said, and the exit code is 1."""
    client.send_events([Event("fail", "no", id="e1"), Event("echo", id="good")])
    await settle()
    result = headrace("dead", "retry", "nope", "good:everyday/echo", "e1:everyday/fail")
    assert (result.exit_code, result.stdout) == (1, "e1:everyday/fail queued\n")
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["dead", "'good:everyday/echo'"]
    await settle()


# What goes wrong.


@pytest.mark.parametrize(
    ("args", "thing"),
    [
        (("events", "show", "nope"), "event 'nope'"),
        (("events", "wait", "nope"), "event 'nope'"),
        (("events", "cancel", "nope"), "event 'nope'"),
        (("runs", "show", "nope"), "run 'nope'"),
        (("runs", "show", "nope:app/job"), "run 'nope:app/job'"),
        (("dead", "show", "nope"), "dead letter 'nope'"),
        (("dead", "show", "1-0"), "dead letter '1-0'"),
    ],
    ids=str,
)
def test_an_unknown_id_is_exit_code_1(headrace: Headrace, args: list[str], thing: str) -> None:
    """The line says what is not known."""
    fails(headrace(*args), 1, f"no {thing}")


EVERY_DATA_COMMAND = [
    ("send", "x"),
    ("events", "show", "x"),
    ("events", "wait", "x"),
    ("events", "cancel", "x"),
    ("runs", "list"),
    ("runs", "show", "x:a/b"),
    ("dead", "list"),
    ("dead", "show", "1-0"),
    ("dead", "retry", "--all"),
]


@pytest.mark.parametrize("args", EVERY_DATA_COMMAND, ids=" ".join)
def test_no_url_says_what_to_set(headrace: Headrace, args: list[str]) -> None:
    """It is an error of the call: exit code 2."""
    fails(headrace(*args, HEADRACE_URL=None), 2, "HEADRACE_URL")


def test_a_server_that_is_not_there_is_exit_code_1(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says that it can't be reached."""
    monkeypatch.setattr("headrace.transport.backoff.Backoff.delay_s", lambda *_: 0.001)
    fails(headrace("runs", "list", "--url", "unix:///nonexistent/server.sock"), 1, "can't be reached")


def test_a_url_that_is_none_is_said_without_its_password(headrace: Headrace) -> None:
    """Exit code 2."""
    result = headrace("runs", "list", "--url", "http://user:geheim@host")
    fails(result, 2, "is no URL")
    assert "geheim" not in result.stderr


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("nope",), ["nope", "headrace --help"]),
        (("--nope",), ["--nope"]),
        (("runs", "list", "--status", "nope"), ["--status", "nope", "headrace runs list --help"]),
        (("runs", "list", "--limit", "0"), ["--limit"]),
        (("runs", "list", "--cursor", "nope"), ["cursor"]),
        (("dead", "retry"), ["--all"]),
        (("dead", "retry", "--all", "1-0"), ["--all"]),
        (("events", "wait", "x", "--timeout", "-1"), ["--timeout"]),
        (("runs", "list", "--namespace", "no spaces"), ["namespace", "no spaces"]),
        (("worker",), ["MODULE:APP"]),
        (("worker", "tests.apps.everyday"), ["MODULE:APP", "tests.apps.everyday:app"]),
        (("worker", "tests/apps/everyday.py:app"), ["tests.apps.everyday:app"]),
        (("worker", "no_such_module:app"), ["no module 'no_such_module'"]),
        (("worker", "tests.nope.jobs:app"), ["no module 'tests.nope'"]),
        (("worker", "tests.apps.everyday:nope"), ["no 'nope'", "tests.apps.everyday:app"]),
        (("worker", "tests.apps.everyday:not_an_app"), ["object", "tests.apps.everyday:app"]),
        (("worker", "tests.apps.everyday:tell"), ["function", "not an App"]),
        (("worker", "tests.apps.everyday:app", "--lease", "0"), ["lease"]),
        (("worker", "tests.apps.everyday:app", "--processes", "0"), ["--processes"]),
        (("worker", "tests.apps.everyday:app", "--queue", "a/b"), ["queue", "a/b"]),
        (("worker", "tests.apps.everyday:app", "--url", "nope"), ["no URL"]),
        (("dev", "tests.apps.everyday:app", "--port", "-1"), ["--port"]),
    ],
    ids=str,
)
def test_a_wrong_call_is_exit_code_2_and_one_line(headrace: Headrace, args: list[str], parts: list[str]) -> None:
    """The line names what is at fault."""
    fails(headrace(*args), 2, *parts)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import no_such_library\n", ["line 1", "ModuleNotFoundError", "no_such_library"]),
        ("from json import nope\n", ["line 1", "ImportError", "nope"]),
        ("x = 1\ndef broken(:\n", ["line 2", "SyntaxError"]),
        ("x = 1\n1 / 0\n", ["line 2", "ZeroDivisionError"]),
        ("raise SystemExit(0)\n", ["SystemExit(0)"]),
        ("from headrace_worker import App\napp = App('not a name')\n", ["line 2", "not a name"]),
    ],
    ids=repr,
)
def test_what_is_wrong_inside_a_module_is_said_with_its_line(
    headrace: Headrace, source: str, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no missing module, and there is no traceback."""
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = headrace("worker", f"{name}:app")
    fails(result, 2, name, *parts)
    assert "there is no module" not in result.stderr


def test_an_app_without_jobs_is_refused(headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says so too, as it may be all that is kept of a container that has ended."""
    (tmp_path / "jobless.py").write_text("from headrace_worker import App\napp = App('a')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = headrace("worker", "jobless:app")
    warning, refusal = result.stderr.splitlines()
    assert (json.loads(warning)["level"], json.loads(warning)["app"]) == ("warning", "a")
    assert result.exit_code == 2
    assert "app 'a' has no jobs; is the module that defines them imported?" in refusal
    assert "dispatch_only=True" in refusal


def test_a_module_of_another_name_is_said_to_be_another(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of this folder has the name of one of Python's own modules, which was imported."""
    (tmp_path / "queue.py").write_text("from headrace_worker import App\napp = App('a')\n")
    monkeypatch.chdir(tmp_path)
    fails(headrace("worker", "queue:app"), 2, f"and not from {tmp_path / 'queue.py'}", queue.__file__)
    fails(headrace("worker", "queue.jobs:app"), 2, f"and not from {tmp_path / 'queue.py'}", queue.__file__)


@pytest.mark.leaves_records
def test_what_is_sent_again_is_said_to_be_canceled(headrace: Headrace) -> None:
    """A duplicate says where the event is in its life."""
    headrace("send", "x", "--id", "42", "--deliver-after", "60")
    headrace("events", "cancel", "42")
    assert "was sent before and canceled, nothing happened" in headrace("send", "x", "--id", "42").stdout
    assert document(headrace("send", "x", "--id", "42", "--json"))["status"] == "canceled"


def test_what_dev_lacks_is_said_with_the_way_to_install_it(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    fails(headrace("dev", "tests.apps.everyday:app"), 2, "watchfiles", "pip install 'headrace-worker[dev]'")


# Help.


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [found for name, each in command.commands.items() for found in _commands(each, (*path, name))]
    return [path]


SETTINGS = {
    "url", "namespace", "partitions", "codec", "json", "log-format", "log-level", "metrics-port", "metrics-host",
}  # fmt: skip


@pytest.mark.parametrize("path", _commands(main), ids=" ".join)
def test_every_help_has_an_example_and_names_the_environment(headrace: Headrace, path: tuple[str, ...]) -> None:
    """The example is a call of the command itself; settings have a variable, and nothing else has."""
    text = headrace(*path, "--help").stdout
    assert re.search(rf"Examples?:\n +headrace {' '.join(path)}", text)
    options = set(re.findall(r"^  (?:-\w, )?--(\w[\w-]+)", text, re.MULTILINE))
    assert options >= {"help"}
    named = set(re.findall(r"\bHEADRACE_[A-Z_]+\b", text.replace("\n", " ")))
    assert named == {f"HEADRACE_{name.upper().replace('-', '_')}" for name in options & SETTINGS}


def test_every_data_command_takes_json() -> None:
    """Only those that run something do not."""
    without = {("worker",), ("dev",)}
    for path in set(_commands(main)) - without:
        command: Any = main
        for name in path:
            command = command.commands[name]
        assert any("--json" in option.opts for option in command.params), path
    assert {args[:2] if args[0] != "send" else args[:1] for args in EVERY_DATA_COMMAND} == set(
        _commands(main)
    ) - without


def test_the_version_is_told(headrace: Headrace) -> None:
    """As one line."""
    assert headrace("--version").stdout == f"headrace {__version__}\n"


@pytest.mark.leaves_records
def test_settings_can_be_given_in_the_environment_and_arguments_can_t(headrace: Headrace) -> None:
    """An id that is left in a shell would make every later send a duplicate."""
    sent = document(headrace("send", "x", HEADRACE_SEND_ID="from-env", HEADRACE_JSON="1"))
    assert sent["id"] != "from-env"
