"""Someone cuts lines, flushes scripts, ends reads, destroys groups or empties the server while a worker is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from tests.faults.scene import Scene
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 5.0, "block": 0.5, "concurrency": 50}
Hiccup = Callable[[Scene], None]


def kill_lines(scene: Scene) -> None:
    scene.redis.client_kill_filter(_type="normal", skipme=True)


def flush_scripts(scene: Scene) -> None:
    scene.redis.script_flush()


def pause_clients(scene: Scene) -> None:
    scene.redis.client_pause(20)


def unblock_reads(scene: Scene) -> None:
    """Every blocked read ends with the error of a server that fails over."""
    for client in scene.redis.client_list():
        if "b" in client["flags"]:
            scene.redis.client_unblock(client["id"], error=True)


def destroy_groups(scene: Scene) -> None:
    for stream, group in ((scene.keys.events, "dispatch"), (scene.queue("load"), "workers")):
        with suppress(redis.ResponseError):
            scene.redis.xgroup_destroy(stream, group)


HICCUPS: dict[str, Hiccup] = {
    "lines killed": kill_lines,
    "scripts flushed": flush_scripts,
    "clients paused": pause_clients,
    "reads unblocked": unblock_reads,
    "groups destroyed": destroy_groups,
}


async def calls_made(scene: Scene, count: int) -> None:
    await await_until(lambda: scene.calls.count() >= count, 30, what=f"{count} calls")


@pytest.mark.parametrize("hiccup", HICCUPS)
async def test_a_hiccup_of_the_server_loses_and_repeats_nothing(make_scene: Callable[..., Scene], hiccup: str) -> None:
    """Again and again under load, and every run of every event succeeds, called once, under the same name."""
    scene = make_scene()
    async with scene.working(scene.app("load"), **SETTINGS) as worker:
        name = worker.name
        ids: list[str] = []
        for _ in range(8):
            ids += await asyncio.to_thread(scene.send_many, "load", 25)
            HICCUPS[hiccup](scene)
            await calls_made(scene, 3 * (len(ids) - 25) + 1)
            HICCUPS[hiccup](scene)
        await scene.drained("load")
        assert worker.name == name
    counts = scene.calls.counts()
    assert counts.keys() == {(event, job) for event in ids for job in "abc"}
    assert {run: count for run, count in counts.items() if count > 1} == {}
    for record in scene.records(ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
