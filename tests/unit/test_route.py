"""The routes are, for each job, the subscription of the newest fingerprint that has a live worker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.formats.codec import decode_event, encode_event
from headrace_worker import App, event_trigger
from headrace_worker.app.routes import (
    ROUTES_FORMAT,
    Route,
    Routes,
    RoutesTooNew,
    StoredTrigger,
    Subscription,
    Subscriptions,
    fingerprint_of,
    subscriptions_of,
)


def _app(**jobs: Any) -> App:
    """An app whose jobs listen to one name each, or to whatever trigger is given."""
    app = App("app")
    for job_id, trigger in jobs.items():
        app.job(id=job_id, trigger=event_trigger(trigger) if isinstance(trigger, str) else trigger)(lambda: None)
    return app


def _blob(**jobs: Any) -> bytes:
    return subscriptions_of(_app(**jobs))


def _hash(*versions: tuple[bytes, int, list[str]], last: bytes | None = None) -> dict[bytes, bytes]:
    """An app's stored routes: subscriptions, their age, the workers that live with them."""
    stored: dict[bytes, bytes] = {}
    for blob, age, workers in versions:
        fingerprint = fingerprint_of(blob).encode()
        stored |= {b"s:" + fingerprint: blob, b"n:" + fingerprint: str(age).encode()}
        stored |= {b"w:" + worker.encode(): fingerprint for worker in workers}
    if last is not None:
        stored[b"last"] = fingerprint_of(last).encode()
    return stored


def _matched(
    routes: Routes, name: str, *, source: str = "trigger.dev", payload: Any = None, context: Any = None
) -> set[str]:
    return {route.job for route in routes.match(decode_event(encode_event(name, source, 0, payload, context, None)))}


# Fingerprints.


def test_the_order_of_definition_does_not_matter() -> None:
    """The same jobs have the same fingerprint, with the keys of their filters in any order."""
    one = event_trigger("a", filter={"x": [1], "y": {"z": ["b"], "w": [True]}})
    other = event_trigger("a", filter={"y": {"w": [True], "z": ["b"]}, "x": [1]})
    assert _blob(first=one, second="b") == _blob(second="b", first=other)
    assert fingerprint_of(_blob(first=one)) == fingerprint_of(_blob(first=other))


@pytest.mark.parametrize(
    "other",
    [
        event_trigger("b"),
        event_trigger(["a", "b"]),
        event_trigger("a", source="web"),
        event_trigger("a", filter={"x": [1]}),
        event_trigger("a", context_filter={"x": [1]}),
    ],
)
def test_any_difference_of_a_trigger_is_another_fingerprint(other: Any) -> None:
    """Names, sources and both filters count."""
    assert fingerprint_of(_blob(job="a")) != fingerprint_of(_blob(job=other))
    assert fingerprint_of(_blob(job="a")) != fingerprint_of(_blob(other="a"))


def test_functions_retries_and_timeouts_are_no_part_of_it() -> None:
    """A change of those changes no route."""
    app = App("app")
    app.job(id="job", trigger=event_trigger("a"), timeout=3)(lambda payload: payload)
    assert subscriptions_of(app) == _blob(job="a")
    app = App("app")
    app.job(id="job", trigger=event_trigger("a"), queue="other")(lambda: None)
    assert subscriptions_of(app) != _blob(job="a")


# Which subscriptions count.


OLD, NEW = _blob(kept="a", gone="g"), _blob(kept="b", fresh="f")


def test_of_two_live_versions_the_newer_one_routes() -> None:
    """A job that only the older one has still matches."""
    for order in ([(OLD, 1, ["w1"]), (NEW, 2, ["w2"])], [(NEW, 2, ["w2"]), (OLD, 1, ["w1"])]):
        routes = Routes("2", {"app": _hash(*order)})
        assert _matched(routes, "a") == set()
        assert _matched(routes, "b") == {"app/kept"}
        assert _matched(routes, "f") == {"app/fresh"}
        assert _matched(routes, "g") == {"app/gone"}


def test_a_newer_version_without_live_workers_does_not_route() -> None:
    """A rollback brings the old routes back."""
    routes = Routes("3", {"app": _hash((OLD, 1, ["w1"]), (NEW, 2, []))})
    assert _matched(routes, "a") == {"app/kept"}
    assert _matched(routes, "f") == set()


def test_when_none_lives_the_last_stays() -> None:
    """Events that come while an app is down wait for it in its queues."""
    routes = Routes("3", {"app": _hash((OLD, 1, []), (NEW, 2, []), last=OLD)})
    assert _matched(routes, "a") == {"app/kept"}
    assert not routes.has_live("app/kept")
    assert _matched(Routes("1", {"app": _hash((OLD, 1, []))}), "a") == set()


@pytest.mark.parametrize("kind", [b"d:w", b"last"])
def test_what_is_registered_counts_while_none_lives(kind: bytes) -> None:
    """It counts alone, whatever dead workers or the last one had; its jobs are not live."""
    stored = _hash((OLD, 1, []), (NEW, 2, []))
    stored |= {kind: fingerprint_of(OLD).encode(), b"registered": fingerprint_of(NEW).encode()}
    routes = Routes("3", {"app": stored})
    assert [_matched(routes, name) for name in "abfg"] == [set(), {"app/kept"}, {"app/fresh"}, set()]
    assert not routes.has_live("app/kept")


def test_what_is_registered_does_not_count_while_one_lives() -> None:
    """The live worker's jobs keep their events, and the others wait for a worker that has them."""
    stored = _hash((OLD, 1, ["w"]), (NEW, 2, [])) | {b"registered": fingerprint_of(NEW).encode()}
    routes = Routes("3", {"app": stored})
    assert [_matched(routes, name) for name in "abfg"] == [{"app/kept"}, set(), set(), {"app/gone"}]


def test_the_last_does_not_count_while_one_lives() -> None:
    """It is only what stays when all have gone."""
    routes = Routes("3", {"app": _hash((OLD, 1, []), (NEW, 2, ["w"]), last=OLD)})
    assert _matched(routes, "g") == set()
    assert _matched(routes, "b") == {"app/kept"}


def test_a_job_is_live_while_a_worker_has_it() -> None:
    """Of whatever version."""
    routes = Routes("2", {"app": _hash((OLD, 1, ["w1"]), (NEW, 2, ["w2"]))})
    assert [routes.has_live(f"app/{job}") for job in ("kept", "gone", "fresh", "never")] == [True, True, True, False]
    assert not routes.has_live("other/kept")


def test_a_fingerprint_without_subscriptions_is_passed_over() -> None:
    """They were forgotten, or never stored."""
    stored = _hash((OLD, 1, ["w1"]))
    stored[b"w:w2"] = b"unknown"
    assert _matched(Routes("2", {"app": stored}), "a") == {"app/kept"}


@pytest.mark.parametrize("age", [b"", b"x", b"-5", b"1e9", b"9" * 5_000, b"\xb2"])
def test_an_age_that_is_none_is_that_of_the_oldest(age: bytes) -> None:
    """The app's other versions come before it, and other apps' events go on."""
    stored = _hash((OLD, 1, ["w1"]), (NEW, 2, ["w2"]))
    stored[b"n:" + fingerprint_of(NEW).encode()] = age
    routes = Routes("2", {"app": stored, "other": _hash((_blob(mine="a"), 1, ["w"]))})
    assert _matched(routes, "a") == {"app/kept", "other/mine"}


# Versions of the format.


def _hostile(job: str = "job", queue: str = "queue", **trigger: Any) -> bytes:
    """Subscriptions that no release of Headrace has stored."""
    subscription = {"job": job, "queue": queue, "trigger": {"names": ["signed.up"], **trigger}}
    return msgspec.msgpack.encode({"format": ROUTES_FORMAT, "jobs": [subscription]})


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xc1",
        b"\x81\xa6format",
        b"\x82\xa6format\x01\xa4jobs\x05",
        _hostile("job\xff").replace(b"\xc3\xbf", b"\xff\xff"),
        _hostile(filter={"deep": 1}).replace(b"\x01", b"\x91" * 5_000 + b"\x01"),
        _hostile("a/b"),
        _hostile("a:b"),
        _hostile(""),
        _hostile(queue="a b"),
        _hostile(filter={"plan": "pro"}),
        _hostile(context_filter={"plan": [{"$like": "p%"}]}),
    ],
)
def test_damaged_subscriptions_hinder_no_other_app(damaged: bytes) -> None:
    """They match nothing and are named; an older version of the same app counts in their place."""
    older = _blob(old="signed.up")
    routes = Routes(
        "1",
        {
            "other": _hash((_blob(mine="signed.up"), 1, ["w"])),
            "app": _hash((older, 1, ["w1"]), (damaged, 2, ["w2"])),
        },
    )
    assert _matched(routes, "signed.up") == {"other/mine", "app/old"}
    assert routes.unreadable == [f"app {fingerprint_of(damaged)}"]


def test_routes_that_need_a_newer_release_are_refused_by_name() -> None:
    """Whatever else stands in them; the error says what this worker does not do."""
    blob = msgspec.msgpack.encode({"format": ROUTES_FORMAT + 1, "jobs": "in a shape of the future"})
    with pytest.raises(RoutesTooNew, match=r"app 'app' have format 2, this release evaluates 1; .* dispatches nothing"):
        Routes("2", {"app": _hash((blob, 1, ["w1"]))})


def test_newer_routes_that_do_not_count_hinder_nobody() -> None:
    """No worker lives with them."""
    blob = msgspec.msgpack.encode({"format": ROUTES_FORMAT + 1, "jobs": []})
    assert _matched(Routes("2", {"app": _hash((OLD, 1, ["w1"]), (blob, 2, []))}), "a") == {"app/kept"}


def test_fields_that_a_later_release_adds_are_ignored() -> None:
    """As long as the format is the same."""
    blob = msgspec.msgpack.encode(
        {"format": 1, "more": 1, "jobs": [{"job": "j", "queue": "q", "hint": 1, "trigger": {"names": ["a"], "new": 2}}]}
    )
    routes = Routes("1", {"app": _hash((blob, 1, ["w"]))})
    assert routes.match(decode_event(encode_event("a", "s", 0, None, None, None))) == [Route("app/j", "app", "q")]


# Disabled jobs, and events for one job.


def test_a_disabled_job_is_matched_by_no_event() -> None:
    """Not even by one that was sent to it alone; its app's other jobs are. Its live workers still have it."""
    routes = Routes("1", {"app": _hash((_blob(on="a", off="a"), 1, ["w"])) | {b"x:off": b"1000 why"}})
    assert _matched(routes, "a") == {"app/on"}
    assert routes.of_job("app/on") == [Route("app/on", "app", "default")]
    assert (routes.of_job("app/off"), routes.of_job("app/none")) == ([], [])
    assert routes.has_live("app/off")


# The match.


def test_an_event_matches_by_name_source_and_both_filters() -> None:
    """All of them must pass; a job is matched once, however many of its names there are."""
    trigger = event_trigger(
        ["a", "b"], source=["web", "api"], filter={"plan": ["pro"]}, context_filter={"region": ["eu"]}
    )
    routes = Routes("1", {"app": _hash((_blob(job=trigger), 1, ["w"]))})
    fits: dict[str, Any] = {"source": "web", "payload": {"plan": "pro"}, "context": {"region": "eu"}}
    assert _matched(routes, "a", **fits) == _matched(routes, "b", **fits) == {"app/job"}
    assert _matched(routes, "A", **fits) == set()
    for field, value in (
        ("source", "trigger.dev"), ("source", "WEB"), ("payload", {"plan": "free"}), ("payload", None),
        ("context", {"region": "us"}), ("context", None),
    ):  # fmt: skip
        assert _matched(routes, "a", **fits | {field: value}) == set()


def test_jobs_of_several_apps_match_side_by_side() -> None:
    """Each is named with its app, and goes to its queue."""
    other = msgspec.msgpack.encode(
        Subscriptions(1, [Subscription("job", "slow", StoredTrigger.of(event_trigger("a")))])
    )
    routes = Routes("1", {"app": _hash((_blob(job="a"), 1, ["w"])), "shop": _hash((other, 1, ["v"]))})
    found = routes.match(decode_event(encode_event("a", "s", 0, None, None, None)))
    assert found == [Route("app/job", "app", "default"), Route("shop/job", "shop", "slow")]


def test_an_empty_filter_passes_whatever_the_payload_is() -> None:
    """It is not even decoded."""
    routes = Routes("1", {"app": _hash((_blob(job=event_trigger("a", filter={}, context_filter={})), 1, ["w"]))})
    event = msgspec.structs.replace(decode_event(encode_event("a", "s", 0, None, None, None)), p=msgspec.Raw(b"\xc1"))
    assert [route.job for route in routes.match(event)] == ["app/job"]
