"""A client lists dead letters and starts failed runs again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, RunError, RunNotFound, RunNotRetryable
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.model.values import decode_value
from tests.support.clients import Kind, open_client
from tests.support.stored import add_run, entries, server_time


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


# Dead letters.


def add_dead_letter(redis: redis_py.Redis, keys: Keys, event_id: str, error: bytes = b"") -> str:
    entry: Any = redis.xadd(keys.dead, {"run": f"{event_id}:app/job", "reason": "failed", "error": error})
    return str(entry.decode())


def test_a_dead_letter_says_which_run_it_was_and_why(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Its id is enough to find it."""
    error = codec.encode_outcome(RunError("ValueError", "no such user"), None)
    entry_id = add_dead_letter(redis, keys, "e:1", error=error)
    (entry,) = client.list_dead_letters().items
    assert (entry.id, entry.run_id, entry.job) == (entry_id, "e:1:app/job", "app/job")
    assert (entry.reason, entry.error, entry.raw) == ("failed", "ValueError: no such user", {})
    assert abs(entry.dead_at - server_time(redis)) < timedelta(minutes=1)
    assert client.get_dead_letter(entry_id) == entry


def test_what_could_not_be_read_is_kept_as_it_was(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """It belongs to no run. Its fields are bytes, even if their names are no text."""
    redis.xadd(
        keys.dead,
        {"reason": "unreadable", "error": "these 2 bytes are not an event", "raw.b": b"\xff\x00", b"raw.\xfe": b""},
    )
    (entry,) = client.list_dead_letters().items
    assert (entry.run_id, entry.job, entry.reason) == (None, None, "unreadable")
    assert entry.error == "these 2 bytes are not an event"
    assert entry.raw == {"b": b"\xff\x00", "\\xfe": b""}


@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11])
def test_dead_letters_are_listed_newest_first(client: Client, redis: redis_py.Redis, keys: Keys, limit: int) -> None:
    """Page by page, each once."""
    letters = [add_dead_letter(redis, keys, f"e{n}") for n in range(10)]
    found: list[str] = []
    cursor = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=limit)
        found += [entry.id for entry in page.items]
        cursor = page.cursor
        assert (cursor is None) == page.searched.complete == (len(found) == len(letters))
        if cursor is None:
            break
    assert found == letters[::-1]


# Retrying.


@pytest.mark.parametrize("letter", ["f", "t", "i"])
def test_a_failed_run_is_queued_again(client: Client, redis: redis_py.Redis, keys: Keys, letter: str) -> None:
    """From its first attempt; its dead letter is gone, and its record stays."""
    sent = client.send_event(Event("a", {"x": 1}))
    dead = add_dead_letter(redis, keys, sent.id)
    run_id = add_run(redis, keys, sent.id, "app/job", letter)
    redis.hset(keys.event(sent.id), "r:app/job", f"{letter} 5 0 0 0 mail {dead} host-1 1 2")
    redis.expire(keys.event(sent.id), 60)
    run = client.retry_run(run_id)
    assert (run.id, run.status, run.attempt, run.queue, run.worker) == (run_id, "queued", 1, "mail", None)
    (entry,) = entries(redis, keys.queue("app", "mail"))
    assert (entry[b"e"].decode(), entry[b"j"], decode_value(codec.decode_event(entry[b"b"]).p)) == (
        sent.id,
        b"job",
        {"x": 1},
    )
    assert client.list_dead_letters().items == []
    assert redis.pttl(keys.event(sent.id)) == -1


@pytest.mark.parametrize(
    ("letter", "why"),
    [(each, "only a run that ended without success") for each in "qxws"] + [("c", "give canceled=True to retry it")],
)
def test_only_a_failed_run_can_be_retried(
    client: Client, redis: redis_py.Redis, keys: Keys, letter: str, why: str
) -> None:
    """Any other run stays as it is, while its entry is where its record says; of a canceled one it says how."""
    run_id = add_run(redis, keys, client.send_event(Event("a")).id, "app/job", letter)
    redis.xadd(keys.queue("app", "default"), {"e": "in its queue"}, id="7-0")
    before = client.get_run(run_id)
    with pytest.raises(RunNotRetryable, match=f"can't be retried: {why}") as caught:
        client.retry_run(run_id)
    assert caught.value.status == before.status
    assert client.get_run(run_id) == before


def test_a_run_whose_entry_was_deleted_can_be_retried(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Only once: then it is in its queue."""
    run_id = add_run(redis, keys, client.send_event(Event("a")).id, "app/job", "x")
    assert client.retry_run(run_id).status == "queued"
    with pytest.raises(RunNotRetryable, match="or whose entry is gone"):
        client.retry_run(run_id)
    assert redis.xlen(keys.queue("app", "default")) == 1


def test_a_run_whose_payload_is_gone_cannot_be_retried(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The error says that retention has taken it."""
    sent = client.send_event(Event("a"))
    run_id = add_run(redis, keys, sent.id, "app/job", "f")
    redis.hdel(keys.event(sent.id), "e")
    with pytest.raises(RunNotRetryable, match="payload is not kept any more"):
        client.retry_run(run_id)
    with pytest.raises(RunNotFound):
        client.retry_run("nobody:app/job")
