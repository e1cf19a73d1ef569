"""A worker that has nothing to do asks the server less than once a second, all its loops together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from tests.faults.apps import flaky
from tests.faults.deployment import Deployment

SETTLED_S = 5
"""Seconds at the usual settings, after which what a start takes is over."""


async def commands_sent(deployment: Deployment, seconds: float) -> list[str]:
    """Return how many commands clients send in so many seconds, without the calls of scripts."""
    sent: list[str] = []
    async with redis.asyncio.Redis.from_url(deployment.url, socket_timeout=60) as client, client.monitor() as monitor:

        async def listen() -> None:
            while True:
                command = await monitor.next_command()
                if command["client_type"] != "lua":
                    sent.append(command["command"])

        listening = asyncio.ensure_future(listen())
        await asyncio.sleep(seconds)
        listening.cancel()
        await asyncio.wait([listening])
    return sent


@pytest.mark.parametrize("second_queue", ["default", "other"])
@pytest.mark.parametrize("faster", [20, pytest.param(1, marks=pytest.mark.slow)])
async def test_an_idle_worker_sends_less_than_a_command_a_second(
    deployment: Deployment, second_queue: str, faster: float
) -> None:
    """Even one that leads, dispatches and has several queues, with the usual settings and with short times."""
    settings: dict[str, Any] = {"lease": 15 / faster, "block": 5 / faster}
    async with deployment.working(flaky(deployment.folder, second_queue), **settings):
        await deployment.passed(SETTLED_S / faster)
        started_ms = deployment.now_ms()
        sent = await commands_sent(deployment, 40 / faster)
        seconds = (deployment.now_ms() - started_ms) / 1000 * faster
    assert len(sent) > 0.3 * seconds, "a worker that asks this seldom does not renew its lease"
    assert len(sent) < seconds, sorted(sent)
