"""The match of an event against the routes of several apps and versions is what a naive reading of them says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace import Event, SendOptions
from headrace.formats.codec import decode_event, encode_event
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace.plans.prepare import prepare
from headrace_worker import Trigger, event_trigger
from headrace_worker.app.routes import Route, Routes, StoredTrigger, Subscription, Subscriptions, fingerprint_of
from headrace_worker.inspect.explanation import Explanation, explain_send
from tests.properties.naive_filter import naive_passes

NAMES = st.sampled_from(["a", "b", "A"])
SOURCES = st.sampled_from(["web", "api", "trigger.dev"])
JOBS = st.sampled_from(["one", "two", "three"])
APPS = st.sampled_from(["app", "shop"])
SCALARS = st.sampled_from([1, "1", True, "x"])
FILTERS = st.none() | st.dictionaries(
    st.sampled_from(["k", "l"]),
    st.lists(SCALARS, max_size=1)
    | st.sampled_from([[{"$exists": False}], [{"$isNull": False}], [{"$anythingBut": "x"}]])
    | st.dictionaries(st.just("k"), st.lists(SCALARS, max_size=1), max_size=1),
    max_size=2,
)
VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=4,
)


@st.composite
def _triggers(draw: st.DrawFn) -> Trigger:
    return event_trigger(
        draw(st.lists(NAMES, min_size=1, max_size=2)),
        source=draw(st.none() | st.lists(SOURCES, min_size=1, max_size=2)),
        filter=draw(FILTERS),
        context_filter=draw(FILTERS),
    )


VERSIONS = st.lists(
    st.tuples(st.dictionaries(JOBS, _triggers(), max_size=3), st.integers(0, 2)), max_size=3
)  # each: jobs, and how many workers live with them; later ones are newer
STORED_APPS = st.dictionaries(APPS, st.tuples(VERSIONS, st.integers(1, 3)), max_size=2)


class _Stored(msgspec.Struct):
    """An app's versions, as they are stored, and the naive reading of which jobs count."""

    fields: dict[bytes, bytes]
    jobs: dict[str, Trigger]


def _store(app: str, versions: list[tuple[dict[str, Trigger], int]], last: int) -> _Stored:
    fields: dict[bytes, bytes] = {}
    newest_first: list[tuple[dict[str, Trigger], bool, int]] = []
    for age, (jobs, workers) in enumerate(versions, 1):
        subscriptions = [Subscription(job, f"{app}-queue", StoredTrigger.of(jobs[job])) for job in sorted(jobs)]
        blob = msgspec.msgpack.encode(Subscriptions(1, subscriptions))
        fingerprint = fingerprint_of(blob).encode()
        fields |= {b"s:" + fingerprint: blob, b"n:" + fingerprint: str(age).encode()}
        fields |= {b"w:%d.%d" % (age, number): fingerprint for number in range(workers)}
        newest_first.insert(0, (jobs, workers > 0, age))
        if age == last:
            fields[b"last"] = fingerprint
    alive = [jobs for jobs, is_alive, _ in newest_first if is_alive]
    if not any(is_alive for _, is_alive, _ in newest_first):
        alive = [jobs for jobs, _, age in newest_first if age == last]
    effective: dict[str, Trigger] = {}
    for jobs in alive:
        effective = jobs | effective
    return _Stored(fields, effective)


def _fits(trigger: Trigger, name: str, source: str, payload: Any, context: Any) -> bool:
    return (
        name in trigger.names
        and (source in trigger.sources or not trigger.sources)
        and naive_passes(trigger.filter or {}, payload)
        and naive_passes(trigger.context_filter or {}, context)
    )


@given(STORED_APPS, NAMES, SOURCES, VALUES, VALUES)
def test_an_event_goes_where_the_newest_live_subscriptions_say(
    apps: dict[str, tuple[list[tuple[dict[str, Trigger], int]], int]],
    name: str,
    source: str,
    payload: Any,
    context: Any,
) -> None:
    """Each job at most once, to its own queue; the same jobs twice are one version."""
    stored = {app: _store(app, _distinct(versions), last) for app, (versions, last) in apps.items()}
    routes = Routes("1", {app: each.fields for app, each in stored.items()})
    found = routes.match(decode_event(encode_event(name, source, 0, payload, context, None)))
    expected = {
        Route(f"{app}/{job}", app, f"{app}-queue")
        for app, each in stored.items()
        for job, trigger in each.jobs.items()
        if _fits(trigger, name, source, payload, context)
    }
    assert {(route.job, route.app, route.queue) for route in expected} == {
        (route.job, route.app, route.queue) for route in found
    }
    assert len(found) == len(expected)


@given(STORED_APPS, NAMES, SOURCES, VALUES, VALUES, st.data())
def test_an_explanation_agrees_with_the_match(
    apps: dict[str, tuple[list[tuple[dict[str, Trigger], int]], int]],
    name: str,
    source: str,
    payload: Any,
    context: Any,
    data: st.DataObject,
) -> None:
    """The jobs that are said to get an event are those that a dispatcher finds, some of them disabled."""
    stored = {app: _store(app, _distinct(versions), last).fields for app, (versions, last) in sorted(apps.items())}
    for fields in stored.values():
        fields |= {b"x:" + job.encode(): b"1 why" for job in data.draw(st.sets(JOBS, max_size=1))}
    found = Routes("1", stored).match(decode_event(encode_event(name, source, 0, payload, context, None)))
    (event,) = prepare([Event(name, payload, context, source=source)], SendOptions(), now=lambda: datetime.now(UTC))
    answers = _explained(explain_send(Partitions("test"), event), stored).answers
    assert {each.job for each in answers if each.verdict == "matches"} == {route.job for route in found}
    assert all((each.failure is None) is (each.verdict != "fails") for each in answers)


def _explained(plan: Plan[Explanation], stored: dict[str, dict[bytes, bytes]]) -> Explanation:
    """Return what a plan returns where these routes are stored, and no lease runs."""
    next(plan)
    try:
        plan.send([list(stored), 0, {}])
        plan.send(list(stored.values()))
    except StopIteration as done:
        explanation: Explanation = done.value
        return explanation
    raise AssertionError("it asks for more")


def _distinct(versions: list[tuple[dict[str, Trigger], int]]) -> list[tuple[dict[str, Trigger], int]]:
    kept: list[tuple[dict[str, Trigger], int]] = []
    for jobs, workers in versions:
        if all(jobs != other for other, _ in kept):
            kept.append((jobs, workers))
    return kept
