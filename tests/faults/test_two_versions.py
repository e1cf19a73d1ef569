"""The last release and the working tree side by side, in one namespace: each finishes what the other began."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.formats.codec import encode_event
from tests.faults.chaos.checker import Report
from tests.faults.chaos.history import Acknowledged, Began, OfLastRelease, Repeated, Sending, now
from tests.faults.chaos.run import run_on
from tests.faults.chaos.system import System
from tests.faults.deployment import Deployment, worker_name
from tests.faults.versions import ENOUGH, Call, Side, Versions, env_of, hand_over, mixed_system, tend
from tests.support.processes import Process, Processes
from tests.support.release import Release
from tests.support.waiting import WaitedInVain, wait_until

LEASE: dict[str, Any] = {"lease": 2.0, "block": 0.5}
_RESENT = 15
_LOAD_S = 12.0
"""Long enough for several runs that die, and events that are canceled, which are rare in the load."""


def executed_by(system: System, side: Side) -> int:
    """Return how many functions the workers of a side have called."""
    return sum(isinstance(line, Began) and line.pid in side.pids for line in system.lines())


def send_again(system: System, producer: Process, ask: Callable[[Call], list[Any]]) -> None:
    """Let the other version send this producer's events again, with their ids, and write the answers to the history."""
    lines = system.lines(str(producer.pid))
    delivered = {line.id for line in lines if isinstance(line, Acknowledged) and line.delivered_ms}
    sent = [line for line in lines if isinstance(line, Sending) and line.id in delivered][:_RESENT]
    (answers,) = ask(("send_events", [[{"id": line.id, "name": line.name} for line in sent]], {}))
    for answer in answers:
        system.diary.add(Repeated(**now(), id=answer["id"], duplicate=answer["duplicate"]))


def assert_sound(report: Report) -> None:
    """Check that no rule is broken, and that something could have broken each rule."""
    assert report.violations == ()
    assert min(report.counts[name] for name in ("acknowledged", "delayed", "canceled", "runs dead")) > 0


@pytest.mark.timeout(240)
def test_both_versions_serve_one_namespace(tmp_path: Path, server_binary: Path | None, release: Release) -> None:
    """Workers and producers of both, on one app: every promise is kept, whichever version does which step."""
    with mixed_system(tmp_path, server_binary, release) as (system, old, new):
        system.posts = [old.post(), new.post(), old.post(), new.post()]

        def act() -> None:
            until = time.monotonic() + _LOAD_S
            tend(system, old, new, until=lambda: time.monotonic() >= until, what="the end of the load")
            tend(system, old, new, until=lambda: old.has_worked() and new.has_worked(), what="work of both versions")
            from_old, from_new = system.producers
            versions = Versions(system.deployment, release)
            send_again(system, from_old, versions.ask_new)
            send_again(system, from_new, versions.ask_old)

        assert_sound(report := run_on(system, act))
        assert report.counts["sent again"] >= 2 * _RESENT
        assert executed_by(system, old) > ENOUGH
        assert executed_by(system, new) > ENOUGH


@pytest.mark.timeout(300)
def test_a_rolling_deploy_and_its_rollback_lose_nothing(
    tmp_path: Path, server_binary: Path | None, release: Release
) -> None:
    """Under load new workers replace the old ones one by one, and then old ones the new ones."""
    with mixed_system(tmp_path, server_binary, release) as (system, old, new):
        system.posts = [old.post(), old.post()]

        def act() -> None:
            tend(system, old, until=old.has_worked, what="work of the old version")
            for side in (new, old):
                for post in list(system.posts):
                    hand_over(system, post, side)
                side.seen.clear()
                tend(system, side, until=side.has_worked, what="work of one version alone")

        assert_sound(report := run_on(system, act))
        assert report.counts["workers"] == 6


def test_the_history_knows_each_process_of_the_last_release(
    tmp_path: Path, server_binary: Path | None, release: Release
) -> None:
    """The one that found no server, and the one that was started in its place."""
    with mixed_system(tmp_path, server_binary, release) as (system, old, _):
        system.posts = [old.post()]
        system.kill_server()
        tend(system, old, until=lambda: len(old.pids) == 2, what="a second process")
        system.start_server()
        assert {line.pid for line in system.lines() if isinstance(line, OfLastRelease)} >= old.pids


@pytest.mark.parametrize(("dies", "inherits"), [("old", "new"), ("new", "old")])
def test_the_other_version_executes_the_runs_of_a_dead_worker(
    deployment: Deployment, release: Release, dies: str, inherits: str
) -> None:
    """Its runs and its events go to a worker of the other version when its lease has expired."""
    victim = deployment.start_worker("gates", env=env_of(release, dies), **LEASE)
    name = worker_name(victim)
    events = [deployment.send("hold", "held") for _ in range(5)]
    wait_until(lambda: deployment.calls.count() == len(events), 20, what="all first calls")
    heir = deployment.start_worker("gates", env=env_of(release, inherits), **LEASE)
    worker_name(heir)
    victim.kill()
    assert {event for event, _ in deployment.held_by(name, "gates")} == set(events)
    deployment.open_gate("held")
    deployment.wait_drained("gates")
    for event in events:
        (run,) = deployment.client.get_event(event).runs
        assert (run.status, run.attempt, run.lost, run.output) == ("succeeded", 1, 1, heir.pid)
        assert [call.pid for call in deployment.calls.of(event)] == [victim.pid, heir.pid]
    wait_until(lambda: name not in deployment.workers(), 30, what="the dead worker to be forgotten")


SENDS: list[dict[str, Any]] = [
    {"name": "echo", "payload": {"text": "é\n", "deep": [1.5, None, True, {"a": 2**60}]}, "context": {"trace": "x"}},
    {"name": "echo", "payload": {"text": "x" * 20_000}, "source": "elsewhere"},
    {"name": "wrong"},
    {"name": "late", "payload": 0},
    {"name": "again", "payload": ""},
    {"name": "nobody", "payload": [], "id": "its own id é {}:/"},
]
STATES = {"succeeded": 2, "failed": 3, "invalid_payload": 2, "timed_out": 1, "waiting": 1}
"""What the runs of these come to."""


def renamed(page: dict[str, Any], noun: str = "items") -> dict[str, Any]:
    """Return a page of the last release, whose items are under the names of their kinds, as the working tree has it."""
    return {noun if name in {"runs", "entries"} else name: value for name, value in page.items()}


def known_to(old: Any, new: Any) -> Any:
    """Return the part of the new version's answer for which the old version has a field."""
    if isinstance(old, dict) and isinstance(new, dict):
        assert old.keys() <= new.keys()
        return {name: known_to(old[name], new[name]) for name in old}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [known_to(*pair) for pair in zip(old, new, strict=True)]
    return new


@pytest.mark.leaves_records  # a run that waits for an hour, an event that is not settled
def test_what_one_version_has_written_the_other_reads(
    deployment: Deployment, release: Release, processes: Processes
) -> None:
    """Records, listings and dead letters of either are the same to the clients and the commands of both."""
    versions = Versions(deployment, release)
    ids: list[str] = []
    for version in ("old", "new"):
        process = deployment.start_worker("outcomes", env=env_of(release, version), **LEASE)
        worker_name(process)
        sent = versions.ask(version, *(("send_event", [event], {"account_id": "acme"}) for event in sends_of(version)))
        expect_outcomes(deployment, [each["id"] for each in sent])
        process.terminate()
        assert process.wait() == 0
        ids += [each["id"] for each in sent]
    calls: list[Call] = [("get_event", [event_id], {}) for event_id in ids]
    runs = [run.id for event_id in ids for run in deployment.client.get_event(event_id).runs]
    calls += [("get_run", [run], {}) for run in runs]
    calls += [
        ("list_runs", [], {}),
        ("list_runs", [], {"job": "outcomes/wrong", "limit": 3}),
        ("list_dead_letters", [], {}),
    ]
    old, new = versions.ask_old(*calls), versions.ask_new(*calls)
    old[-3:] = [renamed(page) for page in old[-3:]]
    assert known_to(old, new) == old
    assert len(old[-1]["items"]) == 2 * 6
    cursors: list[Call] = [("list_runs", [], {"limit": 3, "cursor": old[-2]["cursor"]})]
    old = [renamed(page) for page in versions.ask_old(*cursors)]
    assert known_to(old, versions.ask_new(*cursors)) == old
    for command in (["events", "show", ids[0]], ["runs", "list"], ["runs", "show", runs[1]], ["dead", "list"]):
        old, new = versions.show(processes, *command)
        old = [renamed(page, "dead") for page in old] if command[0] == "dead" else old
        assert old
        assert known_to(old, new) == old


def expect_outcomes(deployment: Deployment, ids: list[str]) -> None:
    """Check that every run of these events has the expected outcome."""

    def states() -> Counter[str]:
        return Counter(run.status for record in deployment.records(ids) for run in record.runs)

    with suppress(WaitedInVain):
        wait_until(lambda: states() == STATES, 30)
    assert states() == STATES


def sends_of(version: str) -> list[dict[str, Any]]:
    """Return the events that a version sends, each with an id of its own."""
    return [{**event, "id": f"{event['id']} {version}"} if "id" in event else event for event in SENDS]


@pytest.mark.parametrize(("sender", "other"), [("old", "new"), ("new", "old")])
def test_a_delayed_event_of_one_version_the_other_changes(
    deployment: Deployment, release: Release, sender: str, other: str
) -> None:
    """It can be canceled, and sent again with its id, which sets another time and another payload."""
    versions = Versions(deployment, release)
    event = {"name": "quick", "id": "moved", "payload": 1}
    versions.ask(
        sender,
        ("send_event", [event], {"deliver_after": 3600}),
        ("send_event", [{"name": "quick", "id": "ended"}], {"deliver_after": 3600}),
    )
    canceled, moved, ended_again = versions.ask(
        other,
        ("cancel_event", ["ended"], {}),
        ("send_event", [{**event, "payload": 2}], {"deliver_after": 0.1}),
        ("send_event", [{"name": "quick", "id": "ended"}], {}),
    )
    assert (canceled["status"], moved["duplicate"], ended_again["duplicate"]) == ("canceled", False, True)
    process = deployment.start_worker("gates", env=env_of(release, sender), **LEASE)
    worker_name(process)
    wait_until(lambda: deployment.statuses("moved") == {"quick": "succeeded"}, 20, what="the event that was moved")
    for version in ("old", "new"):
        (record,) = versions.ask(version, ("get_event", ["moved"], {}))
        assert (record["payload"], record["status"]) == (2, "settled")
    assert not deployment.calls.of("ended")
    process.terminate()
    assert process.wait() == 0


def test_an_old_worker_ignores_what_it_does_not_know(deployment: Deployment, release: Release) -> None:
    """It runs an event with headers, and remembers an id as long as any of a sender's; new clients see the headers."""
    versions = Versions(deployment, release)
    event = {"name": "quick", "id": "told", "payload": 1, "headers": {"traceparent": "00-ab-cd-01"}}
    versions.ask_new(("send_event", [event], {"ordering_key": "user-1", "dedupe_for": 7 * 86_400}))
    process = deployment.start_worker("gates", env=env_of(release, "old"), **LEASE)
    worker_name(process)
    wait_until(lambda: deployment.statuses("told") == {"quick": "succeeded"}, 20, what="the event with headers")
    old, new = versions.ask_old(("get_event", ["told"], {})), versions.ask_new(("get_event", ["told"], {}))
    assert known_to(old, new) == old
    assert new[0]["headers"] == event["headers"]
    assert 23 * 3_600 < deployment.redis.ttl(deployment.keys.event("told")) <= 24 * 3_600
    again: Call = ("send_event", [{"name": "quick", "id": "told"}], {})
    assert [answer["duplicate"] for answer in [*versions.ask_old(again), *versions.ask_new(again)]] == [True, True]
    process.terminate()
    assert process.wait() == 0


def test_the_last_release_refuses_an_event_for_one_job(release: Release) -> None:
    """It would give the event to every job of its name; it can't read the format, so it gives it to none."""
    body = encode_event("a", "s", 0, None, None, None, job="app/job")
    code = (
        "from headrace import UndecodableEvent\n"
        "from headrace.formats.codec import decode_event\n"
        f"try: decode_event({body!r})\n"
        "except UndecodableEvent as exc: print(exc)"
    )
    assert "has format 3" in release.run("-c", code, env={})
