"""An event that a job sends names the run that sent it, so that an event can be shown with what came of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import redis as redis_py
from click.testing import CliRunner

from headrace import Client, Event, EventNotFound, InvalidArgument
from headrace.formats.keys import Keys
from headrace_worker import App, JobIO, SyncJobIO, event_trigger
from headrace_worker.cli.root import root
from tests.support.codecs import SCRAMBLER
from tests.support.workers import WorkerHost


@pytest.mark.parametrize("job", ["async", "plain"])
@pytest.mark.parametrize("codec", [None, SCRAMBLER], ids=["open", "sealed"])
async def test_an_event_of_a_run_names_it(host: WorkerHost, job: str, codec: Any) -> None:
    """Both kinds of job, with both of their sends; an event that a client sent names none."""
    app = App("app", codec=codec)

    @app.job(id="async", trigger=event_trigger("asked.async"))
    async def coroutine(io: JobIO) -> None:
        await io.send_event("one", Event("told", id="one"))
        await io.send_events("two", [Event("told", {"n": 2}, id="two")])

    @app.job(id="plain", trigger=event_trigger("asked.plain"))
    def plain(io: SyncJobIO) -> None:
        io.send_event("one", Event("told", id="one"))
        io.send_events("two", [Event("told", {"n": 2}, id="two")])

    with Client(host.url, namespace=host.namespace, codec=codec) as client:
        client.send_event(Event(f"asked.{job}", id="root"))
        await host.settle(app)
        assert client.get_event("root").parent_run is None
        records = [client.get_event(each) for each in ("one", "two")]
        assert [record.parent_run for record in records] == [f"root:app/{job}"] * 2
        assert records[1].payload == {"n": 2}
        replay = client.replay_event("two")
        assert replay is not None
        again = client.get_event(replay.id)
        assert (again.parent_run, again.replay_of, again.payload) == (None, "two", {"n": 2})


async def _send_a_chain(host: WorkerHost, client: Client) -> None:
    """Send an event that sends two, of which the second begins a chain of six."""
    app = App("app")

    @app.job(id="fan", trigger=event_trigger("asked"))
    async def fan(io: JobIO) -> None:
        await io.send_events("fan", [Event("leaf", id="leaf"), Event("link", 1, id="link-1")])

    @app.job(id="link", trigger=event_trigger("link"))
    async def link(payload: int, io: JobIO) -> None:
        if payload < 6:
            await io.send_event("next", Event("link", payload + 1, id=f"link-{payload + 1}"))

    client.send_event(Event("asked", id="root"))
    await host.settle(app)


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_tree_has_what_came_of_an_event(url: str, namespace: str, partitions: int) -> None:
    """It is as deep as asked for, and says what it leaves out."""
    host = WorkerHost(url, namespace, partitions)
    with Client(url, namespace=namespace, partitions=partitions) as client:
        await _send_a_chain(host, client)
        tree = client.get_tree("root")
        assert [(each.id, each.left_out) for each in tree.walk()] == [
            ("root", 0), ("leaf", 0), ("link-1", 0), ("link-2", 0), ("link-3", 1),
        ]  # fmt: skip
        assert not tree.is_complete
        assert list(tree.sent) == ["root:app/fan"]
        assert client.get_tree("link-4").is_complete
        with pytest.raises(EventNotFound):
            client.get_tree("unknown")
        with pytest.raises(InvalidArgument, match="depth: must be 1 to 5 levels, not 6"):
            client.get_tree("root", depth=6)


async def test_a_tree_shows_what_can_be_read(host: WorkerHost, redis: redis_py.Redis) -> None:
    """An event below that is forgotten, or whose record is another program's, is in its place; a loop ends."""
    with Client(host.url, namespace=host.namespace) as client:
        await _send_a_chain(host, client)
        keys = Keys(host.namespace)
        redis.delete(keys.event("leaf"), keys.event("link-3"))
        redis.set(keys.event("link-3"), "other", ex=60)
        redis.hset(keys.event("link-2"), "c:app/link", '["root","link-2","link-3"]')
        env = {"HEADRACE_URL": host.url, "HEADRACE_NAMESPACE": host.namespace}
        shown = CliRunner().invoke(root, ["events", "show", "root", "--tree"], env=env)
        assert (shown.exit_code, shown.output.splitlines()[:6]) == (0, [
            "event  root  asked  settled",
            "  run  app/fan  succeeded",
            "    event  leaf  not remembered any more",
            "    event  link-1  link  settled",
            "      run  app/link  succeeded",
            "        event  link-2  link  settled",
        ])  # fmt: skip
        assert "link-3" in shown.output.splitlines()[7]
        found = CliRunner().invoke(root, ["events", "show", "root", "--tree", "--depth", "1", "--json"], env=env)
        tree = msgspec.json.decode(found.stdout)
        assert [each["id"] for each in tree["sent"]["root:app/fan"]] == ["leaf", "link-1"]
        assert "1 events more were sent below" in found.stderr
