"""Checks before a start that the worker can work with the server, and that its user has the rights it needs.

Each command is tried and each script run once on scratch keys, as the worker's own user. So a missing right fails the
start, by name, instead of a settle later.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable

from headrace import AuthenticationFailed, HeadraceError, PermissionMissing, ServerFull, UnsupportedServer
from headrace.calls import checking
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.plans.checks import check_version
from headrace_worker.errors import StartRefused
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.server import ServerAccess
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol.leases import Registration
from headrace_worker.startup import permissions
from headrace_worker.startup.script_check import SCRATCH_MS, ScriptCheck, scratch_keys

log = get_logger("headrace.worker")


async def check(server: ServerAccess, setup: WorkerSetup, name: str) -> None:
    """Return if the worker of this name can work on this server; else raise StartRefused: it says what to change."""
    await _check_server(server, allow_eviction=setup.config.allow_eviction)
    await _check_client(server)
    await _check_keys(server, setup.registration, name)
    try:
        await _try_on_scratch_keys(server)
    except UnsupportedServer as exc:
        raise StartRefused(str(exc)) from exc
    except PermissionMissing as exc:
        raise StartRefused(f"the worker's user lacks a right: {exc}") from exc
    except ServerFull:
        log.warning("server is full: the scripts were not tried out, and nothing new is taken until it drains")


async def _check_server(server: ServerAccess, *, allow_eviction: bool) -> None:
    try:
        (info,) = await server.commands.run([checking.server_info()])
    except AuthenticationFailed as exc:
        raise StartRefused(f"the worker can't log in: {exc}") from exc
    except PermissionMissing:
        log.warning("server's version and eviction policy are not checked: the user may not call INFO")
        return
    check_version(info)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not allow_eviction:
        raise StartRefused(
            f"the server's maxmemory-policy is {policy}, under which it may drop leases and records without a word; "
            "set it to noeviction, or allow it with --allow-eviction, in code with WorkerConfig(allow_eviction=True)"
        )


async def _check_client(server: ServerAccess) -> None:
    """Refuse a server without CLIENT, as no loop could read. A user without that right only stops more slowly."""
    with contextlib.suppress(PermissionMissing):
        try:
            await server.commands.run([permissions.try_client()])
        except UnsupportedServer as exc:
            raise StartRefused(str(exc)) from exc


async def _check_keys(server: ServerAccess, registration: Registration, name: str) -> None:
    """Refuse a user that may not write every key of the namespace or publish on its channels."""
    names = permissions.every_key(server.keys, registration.app, registration.queues, name)
    channel = server.keys.settled_channel(name)
    answers = await server.commands.run(permissions.try_keys(names, channel), partial=True)
    for each, answer in zip([*names, channel], answers, strict=True):
        if isinstance(answer, PermissionMissing):
            raise StartRefused(f"the worker's user may not use {each!r}: {answer}") from answer


async def _try_on_scratch_keys(server: ServerAccess) -> None:
    keys = Keys(server.keys.namespace, server.keys.partition, scratch=f"scratch:{secrets.token_hex(6)}:")
    try:
        for attempt in permissions.try_commands(keys):
            await server.commands.run([attempt, *_expire(key for key in scratch_keys(keys) if key in attempt.args)])
        await server.commands.run([_delete_all(keys)])
        await ScriptCheck(server, keys).run()
    finally:
        with contextlib.suppress(HeadraceError):
            await server.commands.run([_delete_all(keys)])


def _delete_all(keys: Keys) -> Call[int]:
    return Call(("DEL", *scratch_keys(keys)), int)


def _expire(names: Iterable[str]) -> list[Call[int]]:
    """Return the calls that let keys expire, in case worker or server die before the keys are deleted."""
    return [Call(("PEXPIRE", name, SCRATCH_MS), int) for name in names]
