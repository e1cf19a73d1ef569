"""A record that another program has overwritten hides nothing: listings show the whole ones and name the damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Client, DamagedRecord, Event, RunError
from headrace.formats.codec import encode_event, encode_outcome
from headrace.formats.keys import Keys
from tests.support.clients import KINDS, Kind, open_client

OUTCOME = encode_outcome(RunError("ValueError", "no"), None)
WHOLE: dict[bytes, bytes] = {
    b"m": b"t.1 s 0 1700000000000 0 2",
    b"e": encode_event("a", "b", 0, {"n": 1}, None, "account"),
    b"k": b"user:1",
    b"r:app/job": b"f 2 1 0 0 default 7-0 w1 1700000000000 1700000001000\n" + OUTCOME,
    b"r:app/other": b"f 1 0 0 0 default 8-0 w1 1700000000000 1700000001000\n" + OUTCOME,
}
ODD = st.sampled_from([b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 2_000, b"-1 " * 9, b"9" * 5_000, b"\xff\xfe", b"\n"])
CUTS = st.builds(lambda value, end: value[: int(len(value) * end)], st.sampled_from([*WHOLE.values()]), st.floats(0, 1))
PUT_IN = st.builds(
    lambda value, at, odd: value[: int(len(value) * at)] + odd + value[int(len(value) * at) + 1 :],
    st.sampled_from([*WHOLE.values()]),
    st.floats(0, 1),
    st.binary(min_size=1, max_size=3),
)
VALUES = st.binary(max_size=60) | ODD | CUTS | PUT_IN
FIELDS = st.sampled_from([*WHOLE, b"o", b"f", b"w", b"r:", b"r:\xff", b"r:app/job/x", b"r:a b"])
DAMAGE = st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3)


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace)


def seed(redis: redis_py.Redis, keys: Keys, event_id: str, fields: dict[bytes, bytes]) -> None:
    """Write this record of the event, and list its failed runs."""
    redis.hset(keys.event(event_id), mapping=fields)  # type: ignore[arg-type]
    redis.expire(keys.event(event_id), 600)
    redis.xadd(keys.recent, {event_id: "a"})
    redis.xadd(keys.runs, {f"{event_id}:app/job": "f", f"{event_id}:app/other": "f"})


def listed(client: Client, **asked: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the runs of a listing by their states, and the errors of what is damaged."""
    page = client.list_runs(**asked)
    assert page.cursor is None
    return {run.id: run.status for run in page.items}, {each.id: each.error for each in page.damaged}


def said(look: Callable[[], object]) -> tuple[str, str] | None:
    """Return which record a call reports as damaged, and where; None if the call answers as usual."""
    try:
        look()
    except DamagedRecord as exc:
        return exc.event_id, exc.key
    return None


GOOD = {f"{event}:app/{job}": "failed" for event in ("first", "last") for job in ("job", "other")}


def test_a_damaged_record_hides_no_other(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Whatever its fields hold: a listing has all whole records and names the rest; a read of the record says why."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(DAMAGE)
    def hold(damage: dict[bytes, bytes]) -> None:
        redis.delete(keys.recent, keys.runs, keys.event("bad"))
        for event_id, fields in (("first", WHOLE), ("bad", WHOLE | damage), ("last", WHOLE)):
            seed(redis, keys, event_id, fields)
        runs, damaged = listed(client)
        assert runs.items() >= GOOD.items()
        assert runs.keys() | damaged.keys() >= {"bad:app/job", "bad:app/other"}
        assert all(run.startswith("bad:") and error for run, error in damaged.items())
        assert listed(client, status="failed")[0].items() >= GOOD.items()
        for look in (lambda: client.get_event("bad"), lambda: client.get_run("bad:app/job")):
            assert said(look) in (None, ("bad", keys.event("bad")))

    hold()


@pytest.mark.parametrize("job", ["app/job", "app/other"])
def test_a_damaged_run_hides_no_other_of_its_event(client: Client, redis: redis_py.Redis, keys: Keys, job: str) -> None:
    """Each run is read by itself, and a listing by job has only that job's runs."""
    seed(redis, keys, "e", WHOLE | {f"r:{job}".encode(): b"something else"})
    (other,) = {"app/job", "app/other"} - {job}
    with pytest.raises(DamagedRecord, match=r"record of event 'e' can't be read: .*delete it to forget the event"):
        client.get_run(f"e:{job}")
    assert client.get_run(f"e:{other}").status == "failed"
    assert [list(each) for each in listed(client, job=job)] == [[], [f"e:{job}"]]
    assert [list(each) for each in listed(client, job=other)] == [[f"e:{other}"], []]


TYPES: dict[str, tuple[Any, ...]] = {
    "string": ("SET", "x"), "list": ("LPUSH", "x"), "set": ("SADD", "x"), "zset": ("ZADD", 1, "x"),
    "stream": ("XADD", "*", "x", "y"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type_", TYPES)
def test_a_record_of_another_type_hides_no_other(
    url: str, namespace: str, redis: redis_py.Redis, keys: Keys, kind: Kind, type_: str
) -> None:
    """A listing names the event; every other call says where to look and changes nothing."""
    for event_id in ("first", "bad", "last"):
        seed(redis, keys, event_id, WHOLE)
    redis.delete(keys.event("bad"))
    command, *values = TYPES[type_]
    redis.execute_command(command, keys.event("bad"), *values)
    redis.expire(keys.event("bad"), 600)
    was = redis.dump(keys.event("bad"))
    with open_client(kind, url, namespace=namespace) as client:
        for asked in ({}, {"status": "failed"}, {"job": "app/job"}):
            runs, damaged = listed(client, **asked)
            assert (
                runs.items()
                >= {run: status for run, status in GOOD.items() if "job" not in asked or "/job" in run}.items()
            )
            assert list(damaged) == ["bad"]
            assert "has a type that Headrace did not give it" in damaged["bad"]
        for look in (client.get_event, client.cancel_event):
            with pytest.raises(DamagedRecord) as caught:
                look("bad")
            assert (caught.value.event_id, caught.value.key) == ("bad", keys.event("bad"))
        for look_at_run in (client.get_run, client.retry_run):
            with pytest.raises(DamagedRecord, match="record of event 'bad' can't be read"):
                look_at_run("bad:app/job")
        with pytest.raises(DamagedRecord, match="record of event 'bad' can't be read"):
            client.wait_for_event("bad", 0)
    assert redis.dump(keys.event("bad")) == was


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_record_stops_no_other_event_of_a_call(
    url: str, namespace: str, redis: redis_py.Redis, keys: Keys, kind: Kind
) -> None:
    """The error names it, and holds what became of the other events."""
    seed(redis, keys, "bad", WHOLE | {b"m": b"something else"})
    with open_client(kind, url, namespace=namespace) as client:
        with pytest.raises(DamagedRecord, match="event 'bad' can't be read: the record's header") as caught:
            client.send_events([Event("a", id=each) for each in ("one", "bad", "two")], deliver_after=60)
        assert [each.id for each in caught.value.sent] == ["one", "two"]
        assert [client.cancel_event(each).status for each in ("one", "two")] == ["canceled"] * 2


LETTERS = st.dictionaries(
    st.sampled_from([b"run", b"reason", b"error", b"raw.b", b"raw.\xff"]) | st.binary(min_size=1, max_size=4),
    VALUES | st.just(b"e:app/job"),
    min_size=1,
    max_size=5,
)


def test_a_damaged_dead_letter_hides_no_other(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Each letter is in the listing, whatever its fields are, and can be read by its id."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(LETTERS, min_size=1, max_size=4))
    def hold(letters: list[dict[bytes, bytes]]) -> None:
        redis.delete(keys.dead)
        ids = [redis.xadd(keys.dead, letter).decode() for letter in letters]  # type: ignore[arg-type, union-attr]
        assert [each.id for each in client.list_dead_letters().items] == ids[::-1]
        assert [client.get_dead_letter(each).id for each in ids] == ids
        redis.delete(keys.dead)

    hold()
