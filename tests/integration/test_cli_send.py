"""`headrace send` sends an event or a file of events whole, or says in one line why not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from headrace import Client
from headrace.formats.keys import Keys
from tests.support.commands import Headrace, document, fails
from tests.support.processes import Processes

WEBHOOKS = Path(__file__).parents[1] / "data" / "github-webhooks.ndjson"


@pytest.mark.leaves_records
def test_send_takes_every_option_of_a_send(headrace: Headrace, client: Client) -> None:
    """What the options say is in the record."""
    options = ["--id", "e1", "--source", "shop", "--context", '{"c": 1}', "--timestamp", "2026-01-31T10:00:00+01:00"]
    options += ["--deliver-after", "60", "--account-id", "acme", "--dedupe-for", "90"]
    result = headrace("send", "new.user", '{"a": [1, null]}', *options)
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
def test_send_and_show_headers(headrace: Headrace, client: Client) -> None:
    """They are written as in HTTP, and shown as a mapping."""
    headers = ["--header", "traceparent: 00-ab-cd-01", "--header", "url:http://x"]
    assert headrace("send", "x", "--id", "e1", *headers).exit_code == 0
    expected = {"traceparent": "00-ab-cd-01", "url": "http://x"}
    assert client.get_event("e1").headers == expected
    assert document(headrace("events", "show", "e1", "--json"))["headers"] == expected
    assert re.search(r"^headers +\{.*traceparent.*\}$", headrace("events", "show", "e1").stdout, re.MULTILINE)
    assert headrace("send", "y", "--id", "e2").exit_code == 0
    assert "headers" not in headrace("events", "show", "e2").stdout
    line = json.dumps({"name": "z", "id": "e3", "headers": {"a": "b"}})
    assert headrace("send", "--file", "-", stdin=line).exit_code == 0
    assert client.get_event("e3").headers == {"a": "b"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["x", "--header", "a=b"], "'a=b' is no header such as 'traceparent: 00-4bf9…-01'"),
        (["x", "--header", ": b"], "': b' is no header such as"),
        (["x", "--header", "a: 1", "--header", "a: 2"], "two --header have the same name"),
        (["x", "--header", f"a: {'b' * 4096}"], "--header: has 4,097 bytes, more than the 4,096"),
        (["--file", "-", "--header", "a: b"], "the lines of --file have the headers of each event"),
    ],
)
def test_send_refuses_what_is_no_header(headrace: Headrace, args: list[str], says: str) -> None:
    """Nothing is sent."""
    fails(headrace("send", *args), 2, says)


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
def test_send_succeeds_where_workers_cant_be_asked_for(headrace: Headrace, redis: redis_py.Redis, keys: Keys) -> None:
    """The server has the event by then, so the send has succeeded."""
    redis.set(keys.workers, "no sorted set")
    result = headrace("send", "x")
    redis.delete(keys.workers)
    assert (result.exit_code, result.stderr) == (0, "no worker has taken it yet\n")
    assert " accepted " in result.stdout


@pytest.mark.leaves_records
def test_send_says_that_no_worker_is_alive(headrace: Headrace, redis: redis_py.Redis, keys: Keys) -> None:
    """The event waits. A worker with a lease ends the warning; an expired lease does not."""
    waits = "no worker of this namespace is alive: what was sent waits until one starts\n"
    assert headrace("send", "x").stderr == waits
    assert headrace("send", "x", "--json").stderr == waits
    seconds, micros = redis.time()
    redis.zadd(keys.workers, {"dead": seconds * 1000 - 1})
    assert headrace("send", "x").stderr == waits
    redis.zadd(keys.workers, {"alive": (seconds + 60) * 1000 + micros // 1000})
    assert headrace("send", "x").stderr == "no worker has taken it yet\n"
    assert headrace("send", "x", "--json").stderr == ""
    redis.delete(keys.workers)


@pytest.mark.leaves_records
def test_send_says_which_jobs_got_the_event(headrace: Headrace, processes: Processes) -> None:
    """Beside a worker that dispatches it; JSON is for programs, and is not waited for."""
    worker = processes.worker("tests.apps.everyday:app")
    worker.wait_for_line("worker started")
    assert headrace("send", "echo").stderr == "dispatched to 1 job: everyday/echo\n"
    assert headrace("send", "nobody", "--id", "e1").stderr == "no job got it; 'headrace events explain e1' says why\n"
    assert headrace("send", "echo", "--json").stderr == ""
    assert headrace("send", "echo", "--deliver-after", "60").stderr == ""


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
        (("x", "--deliver-at", "2030-01-01T00:00:00Z", "--deliver-after", "1"), ["--deliver-at", "--deliver-after"]),
        (("x", "--deliver-at", "2030-01-01T00:00:00"), ["--deliver-at", "zone"]),
        (("x", "--timestamp", "yesterday"), ["--timestamp", "yesterday"]),
        (("x", "--deliver-after", "-1"), ["--deliver-after"]),
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
    assert document(headrace("runs", "list", "--json"))["runs"] == []


def test_a_line_that_is_no_utf_8_is_named(headrace: Headrace, tmp_path: Path) -> None:
    """The error has the line's number; a byte order mark is not part of its line."""
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
