"""Apps with one job a queue, and where their events, runs and workers are on the server."""

from __future__ import annotations

from typing import Any

import redis as redis_py

from headrace import Client, Event
from headrace_worker import App, Context, event_trigger
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def queues_app(seen: list[Any], *queues: str, name: str = "app") -> App:
    """Return an app with one job a queue; job, queue and event have one name."""
    app = App(name)
    for queue in queues:

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(payload: Any, ctx: Context) -> None:
            seen.append((ctx.job.id, payload))

    return app


async def await_blocked(redis: redis_py.Redis, command: str, count: int) -> None:
    """Wait until so many clients wait in a blocking read."""

    def waiting() -> bool:
        clients: list[dict[str, str]] = redis.client_list()
        return sum("b" in client["flags"] and client["cmd"].startswith(command) for client in clients) >= count

    await await_until(waiting, what=f"{count} clients in {command}")


def members_of(redis: redis_py.Redis, key: str) -> set[str | None]:
    """Return the members of a sorted set of worker names."""
    return {name.decode() for name in redis.zrange(key, 0, -1)}  # type: ignore[union-attr]


async def send_and_dispatch(host: WorkerHost, app: App, client: Client, events: list[Event]) -> list[str]:
    """Send events, have them dispatched, and return their ids; no worker has read the runs."""
    async with host.working(app, queues=("elsewhere",)):
        sent = client.send_events(events)
        await await_until(lambda: all(client.get_event(each.id).status in {"dispatched", "settled"} for each in sent))
    return [each.id for each in sent]


def pending_count(redis: redis_py.Redis, stream: str, group: str = "workers") -> int:
    """Return how many entries the group has delivered that are not acknowledged."""
    summary: dict[str, Any] = redis.xpending(stream, group)
    return int(summary["pending"])
