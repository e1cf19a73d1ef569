"""The server refuses, forgets or is away: a worker waits it through without haste, then goes on as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from headrace import ServerUnreachable
from headrace.scripts import load
from headrace_worker import Worker, WorkerConfig
from tests.faults.scene import Scene
from tests.scripts.source import SCRIPTS
from tests.support.proxy import Proxy
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 3.0, "block": 0.5, "concurrency": 10}
State = Callable[[Scene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def readonly(scene: Scene) -> AsyncIterator[None]:
    """The server follows another that is not there, as after a failover that has gone wrong."""
    scene.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    scene.redis.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def masterdown(scene: Scene) -> AsyncIterator[None]:
    """As above, and it does not even answer reads."""
    scene.redis.config_set("replica-serve-stale-data", "no")
    async with readonly(scene):
        yield


@asynccontextmanager
async def noreplicas(scene: Scene) -> AsyncIterator[None]:
    """The server takes writes only with a replica beside it, and has none."""
    scene.redis.config_set("min-replicas-to-write", 1)
    yield
    scene.redis.config_set("min-replicas-to-write", 0)


@asynccontextmanager
async def misconf(scene: Scene) -> AsyncIterator[None]:
    """The server can't write its snapshot, and so takes no writes: a folder is where the file should be."""
    (scene.server.data_dir / "dump.rdb").mkdir()
    scene.redis.config_set("save", "3600 1000000")
    scene.redis.bgsave()
    await await_until(lambda: scene.redis.info()["rdb_last_bgsave_status"] == "err", what="a snapshot that failed")
    yield
    scene.redis.config_set("save", "")


@asynccontextmanager
async def busy(scene: Scene) -> AsyncIterator[None]:
    """Someone's script does not end."""
    scene.redis.config_set("lua-time-limit", 20)
    async with redis.asyncio.Redis.from_url(scene.url, socket_timeout=60) as other:
        endless = asyncio.ensure_future(other.eval("while true do end", 0))
        try:
            yield
        finally:
            await await_until(scene.redis.script_kill, ignoring=(redis.RedisError,), what="the script's end")
            with pytest.raises(redis.ResponseError, match="killed"):
                await endless


@asynccontextmanager
async def noauth(scene: Scene) -> AsyncIterator[None]:
    """The server wants a password that the worker has not, as one restarted with the wrong file does."""
    scene.redis.config_set("requirepass", "x")
    scene.redis.client_kill_filter(_type="normal", skipme=True)
    yield
    scene.redis.config_set("requirepass", "")


@asynccontextmanager
async def loading(scene: Scene) -> AsyncIterator[None]:
    """The server reads its data again, slowly, and answers in between."""
    over = asyncio.Event()

    async def load_again_and_again() -> None:
        async with redis.asyncio.Redis.from_url(scene.url, socket_timeout=60) as other:
            async with other.pipeline(transaction=False) as pipe:
                for number in range(2100):  # it looks at its clients every 1024 commands
                    pipe.set("filler", number)
                await pipe.execute()
            await other.config_set("key-load-delay", 100)
            while not over.is_set():
                await other.execute_command("DEBUG", "LOADAOF")
            await other.delete("filler")

    loads = asyncio.ensure_future(load_again_and_again())
    try:
        yield
    finally:
        over.set()
        await loads


@asynccontextmanager
async def down(scene: Scene) -> AsyncIterator[None]:
    """The server has died, and comes back with its append-only file."""
    scene.server.kill()
    yield
    await asyncio.to_thread(scene.server.start)


STATES: dict[str, State] = {
    "can't be reached": down,
    "READONLY": readonly,
    "MASTERDOWN": masterdown,
    "NOREPLICAS": noreplicas,
    "MISCONF": misconf,
    "BUSY": busy,
    "NOAUTH": noauth,
    "LOADING": loading,
}


def refusals(scene: Scene, word: str) -> int:
    """Returns how often the server has refused a command with this word."""
    count = scene.redis.info("errorstats").get(f"errorstat_{word}", {"count": 0})["count"]
    return int(count)


def has_refused(scene: Scene, lines: Sequence[MutableMapping[str, Any]], word: str) -> bool:
    """Whether the worker has heard the word more than once; its log says so where the server does not even count."""
    try:
        return refusals(scene, word) > 3
    except redis.RedisError:
        return any(word in str(line.get("error", "")) for line in lines)


@pytest.mark.parametrize("word", STATES)
async def test_a_server_that_can_not_at_the_moment_is_waited_for(make_scene: Callable[..., Scene], word: str) -> None:
    """A run that ends meanwhile is settled after, and called once; the worker keeps its name and asks without haste."""
    scene = make_scene(appendonly=True)
    with capture_logs() as lines:
        async with scene.working(scene.app("gates"), **SETTINGS) as worker:
            name = worker.name
            event = scene.send("hold", "held")
            await await_until(lambda: scene.calls.of(event), what="a run in hand")
            async with STATES[word](scene):
                scene.open_gate("held")
                await await_until(lambda: has_refused(scene, lines, word), 30, what=f"a refusal with {word}")
            last = scene.send("quick")
            await scene.drained("gates")
            assert worker.name == name
    for each in (event, last):
        assert len(scene.calls.of(each)) == 1
        assert set(scene.statuses(each).values()) == {"succeeded"}


@pytest.mark.parametrize("lease_s", [1.0, pytest.param(4.0, marks=pytest.mark.slow)])
async def test_a_server_that_is_away_for_two_leases_costs_no_run(
    make_scene: Callable[..., Scene], lease_s: float
) -> None:
    """Workers go on with what they have, and settle it after; they keep their names, and nothing is called twice."""
    scene = make_scene(appendonly=True, appendfsync="always")
    settings = {**SETTINGS, "lease": lease_s, "concurrency": 2}
    async with (
        scene.working(scene.app("gates"), **settings) as one,
        scene.working(scene.app("gates"), **settings) as two,
    ):
        names = {one.name, two.name}
        events = [scene.send("hold", gate) for gate in ("during", "after", "during", "after")]
        await await_until(lambda: scene.calls.count() == len(events), what="four runs in two workers' hands")
        scene.server.kill()
        scene.open_gate("during")
        await asyncio.sleep(2 * lease_s)
        await asyncio.to_thread(scene.server.start)
        events.append(scene.send("quick"))
        scene.open_gate("after")
        await scene.drained("gates")
        assert {one.name, two.name} == names
    assert set(scene.calls.counts().values()) == {1}
    for event in events:
        assert set(scene.statuses(event).values()) == {"succeeded"}


async def test_an_outage_is_waited_through_without_haste(scene: Scene, proxy: Proxy) -> None:
    """While every request is cut off, all loops together ask a few times a second and say it in a few lines."""
    with capture_logs() as lines:
        async with scene.working(scene.app("gates"), url=proxy.url, **SETTINGS):
            cut = proxy.cut_before_request(b"", times=1_000_000)
            await asyncio.to_thread(cut.wait, 10)
            await scene.passed(1.2)
            cut.cancel()
            event = scene.send("quick")
            await scene.drained("gates")
    assert cut.done <= 100
    assert len(lines) <= 50
    assert scene.statuses(event) == {"quick": "succeeded"}


async def test_a_group_that_can_not_be_made_again_is_asked_for_without_haste(make_scene: Callable[..., Scene]) -> None:
    """BLOCK does not apply to an error, so a missing group makes a hot loop of a reader that does not wait."""
    scene = make_scene()
    scene.redis.execute_command("ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all")
    url = scene.url.replace("unix://", "unix://worker:x@")
    with capture_logs() as lines:
        async with scene.working(scene.app("gates"), url=url, **SETTINGS):
            scene.redis.execute_command("ACL", "SETUSER", "worker", "-xgroup")
            scene.redis.xgroup_destroy(scene.queue("gates"), "workers")
            await await_until(lambda: refusals(scene, "NOGROUP"), what="a read that found no group")
            await scene.passed(1.2)
            refused = refusals(scene, "NOGROUP")
            scene.redis.execute_command("ACL", "SETUSER", "worker", "+xgroup")
            event = scene.send("quick")
            await scene.drained("gates")
    assert refused <= 30
    assert len(lines) <= 30
    assert scene.statuses(event) == {"quick": "succeeded"}


async def test_a_worker_started_while_the_server_is_away_says_so_and_ends(make_scene: Callable[..., Scene]) -> None:
    """Its run raises ServerUnreachable at once: who starts it hears of it, and may start it again."""
    scene = make_scene()
    url = scene.url
    scene.server.stop()
    worker = Worker(scene.app("gates"), url, namespace=scene.namespace, config=WorkerConfig(**SETTINGS))
    with pytest.raises(ServerUnreachable, match="can't be reached"):
        await asyncio.wait_for(worker.run(), 30)


@pytest.mark.parametrize("verb", ["register", "dispatch", "settle", "dead_letter", "leave"])
async def test_a_start_that_is_broken_off_leaves_nothing_for_ever(scene: Scene, proxy: Proxy, verb: str) -> None:
    """Where a worker dies, or its server goes, while it tries out the scripts, what it tried them on has a TTL."""
    for name in SCRIPTS:  # otherwise those of the same round trip as the cut have not run yet
        scene.redis.script_load(load(name).text)
    cut = proxy.cut_before_request(load(verb).sha.encode())
    proxy.cut_before_request(lambda _: cut.done > 0, times=1_000)
    worker = Worker(scene.app("gates"), proxy.url, namespace=scene.namespace, config=WorkerConfig(**SETTINGS))
    with pytest.raises(ServerUnreachable):
        await asyncio.wait_for(worker.run(), 30)
    assert cut.done == 1
    left = list(scene.redis.scan_iter(f"{scene.keys.prefix}scratch:*"))
    assert left or verb == "register"
    assert min((scene.redis.pttl(name) for name in left), default=1) > 0


async def known_again(scene: Scene, worker: Worker) -> None:
    await await_until(lambda: scene.is_registered(worker.name), 30, what="a worker that is known again")


async def test_a_server_that_was_emptied_is_filled_again(make_scene: Callable[..., Scene]) -> None:
    """After FLUSHALL groups and routes are made again, and what is sent then is executed."""
    scene = make_scene()
    gates, flaky = scene.app("gates"), scene.app("flaky")
    async with scene.working(gates, **SETTINGS) as one, scene.working(flaky, **SETTINGS) as other:
        lost = scene.send("hold", "held")
        await await_until(lambda: scene.calls.of(lost), what="a run in hand")
        scene.redis.flushall()
        for worker in (one, other):
            await known_again(scene, worker)
        scene.open_gate("held")
        events = {name: scene.send(name) for name in ("quick", "work")}
        await await_until(lambda: len(scene.calls.of(events["work"])) == 3, 30, what="the runs of both apps")
        await scene.drained("gates")
        await scene.drained("flaky")
    assert scene.statuses(events["quick"]) == {"quick": "succeeded"}
    assert scene.statuses(events["work"]) == {"steady": "succeeded", "second": "succeeded"}
    assert scene.leaks() == []
