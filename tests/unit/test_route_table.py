"""The routes are read once for each version, and a worker that can't evaluate them knows until they change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace_worker import App, event_trigger
from headrace_worker.app.routes import ROUTES_FORMAT, RoutesTooNew, Subscriptions, subscriptions_of
from headrace_worker.dispatch.route_table import RouteTable
from tests.support.scripted_server import ScriptedServer, member_over, name_of, stored_routes


def an_app() -> App:
    app = App("app")
    app.job(id="job", trigger=event_trigger("asked"))(lambda: None)
    return app


class _Server(ScriptedServer):
    """Has the routes of one app, which one worker has subscribed with."""

    def __init__(self) -> None:
        super().__init__(lambda call: call.read(self._reply(name_of(call))))
        self.version, self.reads = 1, 0
        self.blob = subscriptions_of(an_app())

    def _reply(self, command: str) -> Any:
        if command == "GET":
            self.reads += 1
            return str(self.version).encode()
        if command == "SMEMBERS":
            return [b"app/default"]
        return stored_routes(self.blob)


def a_table() -> tuple[RouteTable, _Server]:
    server = _Server()
    return RouteTable(member_over(server, an_app()).server), server


async def test_routes_are_read_once_for_each_version() -> None:
    """A version that is noted and known costs no read."""
    table, server = a_table()
    assert (await table.current()) is (await table.current())
    table.note_version("1")
    await table.current()
    assert server.reads == 1
    server.version = 2
    table.note_version("2")
    assert (await table.current()).version == "2"
    assert server.reads == 2


async def test_only_the_version_that_was_stale_is_forgotten() -> None:
    """Several batches that were matched against it cost one read."""
    table, server = a_table()
    await table.current()
    table.forget("0")
    await table.current()
    assert server.reads == 1
    table.forget("1")
    await table.current()
    table.forget()
    await table.current()
    assert server.reads == 3


async def test_it_knows_which_jobs_live_workers_have() -> None:
    """By the routes that are cached."""
    table, server = a_table()
    assert [await table.has_live(job) for job in ("app/job", "app/other")] == [True, False]
    assert server.reads == 1


async def test_too_new_routes_are_tried_again_once_they_change() -> None:
    """Until then the worker knows that it must not dispatch."""
    table, server = a_table()
    readable = server.blob
    server.blob = msgspec.msgpack.encode(Subscriptions(ROUTES_FORMAT + 1, []))
    table.note_version("1")
    with pytest.raises(RoutesTooNew):
        await table.current()
    found = []
    for version in ("1", "2"):
        table.note_version(version)
        found.append(table.is_too_old)
    assert found == [True, False]
    with pytest.raises(RoutesTooNew):
        await table.current()
    found.append(table.is_too_old)
    server.blob = readable
    await table.current()
    assert [*found, table.is_too_old] == [True, False, True, False]
