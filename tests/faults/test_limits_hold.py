"""A limit and a pause hold whatever is killed, and lose no run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import pytest

from headrace import HeadraceError
from tests.faults.apps import LIMIT, over_limit_path
from tests.faults.deployment import Deployment, worker_name
from tests.support.release import Release
from tests.support.waiting import await_until, wait_until

FAST: dict[str, Any] = {"lease": 1.0, "block": 0.5, "max_lost": 1_000, "concurrency": 50}


_WAVES = 4


def kill_in_waves(deployment: Deployment, app: str, send: Callable[[], list[str]]) -> Iterator[list[str]]:
    """Kill one of three workers in the midst of what each of four sends has brought, and replace it; yield the ids.

    Args:
        send: brings more than a hundred runs.
    """
    living = [deployment.start_worker(app, **FAST) for _ in range(3)]
    for _ in range(_WAVES):
        victim = living.pop(0)
        worker_name(victim)
        calls = deployment.calls.count() + 100
        ids = send()
        wait_until(partial(_has_got_on, deployment, calls), 60)
        victim.kill()
        living.append(deployment.start_worker(app, **FAST))
        yield ids


def _has_got_on(deployment: Deployment, calls: int) -> bool:
    return deployment.calls.count() >= calls


def all_have_ended(deployment: Deployment, ids: list[str]) -> bool:
    return all(record.is_settled for record in deployment.records(ids))


def test_a_declared_limit_holds_while_workers_are_killed(deployment: Deployment) -> None:
    """Never more runs than the limit execute at once; every run ends, also those of the other queue."""

    def send() -> list[str]:
        return deployment.send_many("limited", 150) + deployment.send_many("free", 50)

    ids = [each for wave in kill_in_waves(deployment, "limited", send) for each in wave]
    wait_until(lambda: all_have_ended(deployment, ids), 60, what="the end of all runs")
    assert not over_limit_path(deployment.folder).exists()


def test_a_limit_at_run_time_holds_while_workers_are_killed(deployment: Deployment) -> None:
    """It is set before the first run, and changes at each kill; workers that start meanwhile keep it, too."""
    first = deployment.start_worker("shared", **FAST)
    worker_name(first)
    deployment.client.limit_queue("shared/default", LIMIT)
    ids: list[str] = []
    limits = cycle([1, LIMIT, 2, LIMIT])
    for wave in kill_in_waves(deployment, "shared", lambda: deployment.send_many("shared", 150)):
        ids += wave
        deployment.client.limit_queue("shared/default", next(limits))
    wait_until(lambda: all_have_ended(deployment, ids), 60, what="the end of all runs")
    assert not over_limit_path(deployment.folder).exists()


@pytest.mark.parametrize(
    "command", [("CLIENT", "KILL", "TYPE", "pubsub"), ("ACL", "SETUSER", "default", "-subscribe", "-client")]
)
async def test_a_worker_that_does_not_hear_of_a_limit_keeps_it(
    make_deployment: Callable[..., Deployment], command: tuple[str, ...]
) -> None:
    """Its connection is cut, or it may not subscribe nor end a read: it takes nothing until it sees the limit."""
    deployment = make_deployment()
    async with deployment.working(deployment.app("shared"), **FAST):
        first = deployment.send_many("shared", LIMIT)
        await await_until(lambda: all_have_ended(deployment, first), what="the first runs")
        deployment.redis.execute_command(*command)
        deployment.client.limit_queue("shared/default", LIMIT)
        ids = deployment.send_many("shared", 200)
        await deployment.drained("shared")
    assert not over_limit_path(deployment.folder).exists()
    assert all_have_ended(deployment, ids)


def test_a_killed_workers_run_does_not_start_on_a_paused_queue(deployment: Deployment) -> None:
    """It is rescued and waits, and starts when the queue goes on."""
    victim = deployment.start_worker("gates", **FAST)
    event = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(event), what="the first call")
    deployment.start_worker("gates", **FAST)
    deployment.client.pause_queue("gates/default")
    name = worker_name(victim)
    victim.kill()
    wait_until(lambda: deployment.is_fenced(name) and not deployment.held_by(name, "gates"), 20, what="the rescue")
    later = deployment.send("quick")
    wait_until(lambda: deployment.client.get_event(later).status == "dispatched", what="the dispatch")
    assert len(deployment.calls.of(event)) == 1
    assert not deployment.calls.of(later)
    deployment.open_gate("held")
    deployment.client.resume_queue("gates/default")
    wait_until(lambda: all_have_ended(deployment, [event, later]), 20, what="both runs")


async def test_a_pause_outlasts_the_server(make_deployment: Callable[..., Deployment]) -> None:
    """A server that is killed and comes back with its data still gives nothing of the queue to anyone."""
    deployment = make_deployment(extra=("--appendonly", "yes", "--appendfsync", "always"))
    async with deployment.working(deployment.app("gates"), **FAST):
        deployment.client.pause_queue("gates/default", reason="a restart")
        deployment.server.kill()
        deployment.server.start()
        event = deployment.send("quick")
        await await_until(
            lambda: deployment.client.get_event(event).status == "dispatched", 30, ignoring=(HeadraceError,)
        )
        (controls,) = deployment.client.list_queue_controls()
        assert controls.reason == "a restart"
        assert not deployment.calls.of(event)
        deployment.client.resume_queue("gates/default")
        await await_until(lambda: deployment.calls.of(event), 20)
        await deployment.drained("gates")


async def test_a_queue_that_is_lost_is_paused_again(deployment: Deployment) -> None:
    """Its group is made again by a worker that finds it gone, and is closed at once."""
    async with deployment.working(deployment.app("gates"), **FAST):
        deployment.client.pause_queue("gates/default")
        deployment.redis.delete(deployment.queue("gates"))
        await await_until(lambda: deployment.redis.exists(deployment.queue("gates")), 20)
        event = deployment.send("quick")
        await await_until(lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, 20)
        await deployment.passed(1.5)  # more than two reads
        assert not deployment.calls.of(event)
        deployment.client.resume_queue("gates/default")
        await await_until(lambda: deployment.calls.of(event), 20)
        await deployment.drained("gates")


def test_workers_of_the_last_release_start_nothing_of_a_paused_queue(deployment: Deployment, release: Release) -> None:
    """They know of no pause, and the server gives them nothing; they go on as soon as the queue does."""
    worker_name(deployment.start_worker("gates", env=release.env, **FAST))
    deployment.client.pause_queue("gates/default")
    event = deployment.send("quick")
    wait_until(lambda: deployment.client.get_event(event).status == "dispatched", 20, what="the dispatch")
    asyncio.run(deployment.passed(1.5))  # more than two reads
    assert not deployment.calls.of(event)
    deployment.client.resume_queue("gates/default")
    wait_until(lambda: all_have_ended(deployment, [event]), 20, what="the run")
