"""The server refuses, forgets or is away: a worker waits without many calls, then works on as before."""

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
from tests.faults.deployment import Deployment
from tests.scripts.source import SCRIPTS
from tests.support.proxy import Proxy
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 3.0, "block": 0.5, "concurrency": 10}
State = Callable[[Deployment], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def readonly(deployment: Deployment) -> AsyncIterator[None]:
    """The server follows a master that does not exist, as after a failed failover."""
    deployment.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    deployment.redis.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def masterdown(deployment: Deployment) -> AsyncIterator[None]:
    """As `readonly`, and the server does not even answer reads."""
    deployment.redis.config_set("replica-serve-stale-data", "no")
    async with readonly(deployment):
        yield


@asynccontextmanager
async def noreplicas(deployment: Deployment) -> AsyncIterator[None]:
    """The server takes writes only with a replica, and has none."""
    deployment.redis.config_set("min-replicas-to-write", 1)
    yield
    deployment.redis.config_set("min-replicas-to-write", 0)


@asynccontextmanager
async def misconf(deployment: Deployment) -> AsyncIterator[None]:
    """The server can't write its snapshot, so it takes no writes: a folder has the file's name."""
    (deployment.server.data_dir / "dump.rdb").mkdir()
    deployment.redis.config_set("save", "3600 1000000")
    deployment.redis.bgsave()
    await await_until(lambda: deployment.redis.info()["rdb_last_bgsave_status"] == "err", what="a snapshot that failed")
    yield
    deployment.redis.config_set("save", "")


@asynccontextmanager
async def busy(deployment: Deployment) -> AsyncIterator[None]:
    """A script of another client does not end."""
    deployment.redis.config_set("lua-time-limit", 20)
    async with redis.asyncio.Redis.from_url(deployment.url, socket_timeout=60) as other:
        endless = asyncio.ensure_future(other.eval("while true do end", 0))
        try:
            yield
        finally:
            await await_until(deployment.redis.script_kill, ignoring=(redis.RedisError,), what="the script's end")
            with pytest.raises(redis.ResponseError, match="killed"):
                await endless


@asynccontextmanager
async def noauth(deployment: Deployment) -> AsyncIterator[None]:
    """The server wants a password that the worker does not have, as after a restart with the wrong file."""
    deployment.redis.config_set("requirepass", "x")
    deployment.redis.client_kill_filter(_type="normal", skipme=True)
    yield
    deployment.redis.config_set("requirepass", "")


@asynccontextmanager
async def loading(deployment: Deployment) -> AsyncIterator[None]:
    """The server reads its data again, slowly, and answers in between."""
    over = asyncio.Event()

    async def load_again_and_again() -> None:
        async with redis.asyncio.Redis.from_url(deployment.url, socket_timeout=60) as other:
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
async def down(deployment: Deployment) -> AsyncIterator[None]:
    """The server has died, and comes back with its append-only file."""
    deployment.server.kill()
    yield
    await asyncio.to_thread(deployment.server.start)


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


def refusals(deployment: Deployment, word: str) -> int:
    """Return how often the server has refused a command with this word."""
    count = deployment.redis.info("errorstats").get(f"errorstat_{word}", {"count": 0})["count"]
    return int(count)


def has_refused(deployment: Deployment, lines: Sequence[MutableMapping[str, Any]], word: str) -> bool:
    """Return whether the worker has received the word more than once; by its log if the server does not count."""
    try:
        return refusals(deployment, word) > 3
    except redis.RedisError:
        return any(word in str(line.get("error", "")) for line in lines)


@pytest.mark.parametrize("word", STATES)
async def test_a_server_that_is_not_ready_is_waited_for(make_deployment: Callable[..., Deployment], word: str) -> None:
    """A run that ends meanwhile is settled later, and called once. The worker keeps its name and sends few calls."""
    deployment = make_deployment(appendonly=True)
    with capture_logs() as lines:
        async with deployment.working(deployment.app("gates"), **SETTINGS) as worker:
            name = worker.name
            event = deployment.send("hold", "held")
            await await_until(lambda: deployment.calls.of(event), what="a run in flight")
            async with STATES[word](deployment):
                deployment.open_gate("held")
                await await_until(lambda: has_refused(deployment, lines, word), 30, what=f"a refusal with {word}")
            last = deployment.send("quick")
            await deployment.drained("gates")
            assert worker.name == name
    for each in (event, last):
        assert len(deployment.calls.of(each)) == 1
        assert set(deployment.statuses(each).values()) == {"succeeded"}


@pytest.mark.parametrize("lease_s", [1.0, pytest.param(4.0, marks=pytest.mark.slow)])
async def test_a_server_that_is_away_for_two_leases_costs_no_run(
    make_deployment: Callable[..., Deployment], lease_s: float
) -> None:
    """Workers execute what they have and settle it later; they keep their names, and nothing is called twice."""
    deployment = make_deployment(appendonly=True, appendfsync="always")
    settings = {**SETTINGS, "lease": lease_s, "concurrency": 2}
    async with (
        deployment.working(deployment.app("gates"), **settings) as one,
        deployment.working(deployment.app("gates"), **settings) as two,
    ):
        names = {one.name, two.name}
        events = [deployment.send("hold", gate) for gate in ("during", "after", "during", "after")]
        await await_until(lambda: deployment.calls.count() == len(events), what="four runs in flight in two workers")
        deployment.server.kill()
        deployment.open_gate("during")
        await asyncio.sleep(2 * lease_s)
        await asyncio.to_thread(deployment.server.start)
        events.append(deployment.send("quick"))
        deployment.open_gate("after")
        await deployment.drained("gates")
        assert {one.name, two.name} == names
    assert set(deployment.calls.counts().values()) == {1}
    for event in events:
        assert set(deployment.statuses(event).values()) == {"succeeded"}


async def test_an_outage_costs_few_requests(deployment: Deployment, proxy: Proxy) -> None:
    """While every request is cut off, all loops together send a few requests a second and log a few lines."""
    with capture_logs() as lines:
        async with deployment.working(deployment.app("gates"), url=proxy.url, **SETTINGS):
            cut = proxy.cut_before_request(b"", times=1_000_000)
            await asyncio.to_thread(cut.wait, 10)
            await deployment.passed(1.2)
            cut.cancel()
            event = deployment.send("quick")
            await deployment.drained("gates")
    assert cut.done <= 100
    assert len(lines) <= 50
    assert deployment.statuses(event) == {"quick": "succeeded"}


async def test_a_group_that_cannot_be_made_costs_few_requests(
    make_deployment: Callable[..., Deployment],
) -> None:
    """BLOCK does not apply to an error, so a reader without a pause would loop on a missing group."""
    deployment = make_deployment()
    deployment.redis.execute_command("ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all")
    url = deployment.url.replace("unix://", "unix://worker:x@")
    with capture_logs() as lines:
        async with deployment.working(deployment.app("gates"), url=url, **SETTINGS):
            deployment.redis.execute_command("ACL", "SETUSER", "worker", "-xgroup")
            deployment.redis.xgroup_destroy(deployment.queue("gates"), "workers")
            await await_until(lambda: refusals(deployment, "NOGROUP"), what="a read that found no group")
            await deployment.passed(1.2)
            refused = refusals(deployment, "NOGROUP")
            deployment.redis.execute_command("ACL", "SETUSER", "worker", "+xgroup")
            event = deployment.send("quick")
            await deployment.drained("gates")
    assert refused <= 30
    assert len(lines) <= 30
    assert deployment.statuses(event) == {"quick": "succeeded"}


async def test_a_worker_started_while_the_server_is_away_says_so_and_ends(
    make_deployment: Callable[..., Deployment],
) -> None:
    """Its run raises ServerUnreachable at once, so that its caller can start it again."""
    deployment = make_deployment()
    url = deployment.url
    deployment.server.stop()
    worker = Worker(deployment.app("gates"), url, namespace=deployment.namespace, config=WorkerConfig(**SETTINGS))
    with pytest.raises(ServerUnreachable, match="can't be reached"):
        await asyncio.wait_for(worker.run(), 30)


@pytest.mark.parametrize("verb", ["register", "dispatch", "settle", "dead_letter", "leave"])
async def test_a_start_that_is_broken_off_leaves_nothing_for_ever(
    deployment: Deployment, proxy: Proxy, verb: str
) -> None:
    """If the worker dies, or its server goes, during the script check, every scratch key has a TTL."""
    for name in SCRIPTS:  # otherwise those of the same round trip as the cut have not run yet
        deployment.redis.script_load(load(name).text)
    cut = proxy.cut_before_request(load(verb).sha.encode())
    proxy.cut_before_request(lambda _: cut.done > 0, times=1_000)
    worker = Worker(deployment.app("gates"), proxy.url, namespace=deployment.namespace, config=WorkerConfig(**SETTINGS))
    with pytest.raises(ServerUnreachable):
        await asyncio.wait_for(worker.run(), 30)
    assert cut.done == 1
    left = list(deployment.redis.scan_iter(f"{deployment.keys.prefix}scratch:*"))
    assert left or verb == "register"
    assert min((deployment.redis.pttl(name) for name in left), default=1) > 0


async def known_again(deployment: Deployment, worker: Worker) -> None:
    await await_until(lambda: deployment.is_registered(worker.name), 30, what="a worker that is known again")


async def test_a_server_that_was_emptied_is_filled_again(make_deployment: Callable[..., Deployment]) -> None:
    """After FLUSHALL the worker makes groups and routes again, and executes what is sent then."""
    deployment = make_deployment()
    gates, flaky = deployment.app("gates"), deployment.app("flaky")
    async with deployment.working(gates, **SETTINGS) as one, deployment.working(flaky, **SETTINGS) as other:
        lost = deployment.send("hold", "held")
        await await_until(lambda: deployment.calls.of(lost), what="a run in flight")
        deployment.redis.flushall()
        for worker in (one, other):
            await known_again(deployment, worker)
        deployment.open_gate("held")
        events = {name: deployment.send(name) for name in ("quick", "work")}
        await await_until(lambda: len(deployment.calls.of(events["work"])) == 3, 30, what="the runs of both apps")
        await deployment.drained("gates")
        await deployment.drained("flaky")
    assert deployment.statuses(events["quick"]) == {"quick": "succeeded"}
    assert deployment.statuses(events["work"]) == {"steady": "succeeded", "second": "succeeded"}
    assert deployment.leaks() == []
