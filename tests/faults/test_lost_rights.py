"""The workers' user loses a right while they work, and gets it back: that is an outage like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from headrace import Event, EventRecord
from headrace_worker import App, Context, JobIO, Retry, event_trigger
from tests.faults.deployment import Deployment
from tests.scripts import users
from tests.support.waiting import await_until

_WITHOUT_S = 0.25
_RIGHTS = sorted(users.commands_of("headrace-worker") - {"info"})
_STATUSES = {"steady": "succeeded", "flaky": "succeeded", "hopeless": "failed", "follow-up": "succeeded"}


def make_app() -> App:
    """Jobs whose runs come to every kind of end, beside each other."""
    app = App("rights")

    @app.job(id="steady", trigger=event_trigger("work"))
    async def steady() -> None:
        await asyncio.sleep(0.002)

    @app.job(id="flaky", trigger=event_trigger("work"), retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.02))
    async def flaky(ctx: Context) -> None:
        if ctx.run.attempt == 1:
            raise ValueError("not yet")

    @app.job(id="hopeless", trigger=event_trigger("work"), retry=Retry(max_attempts=1))
    async def hopeless(io: JobIO) -> None:
        await io.send_event("more", Event("more"), deliver_after=0.01)
        raise ValueError("never")

    @app.job(id="follow-up", trigger=event_trigger("more"))
    async def follow_up() -> None:
        pass

    return app


@contextmanager
def guarded(deployment: Deployment) -> Iterator[str]:
    """Give the URL of a user with the rights that deploy/acl lists for a worker."""
    rules = [rule.replace(f"{{{users.NAMESPACE}:", "{*:") for rule in users.rules_of("headrace-worker")]
    rules = [rule for rule in rules if not rule.startswith(">")]
    deployment.redis.execute_command("ACL", "SETUSER", "limited", "reset", "nopass", *rules)
    yield deployment.url.replace("unix://", "unix://limited:any@")


async def _lose(deployment: Deployment, right: str) -> list[str]:
    """Send for a while without the right; return the ids of the events."""
    deployment.redis.execute_command("ACL", "SETUSER", "limited", f"-{right.partition('|')[0]}")
    sent = []
    deadline = asyncio.get_running_loop().time() + _WITHOUT_S
    while asyncio.get_running_loop().time() < deadline:
        sent += [each.id for each in deployment.client.send_events([Event("work")] * 5)]
        sent += [each.id for each in deployment.client.send_events([Event("work")] * 2, ordering_key=f"key-{right}")]
        await asyncio.sleep(0.03)
    deployment.redis.execute_command("ACL", "SETUSER", "limited", *(f"+{each}" for each in _RIGHTS))
    await asyncio.sleep(0.05)
    return sent


def _ends_of(record: EventRecord) -> dict[str, str]:
    return {run.job.partition("/")[2]: run.status for run in record.runs}


@pytest.mark.not_on("redis-6.2", reason="its scripts can't ask for rights before they write")
@pytest.mark.parametrize("rights", [_RIGHTS[place::3] for place in range(3)], ids=["first", "second", "third"])
async def test_no_right_that_is_lost_loses_a_run(
    make_deployment: Callable[..., Deployment], rights: Sequence[str]
) -> None:
    """For each right: every event has all its runs, and no ordering key is blocked."""
    deployment = make_deployment()
    with guarded(deployment) as url:
        async with deployment.working(make_app(), url=url, lease=2.0, block=0.2, concurrency=20):
            sent = [(right, event_id) for right in rights for event_id in await _lose(deployment, right)]
            expected = {job: status for job, status in _STATUSES.items() if job != "follow-up"}
            for right, event_id in sent:
                record = await asyncio.to_thread(deployment.client.wait_for_event, event_id, 60)
                assert _ends_of(record) == expected, right
            await await_until(lambda: not deployment.redis.xlen(deployment.keys.events), 30, what="no event left")
    prefix = deployment.keys.prefix
    assert [key for kind in ("order", "turns") for key in deployment.redis.keys(f"{prefix}{kind}:*")] == []
    assert deployment.redis.xlen(deployment.keys.queue("rights", "default")) == 0
