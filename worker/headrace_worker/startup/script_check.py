"""Runs every script once on scratch keys, along an event's life: sent, dispatched, retried, settled, dead-lettered.

Each step is one round trip, which also gives all scratch keys a time to live, so that an interrupted check leaves none
for ever. The caller deletes the keys.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headrace import Retention
from headrace.calls import canceling, checking, controlling, records, rerunning, sending
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.model.event import Event
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker.app.routes import Route
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import (
    dispatching,
    due,
    forgetting,
    leases,
    reading,
    reporting,
    rescuing,
    settling,
    subscribing,
    switching,
)
from headrace_worker.protocol.delivery import Delivery, EventEntry, decode_delivery
from headrace_worker.protocol.dispatching import Matched
from headrace_worker.protocol.leases import Registration
from headrace_worker.protocol.reading import Share, Taken
from headrace_worker.protocol.settling import BadEntry, Retried, Settled
from headrace_worker.startup import permissions

SCRATCH_MS = 60_000
_APP, _QUEUE, _NAME = "scratch", "scratch", "scratch"
_JOB = f"{_APP}/{_NAME}"
_SHORT = Retention(success=60, failure=60, dedupe_client=60, dedupe_sender=60)
_EXPIRE_ALL = "for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end"


def scratch_keys(keys: Keys) -> list[str]:
    """Return all scratch keys that the check may make."""
    return [*permissions.every_key(keys, _APP, [_QUEUE], _NAME), keys.event("e")]


class ScriptCheck:
    """Takes one event through its life; each method is one step."""

    def __init__(self, server: ServerAccess, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self._queue = reading.queue_stream(keys, _APP, _QUEUE)
        names = scratch_keys(keys)
        self._expire_all = Call(("EVAL", _EXPIRE_ALL, len(names), *names, SCRATCH_MS), _nothing)

    async def run(self) -> None:
        """Run every script once, or raise the error of the first script that the user may not run."""
        await self._send(await self._register())
        await self._control()
        await self._retry_and_promote(await self._take())
        await self._release(await self._take())
        await self._settle_and_rerun(await self._take())
        await self._dead_letter(await self._take())
        await self._rescue_and_leave()

    async def _call(self, *calls: Call[Any]) -> Any:
        """Return the result of the last call."""
        return (await self._server.commands.run([*calls, self._expire_all]))[-2]

    async def _register(self) -> str:
        registration = Registration(_APP, "f", b"", (_QUEUE,))
        await self._call(subscribing.subscribe(self._keys, registration))
        version: str = await self._call(leases.register(self._keys, _NAME, SCRATCH_MS, registration))
        return version

    async def _send(self, version: str) -> None:
        """Send the event and dispatch it to one job."""
        keys = self._keys
        event = prepare([Event(_NAME, id=_NAME)], SendOptions(), now=lambda: datetime.now(UTC))
        await self._call(
            checking.divide(keys, 1),
            leases.renew(keys, _NAME, SCRATCH_MS, "moves", dispatchers=1, keep_dead_ms=SCRATCH_MS),
            leases.instruct(keys, _NAME, "quiet"),
            reporting.report(keys, _NAME, minute=0, counts={f"{_JOB}:s": 1}, facts={"host": ""}, age_ms=0),
            sending.send(keys, event, "token"),
        )
        (entry,) = await self._call(reading.read_group(reading.DISPATCH_GROUP, _NAME, keys.events, 1, None))
        matched = Matched(EventEntry(entry[0].decode(), _NAME, 1, None), [Route(_JOB, _APP, _QUEUE)])
        await self._call(
            dispatching.dispatch(keys, [matched], version, _SHORT),
            reading.listen_wake_up(keys, _APP, 1),
            reading.wake_worker(keys, _APP),
            records.watch(keys, _NAME),
        )

    async def _control(self) -> None:
        """Close the queue and open it again."""
        name = f"{_APP}/{_QUEUE}"
        await self._call(
            controlling.control(self._keys, name, pause="pause", limit="1"),
            controlling.control(self._keys, name, pause="resume", limit="declared"),
        )

    async def _take(self) -> Delivery:
        taken: Taken = await self._call(reading.take(self._keys, _NAME, [Share(self._queue, 10)], 10))
        ((_, entries),) = taken.entries
        return decode_delivery(self._queue, entries[0])

    async def _retry_and_promote(self, delivery: Delivery) -> None:
        keys = self._keys
        await self._call(
            settling.started(keys, _NAME, [(delivery, 0)]),
            settling.retry(keys, _NAME, [Retried(delivery, "2 0 0 0", 0, 0, b"")]),
            due.listen_wake(keys, 0.001),
            due.promote(keys, [f"r:{_QUEUE}:{_NAME}:{_JOB}"], 1),
            due.set_back(keys, 1),
            forgetting.forget(keys, [], _SHORT, 1),
        )

    async def _release(self, delivery: Delivery) -> None:
        await self._call(rescuing.release(self._queue, [rescuing.pending_entry(self._keys, delivery)]))

    async def _settle_and_rerun(self, delivery: Delivery) -> None:
        await self._call(
            canceling.cancel_run(self._keys, "none", _JOB, _QUEUE, "", _SHORT),
            settling.settle(self._keys, _NAME, [Settled(delivery, "f", 0, "failed", b"")], _SHORT),
            rerunning.rerun(self._keys, _NAME, _JOB, _QUEUE),
        )

    async def _dead_letter(self, delivery: Delivery) -> None:
        await self._call(
            settling.dead_letter(
                self._keys, self._queue, BadEntry(delivery.entry, "scratch", "", _NAME, _NAME), _SHORT
            ),
            canceling.cancel(self._keys, _NAME, _SHORT),
            canceling.reschedule(self._keys, _NAME, "+0"),
            leases.end_lease(self._keys, _NAME),  # makes the last key, which expires, too
        )

    async def _rescue_and_leave(self) -> None:
        keys, queue = self._keys, self._queue
        await self._call(
            rescuing.rescue(keys, _NAME, queue, [], dead=True, look_again_ms=1, app=_APP),
            leases.drop_dispatcher(keys, _NAME, 0),
            rescuing.read_pending(queue, _NAME, "", 1),
            rescuing.read_consumers(queue),
            rescuing.read_workers(keys),
            leases.leave(keys, _NAME, _APP, [queue.key], dead=False),
            switching.disable(keys, _APP, _NAME, ""),
            switching.enable(keys, _APP, _NAME),
            subscribing.unsubscribe(keys, _APP),
        )


def _nothing(_reply: object) -> None:
    """Return None: the reply says nothing."""
