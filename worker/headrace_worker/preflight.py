"""What a worker checks before it starts: the server is one it can work with, and its user may do what it must.

Every command is tried and every script run once on scratch keys, under the worker's own user, so that a missing right
stops the start by its name and not a settle at night.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import structlog

from headrace import HeadraceError, OutOfMemory, PermissionMissing, Retention, calls, operations
from headrace.calls import Call
from headrace.event import Event
from headrace.keys import Keys
from headrace.outgoing import SendOptions, prepare
from headrace_worker import protocol, rights
from headrace_worker.delivery import Delivery, EventEntry, decode_delivery
from headrace_worker.errors import StartRefused
from headrace_worker.protocol import BadEntry, HeldEntry, Matched, Registration, Retried, Settled
from headrace_worker.route import Route
from headrace_worker.state import WorkerState

log = structlog.get_logger("headrace.worker")

_APP, _QUEUE, _NAME = "scratch", "scratch", "scratch"
_SCRATCH_MS = 60_000
_SHORT = Retention(success_s=60, failure_s=60, dedupe_client_s=60, dedupe_sender_s=60)


async def check(state: WorkerState) -> None:
    """The worker can work on this server, or StartRefused says what to change."""
    await _check_server(state)
    await _check_keys(state)
    try:
        await _try_on_scratch_keys(state)
    except PermissionMissing as exc:
        raise StartRefused(f"the worker's user lacks a right: {exc}") from exc
    except OutOfMemory:
        log.warning("server is full: the scripts were not tried out, and nothing new is taken until it drains")


async def _check_server(state: WorkerState) -> None:
    try:
        (info,) = await state.commands.run([calls.server_info()])
    except PermissionMissing:
        log.warning("server's version and eviction policy are not checked: the user may not ask for INFO")
        return
    operations.check_version(info)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not state.config.allow_eviction:
        raise StartRefused(
            f"the server's maxmemory-policy is {policy}, under which it may drop leases and records without a word; "
            "set it to noeviction, or allow it with WorkerConfig(allow_eviction=True)"
        )


async def _check_keys(state: WorkerState) -> None:
    """The user may write every key of the namespace and publish on its channels."""
    keys, registration = state.keys, state.registration
    names = rights.every_key(keys, registration.app, registration.queues, state.name)
    channel = keys.settled_channel(state.name)
    answers = await state.commands.run(rights.try_keys(names, channel), partial=True)
    for name, answer in zip([*names, channel], answers, strict=True):
        if isinstance(answer, PermissionMissing):
            raise StartRefused(f"the worker's user may not use {name!r}: {answer}") from answer


async def _try_on_scratch_keys(state: WorkerState) -> None:
    keys = Keys(state.keys.namespace, state.keys.partition, scratch=f"scratch:{secrets.token_hex(6)}:")
    try:
        for attempt in rights.try_commands(keys):
            await state.commands.run([attempt, *_expire(key for key in _every_key(keys) if key in attempt.args)])
        await state.commands.run([_delete_all(keys)])
        await _live_a_life(state, keys)
    finally:
        with contextlib.suppress(HeadraceError):
            await state.commands.run([_delete_all(keys)])


async def _live_a_life(state: WorkerState, keys: Keys) -> None:
    """One event is sent, dispatched, retried, promoted, released, settled, run again and buried, on scratch keys."""

    async def ask(*asked: Call[Any]) -> Any:
        answers = await state.commands.run([*asked, *_expire(_every_key(keys))])
        return answers[len(asked) - 1]

    queue = protocol.queue_stream(keys, _APP, _QUEUE)
    job = f"{_APP}/{_NAME}"
    event = prepare([Event(_NAME, id=_NAME)], SendOptions(), now=lambda: datetime.now(UTC))

    async def take() -> Delivery:
        ((_, entries),) = await ask(protocol.take(_NAME, [queue], 10))
        return decode_delivery(queue, entries[0])

    version = await ask(protocol.register(keys, _NAME, 60_000, Registration(_APP, "f", b"", (_QUEUE,))))
    await ask(
        calls.divide(keys, 1), protocol.renew(keys, _NAME, 60_000, "moves", seats=1), calls.send(keys, event, "token")
    )
    (entry,) = await ask(protocol.read_group(protocol.DISPATCH_GROUP, _NAME, keys.events, 1, None))
    matched = Matched(EventEntry(entry[0].decode(), _NAME, 1, None), [Route(job, _APP, _QUEUE)])
    await ask(
        protocol.dispatch(keys, [matched], version, _SHORT),
        protocol.listen_bell(keys, _APP, 1),
        protocol.ring_bell(keys, _APP),
        calls.watch(keys, _NAME),
    )
    delivery = await take()
    await ask(
        protocol.started(keys, _NAME, [(delivery, 0)]),
        protocol.retry(keys, _NAME, [Retried(delivery, "2 0 0 0", 0, 0, b"")]),
        protocol.listen_wake(keys, 0.001),
        protocol.promote(keys, [f"r:{_QUEUE}:{_NAME}:{job}"], 1),
    )
    delivery = await take()
    await ask(protocol.release(queue, [HeldEntry(delivery.entry, keys.event(_NAME), job)]))
    delivery = await take()
    await ask(
        protocol.settle(keys, _NAME, [Settled(delivery, "f", 0, "failed", b"")], _SHORT),
        calls.rerun(keys, _NAME, job, _QUEUE),
    )
    delivery = await take()
    await ask(
        protocol.bury(keys, queue, BadEntry(delivery.entry, "scratch", "", _NAME, _NAME), _SHORT),
        calls.cancel(keys, _NAME, _SHORT),
        protocol.end_lease(keys, _NAME),  # the last to make a key: it has its time to live before the others run
    )
    await ask(
        protocol.rescue(keys, _NAME, queue, [], dead=True, look_again_ms=1),
        protocol.unseat(keys, _NAME, 0),
        protocol.read_held(queue, _NAME, "", 1),
        protocol.read_consumers(queue),
        protocol.read_workers(keys),
        protocol.leave(keys, _NAME, _APP, [queue.key], dead=False),
    )


def _every_key(keys: Keys) -> list[str]:
    return [*rights.every_key(keys, _APP, [_QUEUE], _NAME), keys.event("e")]


def _delete_all(keys: Keys) -> Call[int]:
    return Call(("DEL", *_every_key(keys)), int)


def _expire(names: Iterable[str]) -> list[Call[int]]:
    """Returns what ends keys by themselves, should worker or server die before they are deleted."""
    return [Call(("PEXPIRE", name, _SCRATCH_MS), int) for name in names]
