"""An entry that can't be read is dead-lettered as it is, with the reason, and stops no other entry."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py

from headrace import Client, DeadLetter, Event
from headrace.formats.codec import encode_event
from headrace_worker import Abort, App, Retry, event_trigger
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

BODY = encode_event("asked", "trigger.dev", 0, 1, None, None)


def _app(seen: list[Any]) -> App:
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def job(payload: Any) -> None:
        seen.append(payload)

    return app


async def _outlives(host: WorkerHost, client: Client, plant: Any) -> list[DeadLetter]:
    """Return the dead letters of bad entries among good events, all of which have run."""
    seen: list[Any] = []
    async with host.working(_app(seen)):
        client.send_events([Event("asked", payload=n) for n in range(3)])
        plant()
        sent = client.send_events([Event("asked", payload=n) for n in range(3, 6)])
        await await_until(lambda: sorted(seen) == list(range(6)))
        await await_until(lambda: all(client.get_event(each.id).is_settled for each in sent))
        await await_until(lambda: client.list_dead_letters().items)
    return client.list_dead_letters().items


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hello": "world"}, "has no field 'i'"),
        ({"i": b"\xff", "z": 1, "b": BODY}, "can't be read"),
        ({"i": "x", "z": 5, "b": b"hello"}, "5 bytes are not an event"),
        ({"i": "x", "z": 99, "b": BODY.replace(b"\xa1v\x01", b"\xa1v\x07")}, "has format 7"),
        ({"i": "never-sent", "z": 99, "b": ""}, "only in its record, and the record is gone"),
    ],
)
async def test_a_bad_entry_of_events_is_dead_lettered(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, fields: Any, said: str
) -> None:
    """With all its fields."""
    (dead,) = await _outlives(host, client, lambda: redis.xadd(f"{prefix}events", fields))
    assert (dead.reason, dead.run_id) == ("unreadable", None)
    assert said in dead.error
    assert dead.raw == {
        name: value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()
    }
    assert redis.xlen(f"{prefix}events") == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hello": "world"}, "has no field 'e'"),
        ({"e": "x", "j": "a:b", "b": BODY}, "is not a name"),
        ({"e": "x", "j": "job", "s": "-1 0 0 0 0", "b": BODY}, "not five numbers"),
        ({"e": "x", "j": "job", "s": "", "b": b"hello"}, "5 bytes are not an event"),
        ({"e": "x", "j": "job", "s": "1 0 0 0 9000", "b": ""}, "only in its record, and the record is gone"),
    ],
)
async def test_a_bad_entry_of_a_queue_is_dead_lettered(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, fields: Any, said: str
) -> None:
    """With all its fields, and its slot is free again."""
    (dead,) = await _outlives(host, client, lambda: redis.xadd(f"{prefix}queue:app/default", fields))
    assert dead.reason == "unreadable"
    assert said in dead.error
    assert set(dead.raw) == set(fields)
    assert redis.xlen(f"{prefix}queue:app/default") == 0


@pytest.mark.parametrize("score", [0, 1e18, "-inf", "+inf"])
@pytest.mark.parametrize("member", ["hello", "e:", "r:default", "r:a b:x:app/job", "r:q:x:app", b"\xff\xfe", b"e:\xff"])
async def test_a_foreign_member_of_due_is_dead_lettered(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, member: Any, score: Any
) -> None:
    """Whatever its time is; a delayed event behind it is delivered."""
    redis.zadd(f"{prefix}due", {member: score})
    client.send_event(Event("asked", payload="delayed"), deliver_after=0.05)
    seen: list[Any] = []
    await host.settle(_app(seen))
    assert seen == ["delayed"]
    (dead,) = client.list_dead_letters().items
    assert (dead.reason, dead.raw) == (
        "unreadable",
        {"member": member if isinstance(member, bytes) else member.encode()},
    )
    assert "did not write this member of due" in dead.error


async def test_a_member_of_due_whose_record_is_gone_is_gone_too(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """There is nothing to deliver, and the loop goes on."""
    redis.zadd(f"{prefix}due", {"e:never-sent": 1, "r:default:never-sent:app/job": 2})
    client.send_event(Event("asked", payload="delayed"), deliver_after=0.05)
    seen: list[Any] = []
    await host.settle(_app(seen))
    assert seen == ["delayed"]
    assert redis.zcard(f"{prefix}due") == 0


@pytest.mark.parametrize("size", [10, 9_000])
async def test_an_event_whose_record_was_deleted(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, size: int
) -> None:
    """A small event still runs, as its entry has the body; a large event leaves only a dead letter."""
    sent = client.send_event(Event("asked", payload="x" * size))
    redis.delete(f"{prefix}event:{sent.id}")
    seen: list[Any] = []
    await host.settle(_app(seen))
    if size < 8_192:
        assert seen == ["x" * size]
        assert client.get_event(sent.id).runs[0].status == "succeeded"
        assert client.list_dead_letters().items == []
    else:
        assert seen == []
        (dead,) = client.list_dead_letters().items
        assert dead.raw["i"] == sent.id.encode()
        assert "the record is gone" in dead.error


@pytest.mark.parametrize("ends", ["well", "badly", "in a wait"])
async def test_an_entry_of_another_run_settles_nothing(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, ends: str
) -> None:
    """A forged entry starts a call, but the run's outcome is that of its own entry."""
    app, seen = App("app"), list[Any]()

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=2, min_delay=0.01))
    async def job(payload: Any) -> Any:
        seen.append(payload)
        if payload == "forged" and ends == "badly":
            raise Abort("no")
        if payload == "forged" and ends == "in a wait":
            raise ValueError
        return payload

    forged = encode_event("asked", "trigger.dev", 0, "forged", None, None)
    queue = f"{prefix}queue:app/default"
    sent = client.send_event(Event("asked", payload="sent"))
    for _ in range(2):  # before its own run, and after that has ended
        redis.xadd(queue, {"e": sent.id, "j": "job", "s": "", "b": forged})
        await host.settle(app)
    assert sorted(seen) == ["forged", "forged", "sent"]
    run = client.get_run(f"{sent.id}:app/job")
    assert (run.status, run.attempt, run.output, run.error) == ("succeeded", 1, "sent", None)
    letters = client.list_dead_letters().items
    assert [(letter.reason, letter.run_id, letter.raw["b"]) for letter in letters] == [("foreign", None, forged)] * 2
    assert "the run's record names another entry" in letters[0].error
    assert (redis.xlen(queue), redis.zcard(f"{prefix}due")) == (0, 0)


async def test_a_run_whose_record_is_deleted_while_it_executes(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Its outcome is recorded and goes with its time; a retry of it does not stay for ever."""
    app = App("app")

    @app.job(id="ends", trigger=event_trigger("asked"))
    async def ends(payload: str) -> None:
        redis.delete(f"{prefix}event:{payload}")

    @app.job(id="again", trigger=event_trigger("again"), retry=Retry(max_attempts=2, min_delay=0.01))
    async def again(payload: str) -> None:
        redis.delete(f"{prefix}event:{payload}")
        raise ValueError

    client.send_event(Event("asked", payload="a", id="a"))
    client.send_event(Event("again", payload="b", id="b"))
    await host.settle(app)
    assert redis.zcard(f"{prefix}due") == 0


# Records that something else has overwritten.


async def test_a_foreign_record_hinders_no_other_event(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Wherever the event is: to be dispatched, delayed, with its body in the record, or in a queue."""
    redis.set(f"{prefix}event:foreign", "something else", ex=60)

    def plant() -> None:
        redis.xadd(f"{prefix}events", {"i": "foreign", "z": len(BODY), "b": BODY})
        redis.xadd(f"{prefix}events", {"i": "foreign", "z": 9_000, "b": ""})
        redis.zadd(f"{prefix}due", {"e:foreign": 1, "r:default:foreign:app/job": 1})
        redis.lpush(f"{prefix}wake", "1")
        redis.xadd(f"{prefix}queue:app/default", {"e": "foreign", "j": "job", "s": "1 0 0 0 9000", "b": ""})
        client.send_event(Event("asked", payload=3), deliver_after=0.05)

    seen: list[Any] = []
    async with host.working(_app(seen)):
        client.send_events([Event("asked", payload=n) for n in range(3)])
        plant()
        client.send_events([Event("asked", payload=n) for n in range(4, 8)])
        await await_until(lambda: sorted(seen) == list(range(8)))
        await await_until(lambda: len(client.list_dead_letters().items) == 5)
    assert {entry.reason for entry in client.list_dead_letters().items} == {"unreadable"}
    assert redis.get(f"{prefix}event:foreign") == b"something else"
