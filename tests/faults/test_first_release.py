"""What version 0.1.0 does with events that only later ones know: it sets them aside in `dead`, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Client, DeadLetter, Event, SentEvent
from headrace_worker import App
from tests.faults.scene import Scene, worker_name
from tests.support.codecs import SCRAMBLER
from tests.support.release import Release
from tests.support.waiting import await_until, wait_until

LEASE: dict[str, Any] = {"lease": 2.0, "block": 0.5}
_CODEC = {"ordered": None, "sealed": SCRAMBLER}
_REASON = "this release reads format 1; upgrade the workers first"
KINDS = pytest.mark.parametrize("kind", ["ordered", "sealed"])


def send(scene: Scene, kind: str, name: str = "quick") -> SentEvent:
    """Sends an event with an ordering key, or a sealed one."""
    with Client(scene.url, namespace=scene.namespace, codec=_CODEC[kind]) as client:
        return client.send_event(Event(name, payload="gate"), ordering_key="user" if kind == "ordered" else None)


def letter(scene: Scene) -> DeadLetter:
    """Returns the only dead letter, once it is there."""
    wait_until(lambda: scene.client.list_dead_letters().entries, 20, what="a dead letter")
    (entry,) = scene.client.list_dead_letters().entries
    return entry


@KINDS
@pytest.mark.leaves_records  # 0.1.0 leaves that of what it has set aside open
def test_an_old_dispatcher_sets_aside_what_it_would_break(scene: Scene, first_release: Release, kind: str) -> None:
    """No function is called without the order that was asked for, or with bytes that are sealed."""
    worker = scene.start_worker("gates", env=first_release.env, **LEASE)
    worker_name(worker)
    sent = send(scene, kind)
    assert _REASON in str(letter(scene).error)
    assert scene.statuses(sent.id) == {}
    scene.open_gate("gate")
    plain = scene.send("quick")
    scene.wait_drained("gates")
    assert scene.statuses(plain) == {"quick": "succeeded"}
    assert not scene.calls.of(sent.id)


@KINDS
@pytest.mark.leaves_records  # 0.1.0 leaves that of what it has set aside open
async def test_an_old_worker_sets_aside_a_run_that_it_would_break(
    scene: Scene, first_release: Release, kind: str
) -> None:
    """It was dispatched by a newer one; retried by hand, it runs on a newer one."""
    async with scene.working(scene.app("gates"), **LEASE):
        pass  # the group and the routes are there
    async with scene.working(App("other"), **LEASE):
        sent = send(scene, kind)
        await await_until(lambda: scene.redis.xlen(scene.queue("gates")) == 1, 20, what="a run that nobody fetches")
    worker = scene.start_worker("gates", env=first_release.env, **LEASE)
    worker_name(worker)
    assert _REASON in str(letter(scene).error)
    assert not scene.calls.of(sent.id)
    worker.terminate()
    assert worker.wait() == 0
    app = scene.app("gates")
    app.codec = _CODEC[kind]
    async with scene.working(app, **LEASE):
        scene.client.retry_run(f"{sent.id}:gates/quick")
        await scene.drained("gates")
    assert scene.statuses(sent.id) == {"quick": "succeeded"}


def test_an_old_leader_sets_aside_what_waits_with_a_key(scene: Scene, first_release: Release) -> None:
    """It can't read the member of `due`, and does not run it without its key; put back by hand, it goes on."""
    newer = scene.start_worker("outcomes", **LEASE)
    worker_name(newer)
    sent = send(scene, "ordered", "again")
    wait_until(lambda: scene.statuses(sent.id) == {"again": "waiting"}, 20, what="a run that waits")
    newer.terminate()
    assert newer.wait() == 0
    worker = scene.start_worker("outcomes", env=first_release.env, **LEASE)
    worker_name(worker)
    entry = letter(scene)
    assert "did not write this member of due" in str(entry.error)
    assert len(scene.calls.of(sent.id)) == 1
    worker.terminate()
    assert worker.wait() == 0
    scene.redis.zadd(scene.keys.due, {entry.raw["member"]: 0})
    worker_name(scene.start_worker("outcomes", **LEASE))
    wait_until(lambda: scene.statuses(sent.id) == {"again": "failed"}, 20, what="its last attempt")
    assert [call.attempt for call in scene.calls.of(sent.id)] == [1, 2]


def test_an_ordered_event_that_was_set_aside_goes_before_the_next_of_its_key(
    scene: Scene, first_release: Release
) -> None:
    """Once only newer workers are left, they find it in the order of its key and dispatch it first."""
    worker = scene.start_worker("gates", env=first_release.env, **LEASE)
    worker_name(worker)
    first = send(scene, "ordered")
    letter(scene)
    worker.terminate()
    assert worker.wait() == 0
    worker_name(scene.start_worker("gates", **LEASE))
    second = send(scene, "ordered")
    scene.wait_drained("gates")
    assert [call.event for call in scene.calls.read()] == [first.id, second.id]
    assert scene.statuses(first.id) == scene.statuses(second.id) == {"quick": "succeeded"}
