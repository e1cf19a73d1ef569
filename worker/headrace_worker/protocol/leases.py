"""The calls by which workers show that they live, and their answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.calls.indexing import INDEX_ENTRIES
from headrace.formats.keys import Keys
from headrace_worker.app.app import App
from headrace_worker.app.routes import fingerprint_of, subscriptions_of


class Renewed(msgspec.Struct, frozen=True):
    """The lease is renewed.

    Attributes:
        next_ms: ms until this worker may have to act: a lease or dispatcher slot may end then.
        expired: workers whose dispatcher slot has expired; only for the leader.
        dead: workers whose lease has expired; only for the leader.
        now_ms: the server's time.
        fades: there is something for `forget`; only for the leader.
        went_back: the server's clock has gone back, so runs have to be set back.
        controls: the version of what is set for queues at run time.
        wanted: what an operator wants of this worker, see `instruct`; empty for nothing.
    """

    is_leader: bool
    may_dispatch: bool
    version: str
    next_ms: int
    expired: list[str]
    dead: list[str]
    now_ms: int
    fades: bool = False
    went_back: bool = False
    controls: str = "0"
    wanted: str = ""


class Fenced(msgspec.Struct, frozen=True):
    """The name is fenced or unknown: other workers get its entries, and the name must not be used any more."""


Movement = Literal["moves", "stuck", "resigns"]
Wanted = Literal["quiet", "stop"]
"""What an operator may want of a worker: that it fetches no more runs, or that it stops in order."""


class _RenewArguments(msgspec.Struct, frozen=True):
    """What `renew.lua` reads beside its keys; its header says what each is."""

    worker: str
    lease: int
    movement: Movement
    slots: int
    keep: int
    listed: int = INDEX_ENTRIES


def renew(
    keys: Keys, worker: str, lease_ms: int, movement: Movement, *, dispatchers: int, keep_dead_ms: int
) -> Call[Renewed | Fenced]:  # fmt: skip
    """Renew the worker's lease; its dispatcher slot and the leadership too while its event loop moves.

    Args:
        movement: `stuck` lets dispatcher slot and leadership expire, `resigns` frees them at once.
        dispatchers: how many dispatcher slots there are; 0 if this worker wants none.
        keep_dead_ms: how long dead letters stay.
    """
    names = [keys.workers, keys.worker(worker), keys.leader, keys.dispatchers, keys.meta, keys.routes_version]
    names += [keys.fading, keys.dead, keys.controls, keys.recent, keys.runs]
    args = _RenewArguments(worker, lease_ms, movement, dispatchers, keep_dead_ms)
    return script_call("renew", names, (pack(args),), _read_renewed)


def _read_renewed(reply: list[Any]) -> Renewed | Fenced:
    if reply[0] == b"fenced":
        return Fenced()
    _, leader, slot, version, next_ms, expired, dead, now_ms, fades, back, controls, wanted = reply
    return Renewed(
        leader == 1,
        slot == 1,
        as_text(version),
        int(next_ms),
        [as_text(name) for name in expired],
        [as_text(name) for name in dead],
        int(now_ms),
        fades == 1,
        back == 1,
        as_text(controls),
        as_text(wanted),
    )


class Registration(msgspec.Struct, frozen=True):
    """What an app publishes of itself, at a worker's start or before.

    Attributes:
        queues: all that have to be there.
        served: those from which the worker takes runs; None for all.
    """

    app: str
    fingerprint: str
    subscriptions: bytes
    queues: tuple[str, ...]
    served: tuple[str, ...] | None = None

    @classmethod
    def of(cls, app: App, served: Iterable[str] | None = None) -> Registration:
        """Return the subscriptions of the app's jobs, with their queues and those that a worker serves."""
        blob, names = subscriptions_of(app), None if served is None else tuple(sorted({*served}))
        return cls(app.name, fingerprint_of(blob), blob, tuple(sorted({*app.queues, *(names or ())})), names)


class _RegisterArguments(msgspec.Struct, frozen=True):
    """What `register.lua` reads beside its keys and the subscriptions; its header says what each is."""

    worker: str
    lease: int
    app: str
    fingerprint: str
    queues: list[str]
    served: list[str]


def register(keys: Keys, worker: str, lease_ms: int, registration: Registration) -> Call[str]:
    """Give the worker a lease, store its subscriptions, and make every group that it reads."""
    app = registration.app
    names = [keys.workers, keys.worker(worker), keys.routes(app), keys.routes_version, keys.queues, keys.events]
    names += [keys.wake_up(app), keys.controls, *(keys.queue(app, queue) for queue in registration.queues)]
    queues = [f"{app}/{queue}" for queue in registration.queues]
    served = queues if registration.served is None else [f"{app}/{queue}" for queue in registration.served]
    args = _RegisterArguments(worker, lease_ms, app, registration.fingerprint, queues, served)
    return script_call("register", names, (pack(args), registration.subscriptions), as_text)


def leave(keys: Keys, worker: str, app: str, queues: Sequence[str], *, dead: bool) -> Call[bool]:
    """Forget a worker that has no pending entries."""
    names = [keys.workers, keys.worker(worker), keys.dispatchers, keys.leader, keys.routes(app), keys.routes_version]
    names += [keys.events, *queues]
    return script_call("leave", names, (worker, int(dead)), bool)


def end_lease(keys: Keys, worker: str) -> Call[bool]:
    """End the lease of a worker that is known to be dead, so that its runs need not wait until the lease expires."""
    names = (keys.workers, keys.worker(worker), keys.dispatchers, keys.leader, keys.wake)
    return script_call("end_lease", names, (worker,), bool)


def instruct(keys: Keys, worker: str, wanted: Wanted) -> Call[bool]:
    """Let a live worker quiet or stop, which it sees with its next renewal; return whether it is alive."""
    return script_call("instruct", (keys.workers, keys.worker(worker)), (worker, wanted), bool)


def drop_dispatcher(keys: Keys, worker: str, still_open_ms: int) -> Call[bool]:
    """Free a dispatcher slot that has expired."""
    return script_call("drop_dispatcher", (keys.dispatchers, keys.events), (worker, still_open_ms), bool)
