"""Under load everything goes in batches: the commands of a run do not depend on the number of runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.calls.call import Call
from headrace.transport.single import AsyncTransport, Transport
from headrace_worker import App, event_trigger
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

RUNS = 5_000


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return the commands that the worker has sent, by their names or their scripts' names."""
    counted: Counter[str] = Counter()

    def count(calls: Sequence[Call[Any]]) -> None:
        counted.update(call.script.name if call.script else str(call.args[0]) for call in calls)

    asynchronous, plain = AsyncTransport._exchange, Transport._exchange

    async def exchange(
        self: AsyncTransport, connection: Any, calls: Sequence[Call[Any]], packed: list[bytes]
    ) -> list[Any]:
        count(calls)
        return await asynchronous(self, connection, calls, packed)

    def exchange_plain(self: Transport, connection: Any, calls: Sequence[Call[Any]], packed: list[bytes]) -> list[Any]:
        count(calls)
        return plain(self, connection, calls, packed)

    monkeypatch.setattr(AsyncTransport, "_exchange", exchange)
    monkeypatch.setattr(Transport, "_exchange", exchange_plain)
    return counted


@pytest.mark.parametrize("kind", ["at once", "waits", "plain"])
async def test_a_run_costs_a_tenth_of_a_command_at_most(
    host: WorkerHost, client: Client, redis: redis_py.Redis, commands: Counter[str], kind: str
) -> None:
    """Dispatch, fetch and settle together, whether functions wait, are plain, or neither."""
    app, seen = App("app"), 0

    async def at_once() -> None:
        nonlocal seen
        seen += 1

    async def waits() -> None:
        nonlocal seen
        await asyncio.sleep(0)
        seen += 1

    def plain() -> None:
        nonlocal seen
        seen += 1

    runs = RUNS // 5 if kind == "plain" else RUNS
    app.job(id="job", trigger=event_trigger("asked"))({"at once": at_once, "waits": waits, "plain": plain}[kind])
    client.send_events([Event("asked", payload={"n": n, "text": "x" * 80}) for n in range(runs)])
    queue = f"headrace:{{{host.namespace}:0}}:queue:app/default"
    async with host.working(app, concurrency=500):
        commands.clear()
        await await_until(lambda: seen == runs and redis.xlen(queue) == 0, 60)
        total = sum(commands.values())
    assert total <= runs / 10, commands


async def test_several_queues_and_jobs_share_their_batches(
    host: WorkerHost, client: Client, redis: redis_py.Redis, commands: Counter[str]
) -> None:
    """A take for all queues, a dispatch for all jobs, a settle for all runs."""
    app, seen = App("app"), 0
    for queue in ("a", "b", "c"):

        @app.job(id=queue, trigger=event_trigger("asked"), queue=queue)
        async def job() -> None:
            nonlocal seen
            seen += 1

    client.send_events([Event("asked") for _ in range(1_000)])
    queues = [f"headrace:{{{host.namespace}:0}}:queue:app/{queue}" for queue in ("a", "b", "c")]
    async with host.working(app, concurrency=500):
        commands.clear()
        await await_until(lambda: seen == 3_000 and not any(redis.xlen(queue) for queue in queues), 60)
        total = sum(commands.values())
    assert total <= 300, commands
