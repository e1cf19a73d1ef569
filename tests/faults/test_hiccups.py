"""Lines are cut, scripts flushed, reads ended, groups destroyed and the server emptied while a worker works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from tests.faults.deployment import Deployment
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 5.0, "block": 0.5, "concurrency": 50}
Hiccup = Callable[[Deployment], None]


def kill_lines(deployment: Deployment) -> None:
    deployment.redis.client_kill_filter(_type="normal", skipme=True)


def flush_scripts(deployment: Deployment) -> None:
    deployment.redis.script_flush()


def pause_clients(deployment: Deployment) -> None:
    deployment.redis.client_pause(20)


def unblock_reads(deployment: Deployment) -> None:
    """End every blocked read with the error of a server that fails over."""
    for client in deployment.redis.client_list():
        if "b" in client["flags"]:
            deployment.redis.client_unblock(client["id"], error=True)


def destroy_groups(deployment: Deployment) -> None:
    for stream, group in ((deployment.keys.events, "dispatch"), (deployment.queue("load"), "workers")):
        with suppress(redis.ResponseError):
            deployment.redis.xgroup_destroy(stream, group)


HICCUPS: dict[str, Hiccup] = {
    "lines killed": kill_lines,
    "scripts flushed": flush_scripts,
    "clients paused": pause_clients,
    "reads unblocked": unblock_reads,
    "groups destroyed": destroy_groups,
}


async def calls_made(deployment: Deployment, count: int) -> None:
    await await_until(lambda: deployment.calls.count() >= count, 30, what=f"{count} calls")


@pytest.mark.parametrize("hiccup", HICCUPS)
async def test_a_hiccup_of_the_server_loses_and_repeats_nothing(
    make_deployment: Callable[..., Deployment], hiccup: str
) -> None:
    """Under load, again and again: every run succeeds, is called once, and the worker keeps its name."""
    deployment = make_deployment()
    async with deployment.working(deployment.app("load"), **SETTINGS) as worker:
        name = worker.name
        ids: list[str] = []
        for _ in range(8):
            ids += await asyncio.to_thread(deployment.send_many, "load", 25)
            HICCUPS[hiccup](deployment)
            await calls_made(deployment, 3 * (len(ids) - 25) + 1)
            HICCUPS[hiccup](deployment)
        await deployment.drained("load")
        assert worker.name == name
    counts = deployment.calls.counts()
    assert counts.keys() == {(event, job) for event in ids for job in "abc"}
    assert {run: count for run, count in counts.items() if count > 1} == {}
    for record in deployment.records(ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
