"""`headrace doctor` finds each fault that it knows on a real server that has it, and nothing on one that is well."""

from __future__ import annotations

import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_py
from click.testing import Result

from headrace import Event, ServerError
from headrace.calls.canceling import CANCELED_DELIVERIES
from headrace.formats.codec import encode_event
from headrace.formats.keys import Keys
from headrace.plans.plan import Plan
from headrace_worker import App
from headrace_worker.doctor.asking import questions
from headrace_worker.doctor.diagnose import diagnose
from headrace_worker.doctor.finding import Diagnosis, Finding, NotLookedAt
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from tests.apps.shop import app as shop
from tests.scripts import users
from tests.support.cluster import Cluster
from tests.support.commands import Headrace, document, fails
from tests.support.sentinels import Watched
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until
from tests.support.workers import WorkerHost

DISPATCHER = App("dispatcher", dispatch_only=True)
WELL = ("--maxmemory", "200mb")
FAR_MS = 2**52


@pytest.fixture
def client(url: str, namespace: str) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace) as client:
        client.register_app(shop)
        yield client


@pytest.fixture
def alive(redis: redis_py.Redis, keys: Keys) -> None:
    """A worker of the app is alive, as far as the namespace knows; it has no duties."""
    redis.zadd(keys.workers, {"w1": FAR_MS})
    redis.hset(keys.worker("w1"), mapping={"app": "shop", "queues": "shop/default shop/mail"})


def of(diagnosis: Diagnosis, check: str) -> list[Finding]:
    return [each for each in diagnosis.findings if each.check == check]


def one(diagnosis: Diagnosis, check: str) -> Finding:
    (finding,) = of(diagnosis, check)
    assert finding.mend
    return finding


# A server.


async def test_nothing_is_wrong_where_all_is_well(make_server: Callable[..., ControlledServer]) -> None:
    """A server as docs/operations.md says, and a live worker: no finding, nothing left out, no scratch key left."""
    server = make_server(appendonly=True, extra=WELL)
    host = WorkerHost(server.url, "well")
    async with host.working(shop), AsyncAppClient(server.url, namespace="well") as client:
        sent = await client.send_event(Event("user.deleted"))
        await client.wait_for_event(sent.id, 30)
        assert await client.diagnose() == Diagnosis([], [])
    with redis_py.Redis.from_url(server.url) as redis:
        assert not list(redis.scan_iter("*scratch*"))


@pytest.mark.parametrize(
    ("extra", "check", "severity", "mend"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy", "error", "maxmemory-policy noeviction"),
        (("--appendonly", "no"), "appendonly", "warning", "appendonly yes"),
        (("--appendfsync", "no"), "appendfsync", "warning", "appendfsync everysec"),
    ],
    ids=str,
)
def test_a_wrong_setting_of_the_server(
    make_server: Callable[..., ControlledServer], extra: tuple[str, ...], check: str, severity: str, mend: str
) -> None:
    """Is named with the command that sets it right; once that is done nothing is wrong."""
    server = make_server(appendonly=True, extra=extra)
    with AppClient(server.url) as client, redis_py.Redis.from_url(server.url) as redis:
        found = one(client.diagnose(), check)
        assert (found.severity, mend in found.mend) == (severity, True)
        redis.execute_command(*found.mend.partition(",")[0].split())
        wait_until(lambda: not of(client.diagnose(), check), what="a server that is set right")


@pytest.mark.parametrize(("share", "severity"), [(0.99, "error"), (0.9, "warning")])
def test_a_server_that_fills(make_server: Callable[..., ControlledServer], share: float, severity: str) -> None:
    """A warning, and then an error, with both numbers."""
    server = make_server()
    with AppClient(server.url) as client, redis_py.Redis.from_url(server.url) as redis:
        client.diagnose()
        info: Any = redis.info("memory")
        redis.config_set("maxmemory", int(info["used_memory"] / share))
        found = one(client.diagnose(), "maxmemory")
        assert found.severity == severity
        assert found.facts["used"] >= 0.8 * found.facts["maxmemory"]


def test_a_server_that_is_full(make_server: Callable[..., ControlledServer]) -> None:
    """Is looked at like any other; only the rights can't all be tried."""
    server = make_server()
    with AppClient(server.url) as client, redis_py.Redis.from_url(server.url) as redis:
        client.register_app(shop)
        redis.config_set("maxmemory", 1)
        found = client.diagnose()
        assert one(found, "maxmemory").severity == "error"
        assert [each.check for each in found.not_looked_at] == ["rights"]
        assert not list(redis.scan_iter("*scratch*"))


def test_a_replica(two: tuple[ControlledServer, ControlledServer]) -> None:
    """One that is asked itself names its master."""
    master, replica = two
    with AppClient(master.url) as client, redis_py.Redis.from_url(replica.url) as follower:
        client.register_app(shop)
        wait_until(lambda: follower.exists(client.partitions.first.meta), what="a replica that follows")
    with AppClient(replica.url) as client:
        found = one(client.diagnose(), "role")
    assert (found.severity, found.facts["master"]) == ("error", f"127.0.0.1:{master.port}")


def redis_info(server: ControlledServer) -> dict[str, Any]:
    with redis_py.Redis.from_url(server.url) as redis:
        info: Any = redis.info("replication")
        return dict(info)


def test_a_replica_that_does_not_follow(make_server: Callable[..., ControlledServer]) -> None:
    """Is named by its master, which waits for others before it sends its data."""
    slow = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "600")
    master = make_server(unix_socket=False, extra=slow)
    replica = make_server(unix_socket=False, extra=("--replicaof", "127.0.0.1", str(master.port)))
    wait_until(lambda: redis_info(master)["connected_slaves"] == 1, what="a replica")
    with AppClient(master.url) as client:
        found = one(client.diagnose(), "replicas")
    assert (found.severity, found.facts["replica"]) == ("warning", f"127.0.0.1:{replica.port}")


@pytest.mark.slow
def test_a_replica_that_lags(two: tuple[ControlledServer, ControlledServer]) -> None:
    """Once it has not been heard of for five seconds."""
    master, replica = two
    with AppClient(master.url) as client:
        wait_until(lambda: redis_info(master).get("slave0", {}).get("state") == "online", what="a replica that follows")
        assert not of(client.diagnose(), "replicas")
        replica.pause()
        try:
            wait_until(lambda: of(client.diagnose(), "replicas"), 30, what="a replica that lags", interval=0.2)
        finally:
            replica.resume()


@pytest.mark.parametrize(("offset_s", "which"), [(90.0, "ahead of"), (-90.0, "behind")])
def test_a_clock_that_is_off(client: AppClient, offset_s: float, which: str) -> None:
    """By how much this machine's differs from the server's, and in which direction."""
    plan = diagnose(client.partitions, lambda: time.time() + offset_s, "x")
    found = one(client._run(plan, partial=True), "clock")
    assert f"90.0 s {which}" in found.says
    assert found.facts["offset_s"] == pytest.approx(-offset_s, abs=1)


def test_a_server_that_is_down_is_one_line(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1."""
    monkeypatch.setattr("headrace.transport.backoff.Backoff.delay_s", lambda *_: 0.001)
    fails(headrace("doctor", "--url", "unix:///nonexistent/server.sock"), 1, "can't be reached")


# A namespace.


def test_no_worker_at_all(client: AppClient) -> None:
    """An error, and none about the duties that no worker has then."""
    found = client.diagnose()
    assert one(found, "workers").mend.startswith("headrace worker")
    assert not of(found, "leader") + of(found, "dispatchers")


def test_a_namespace_that_was_never_used(headrace: Headrace, url: str, namespace: str, count: int) -> None:
    """Its name may be typed wrong, so it is in the finding, and in what the command says; looking is no use."""
    with AppClient(url, namespace=namespace, partitions=count) as client:
        for _ in range(2):
            found = one(client.diagnose(), "namespace")
            assert (found.severity, found.facts["namespace"]) == ("error", namespace)
            assert f"namespace '{namespace}' has never been used" in found.says
            assert "--namespace" in found.mend
            assert not of(client.diagnose(), "workers")
        result = headrace("doctor", "--partitions", str(count))
        assert (result.exit_code, f"namespace '{namespace}' has never been used" in result.stdout) == (1, True)
        client.register_app(shop)
        found = one(client.diagnose(), "workers")
        assert found.mend == "headrace worker MODULE:APP"
        assert not of(client.diagnose(), "namespace")


@pytest.mark.leaves_records
def test_a_namespace_to_which_something_was_sent(url: str, namespace: str) -> None:
    """It is used, though no worker ever was alive."""
    with AppClient(url, namespace=namespace) as client:
        client.send_event(Event("x"))
        found = client.diagnose()
    assert (len(of(found, "workers")), of(found, "namespace")) == (1, [])


@pytest.mark.usefixtures("alive")
def test_duties_that_no_live_worker_has(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """No leader, or one whose time is over; no dispatcher slot, or one that has expired."""
    for _ in range(2):
        found = client.diagnose()
        assert not of(found, "workers")
        assert one(found, "leader").facts["workers"] == one(found, "dispatchers").facts["workers"] == ["w1"]
        redis.set(keys.leader, "w1 1000")
        redis.zadd(keys.dispatchers, {"w1": 1000})
    redis.set(keys.leader, f"w1 {FAR_MS}")
    redis.zadd(keys.dispatchers, {"w1": FAR_MS})
    found = client.diagnose()
    assert not of(found, "leader") + of(found, "dispatchers")


@pytest.mark.leaves_records
def test_events_that_nobody_dispatches(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """Once the oldest is older than ten seconds; a fresh one is nothing."""
    client.send_event(Event("x"))
    assert not of(client.diagnose(), "events")
    body = encode_event("x", "s", 0, None, None, None)
    redis.delete(keys.events)
    redis.xadd(keys.events, {"e": "old", "b": body}, id="1000-0")
    found = one(client.diagnose(), "events")
    assert (found.severity, found.facts["waiting"], found.facts["oldest_s"] > 10) == ("error", 1, True)


@pytest.mark.leaves_records
def test_what_is_overdue(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """What lies ahead is nothing."""
    sent = client.send_event(Event("x"), deliver_after=3_600)
    assert not of(client.diagnose(), "due")
    redis.zadd(keys.due, {f"e:{sent.id}": 1000})
    assert one(client.diagnose(), "due").facts["overdue_s"] > 10


@pytest.mark.usefixtures("alive")
def test_a_worker_that_died_and_is_not_rescued(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """Its name is given."""
    assert not of(client.diagnose(), "leases")
    redis.zadd(keys.workers, {"dead": 1000})
    assert one(client.diagnose(), "leases").facts["workers"] == ["dead"]


@pytest.mark.leaves_records
@pytest.mark.usefixtures("client")
async def test_a_queue_without_a_live_worker(url: str, namespace: str) -> None:
    """Its app and its runs are named, also if workers of other apps live; none once a worker of it does."""
    host = WorkerHost(url, namespace)
    async with host.working(DISPATCHER), AsyncAppClient(url, namespace=namespace) as asker:
        for _ in range(3):
            await asker.send_event(Event("user.deleted"))
        found: list[Finding] = []
        while not found or found[0].facts["waiting"] < 3:
            found = of(await asker.diagnose(), "backlog")
        assert (found[0].facts["queue"], "app shop" in found[0].mend) == ("shop/default", True)
        async with host.working(shop):
            assert not of(await asker.diagnose(), "backlog")


@pytest.mark.usefixtures("alive")
def test_a_queue_of_a_fenced_worker(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """A worker that counted as dead takes no runs, though its name is kept for a while."""
    redis.xadd(keys.queue("shop", "default"), {"e": "e1", "j": "audit"})
    assert not of(client.diagnose(), "backlog")
    redis.hset(keys.worker("w1"), "fenced", "1")
    assert one(client.diagnose(), "backlog").facts["queue"] == "shop/default"


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("wanted", ["quiet", "stop"])
def test_a_queue_of_a_worker_that_takes_nothing(
    client: AppClient, redis: redis_py.Redis, keys: Keys, wanted: str
) -> None:
    """One that is quiet, or stops, leaves what waits to others."""
    redis.xadd(keys.queue("shop", "default"), {"e": "e1", "j": "audit"})
    assert not of(client.diagnose(), "backlog")
    redis.hset(keys.worker("w1"), "wanted", wanted)
    found = one(client.diagnose(), "backlog")
    assert found.says == "1 run waits in queue shop/default, from which no live worker takes"
    assert "headrace queues purge shop/default" in found.mend


@pytest.fixture
def in_flight(redis: redis_py.Redis, keys: Keys) -> None:
    """Two runs are in flight at w1, and none waits."""
    queue = keys.queue("shop", "default")
    for number in range(2):
        redis.xadd(queue, {"e": f"e{number}", "j": "audit"})
    redis.xgroup_create(queue, "workers", "0")
    redis.xreadgroup("workers", "w1", {queue: ">"})


@pytest.mark.usefixtures("alive", "in_flight")
@pytest.mark.parametrize("wanted", ["quiet", "stop"])
def test_a_queue_whose_last_runs_end(client: AppClient, redis: redis_py.Redis, keys: Keys, wanted: str) -> None:
    """Nothing waits where a quiet worker still executes: a warning, without a purge; an error once a run waits."""
    redis.hset(keys.worker("w1"), "wanted", wanted)
    found = one(client.diagnose(), "backlog")
    assert (found.severity, found.facts) == ("warning", {"queue": "shop/default", "waiting": 0, "in_flight": 2})
    assert "2 runs end on workers that are quiet or stop; nothing takes new ones from queue shop/default" in found.says
    assert (found.mend.count("headrace worker"), "purge" in found.mend) == (1, False)
    redis.xadd(keys.queue("shop", "default"), {"e": "e2", "j": "audit"})
    found = one(client.diagnose(), "backlog")
    assert (found.severity, found.facts["waiting"], found.facts["in_flight"]) == ("error", 1, 2)


def cancel(redis: redis_py.Redis, queue: str, entries: Sequence[bytes], ago_s: int = 60) -> None:
    """Leave pending entries as the cancellation of their runs does, so long ago."""
    ids = [each.decode() for each in entries]
    redis.xclaim(queue, "workers", "w1", 0, [*ids], idle=1_000 * ago_s, retrycount=CANCELED_DELIVERIES)
    redis.xdel(queue, *ids)


def entries_of(redis: redis_py.Redis, queue: str) -> list[bytes]:
    rows: Any = redis.xrange(queue)
    return [entry for entry, _ in rows]


@pytest.mark.usefixtures("alive", "in_flight")
def test_a_queue_of_a_quiet_worker_whose_run_is_canceled(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """Its function goes on without an entry, and hides no run that waits."""
    queue = keys.queue("shop", "default")
    redis.hset(keys.worker("w1"), "wanted", "quiet")
    cancel(redis, queue, entries_of(redis, queue)[:1])
    redis.xadd(queue, {"e": "e2", "j": "audit"})
    found = one(client.diagnose(), "backlog")
    assert (found.severity, found.facts["waiting"], found.facts["in_flight"]) == ("error", 1, 2)


@pytest.mark.usefixtures("alive", "in_flight")
@pytest.mark.parametrize("limit", ["declared", "at run time"])
def test_a_limit_that_is_full_of_canceled_runs(
    client: AppClient, redis: redis_py.Redis, keys: Keys, limit: str
) -> None:
    """A warning, that names the worker to stop; an error once a run waits, and the limit may be the code's."""
    queue = keys.queue("shop", "default")
    cancel(redis, queue, entries_of(redis, queue))
    assert not of(client.diagnose(), "canceled")
    if limit == "declared":
        redis.hset(keys.worker("w1"), "limits", "default=2 mail=9")
    else:
        client.limit_queue("shop/default", 2)
    found = one(client.diagnose(), "canceled")
    facts = {"queue": "shop/default", "workers": ["w1"], "in_flight": 2, "waiting": 0}
    assert (found.severity, found.facts) == ("warning", facts | {"oldest_s": pytest.approx(60, abs=30)})
    assert found.mend.startswith("headrace workers stop w1: ")
    redis.xadd(queue, {"e": "e2", "j": "audit"})
    found = one(client.diagnose(), "canceled")
    assert (found.severity, found.facts["waiting"]) == ("error", 1)
    assert found.says == (
        "the limit of queue shop/default is full of functions of canceled runs that go on in w1: 1 run waits"
    )


@pytest.mark.usefixtures("alive", "in_flight")
@pytest.mark.parametrize(
    "but", ["one is not", "just now", "there is room", "no limit", "a dead worker", "another code"]
)
def test_a_limit_that_frees_itself(client: AppClient, redis: redis_py.Redis, keys: Keys, but: str) -> None:
    """Nothing, where not all are canceled, or have been for ten seconds, or a run could start, or will be rescued."""
    queue = keys.queue("shop", "default")
    entries = entries_of(redis, queue)
    cancel(redis, queue, entries[1:])
    if but == "one is not":
        redis.xclaim(queue, "workers", "w1", 0, [entries[0].decode()], idle=60_000)
    else:
        cancel(redis, queue, entries[:1], 0 if but == "just now" else 60)
    client.limit_queue("shop/default", None if but == "no limit" else 3 if but == "there is room" else 2)
    redis.hset(keys.worker("w1"), "limits", "default=2")
    if but == "a dead worker":
        redis.zadd(keys.workers, {"w1": 1_000, "w2": FAR_MS})
    elif but == "another code":
        client.limit_queue("shop/default", "declared")
        redis.zadd(keys.workers, {"w2": FAR_MS})
        redis.hset(keys.worker("w2"), mapping={"app": "shop", "queues": "shop/default", "limits": ""})
    assert not of(client.diagnose(), "canceled")


@pytest.mark.usefixtures("alive", "in_flight")
@pytest.mark.parametrize("state", ["fenced", "expired"])
def test_a_queue_of_a_dead_worker(client: AppClient, redis: redis_py.Redis, keys: Keys, state: str) -> None:
    """What a dead worker had will wait in the queue again, whatever was wanted of it; its rescue is another finding."""
    redis.hset(keys.worker("w1"), "wanted", "quiet")
    if state == "fenced":
        redis.hset(keys.worker("w1"), "fenced", "1")
    else:
        redis.zadd(keys.workers, {"w1": 1_000, "w2": FAR_MS})
    diagnosis = client.diagnose()
    found = one(diagnosis, "backlog")
    assert (found.severity, found.facts["waiting"], found.facts["in_flight"]) == ("error", 2, 0)
    assert [each.facts["workers"] for each in of(diagnosis, "leases")] == ([["w1"]] if state == "expired" else [])


@pytest.mark.leaves_records
@pytest.mark.usefixtures("client")
async def test_a_queue_that_no_worker_serves(url: str, namespace: str) -> None:
    """Workers of its app live, and each takes from other queues."""
    host = WorkerHost(url, namespace)
    async with host.working(shop, queues=["mail"]), AsyncAppClient(url, namespace=namespace) as asker:
        await asker.send_event(Event("user.deleted"))
        found: list[Finding] = []
        while not found:
            found = of(await asker.diagnose(), "backlog")
        assert found[0].facts["queue"] == "shop/default"
        async with host.working(shop, queues=["default"]):
            assert not of(await asker.diagnose(), "backlog")


@pytest.mark.leaves_records
def test_a_paused_queue(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """A warning, with its reason, what is in it, and the command that resumes it; damage stops nothing."""
    client.pause_queue("shop/mail", reason="wrong texts")
    redis.xadd(keys.queue("shop", "mail"), {"e": "e1", "j": "welcome"})
    found = one(client.diagnose(), "paused")
    assert (found.severity, found.mend) == ("warning", "headrace queues resume shop/mail")
    assert ("wrong texts" in found.says, found.facts["waiting"]) == (True, 1)
    redis.hset(keys.controls, "p:shop/mail", "nonsense")
    assert one(client.diagnose(), "paused").facts["since"] is None
    client.resume_queue("shop/mail")
    assert not of(client.diagnose(), "paused")


def test_routes_that_are_too_new(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """Say which format they need."""
    redis.hset(
        keys.routes("shop"), mapping={"w:w1": "new", "s:new": msgspec.msgpack.encode({"format": 99, "jobs": []})}
    )
    found = one(client.diagnose(), "routes")
    assert ("format 99" in found.says, "upgrade" in found.mend) == (True, True)


def test_damaged_routes(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """Name the app."""
    redis.hset(keys.routes("shop"), mapping={"w:w1": "bad", "s:bad": b"\xff"})
    assert one(client.diagnose(), "routes").facts["app"] == "shop"


def test_a_disabled_job(client: AppClient) -> None:
    """A warning, with its reason and the command that enables it."""
    client.disable_job("shop/audit", "too slow")
    found = one(client.diagnose(), "jobs")
    assert (found.severity, found.mend) == ("warning", "headrace jobs enable shop/audit")
    assert "too slow" in found.says


def test_dead_letters_by_reason(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """They are worth knowing, and no error; the most frequent come first."""
    for reason in ("failed", "lost", "failed"):
        redis.xadd(keys.dead, {"run": f"e1:{'shop/audit'}", "reason": reason, "error": "E: x"})
    found = of(client.diagnose(), "dead")
    assert [(each.severity, each.facts["reason"], each.facts["count"]) for each in found] == [
        ("info", "failed", 2),
        ("info", "lost", 1),
    ]
    assert "headrace dead retry --job shop/audit" in found[0].mend


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"reason": "unreadable", "error": "x"}, "headrace dead discard ID"),
        ({"run": "e1:shop/audit", "reason": "invalid_payload", "error": "x"}, "headrace dead discard --job shop/audit"),
        (
            {"run": "e1:shop/audit", "reason": "lost", "error": "x"},
            "headrace dead discard --job shop/audit --reason lost",
        ),
    ],
    ids=["no run", "payload", "lost"],
)
def test_dead_letters_that_a_retry_may_not_help(
    client: AppClient, redis: redis_py.Redis, keys: Keys, fields: dict[str, str], mend: str
) -> None:
    """One without a run can't be retried, one with a wrong payload fails again, and a lost one may end its worker."""
    redis.xadd(keys.dead, {**fields})  # type: ignore[dict-item] # they are text
    assert mend in one(client.diagnose(), "dead").mend


def test_damaged_records(client: AppClient, redis: redis_py.Redis, keys: Keys) -> None:
    """An event among the newest whose record can't be read is named, once, and the key to delete."""
    sent = client.send_event(Event("x"), deliver_after=3_600)
    redis.hset(keys.event(sent.id), "m", "nonsense")
    found = one(client.diagnose(), "records")
    assert found.facts["id"] == sent.id
    assert (found.says.count(sent.id), "delete" in found.says) == (1, False)
    assert f"DEL '{keys.event(sent.id)}', then send the event again if needed" in found.mend
    redis.delete(keys.event(sent.id), keys.due)


@pytest.mark.parametrize("name", ["events", "due", "leader", "workers", "dispatchers", "queues", "controls", "dead",
                                  "recent", "runs", "meta", "fading", "wake", "routes_version"])  # fmt: skip
def test_a_key_of_a_foreign_type(client: AppClient, redis: redis_py.Redis, keys: Keys, name: str) -> None:
    """Is named, and all else is looked at nevertheless."""
    key = getattr(keys, name)
    redis.delete(key)
    if name in ("leader", "routes_version"):
        redis.rpush(key, "x")
    else:
        redis.set(key, "x")
    found = client.diagnose()
    assert one(found, "foreign").facts["key"] == key
    assert of(found, "appendonly")
    redis.delete(key)


def test_each_partition_is_looked_at(url: str, namespace: str, redis: redis_py.Redis) -> None:
    """A finding says in which one it is; those of the server are said once."""
    with AppClient(url, namespace=namespace, partitions=3) as client:
        client.register_app(shop)
        redis.zadd(client.partitions.all[2].workers, {"w1": 1000})
        found = client.diagnose()
    assert one(found, "leases").facts["partition"] == 2
    assert "of partition 2" in one(found, "leases").says
    assert len(of(found, "appendonly")) == 1


@pytest.mark.parametrize("count", [1, 64])
def test_round_trips_are_few(url: str, namespace: str, count: int) -> None:
    """However many partitions, queues, jobs and dead letters there are."""
    with AppClient(url, namespace=namespace, partitions=count) as client, redis_py.Redis.from_url(url) as redis:
        client.register_app(shop)
        for keys in client.partitions.all:
            for number in range(20):
                redis.xadd(keys.dead, {"run": f"e{number}:shop/audit", "reason": "failed"})
                redis.sadd(keys.queues, f"app{number}/default")
        trips: list[int] = []
        found = client._run(counted(client._plan_to_diagnose(), trips), partial=True)
    assert sum(each.facts["count"] for each in of(found, "dead")) >= 20
    assert len(trips) <= 20


def counted(plan: Plan[Diagnosis], trips: list[int]) -> Plan[Diagnosis]:
    """Run a plan, and note how many calls each of its round trips has."""
    answers: Any = None
    while True:
        try:
            asked = plan.send(answers)
        except StopIteration as done:
            found: Diagnosis = done.value
            return found
        trips.append(len(asked))
        answers = yield asked


# The command.


def test_what_the_command_says(headrace: Headrace, client: AppClient) -> None:
    """A line a finding and its mend; how many there are; exit code 1."""
    client.disable_job("shop/audit")
    result = headrace("doctor")
    assert result.exit_code == 1
    assert "error    no worker is alive" in result.stdout
    assert "         -> headrace jobs enable shop/audit\n" in result.stdout
    assert result.stdout.endswith("1 error, 2 warnings\n")
    assert result.stderr.startswith(f"looked at namespace '{client.partitions.namespace}' on {client.url}\n")


@pytest.mark.usefixtures("alive", "client")
def test_warnings_count_if_asked(headrace: Headrace, redis: redis_py.Redis, keys: Keys, url: str) -> None:
    """With --strict alone; the document is the same."""
    redis.set(keys.leader, f"w1 {FAR_MS}")
    redis.zadd(keys.dispatchers, {"w1": FAR_MS})
    plain, strict = headrace("doctor", "--json"), headrace("doctor", "--json", "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert document(plain) == document(strict)
    assert (document(plain)["namespace"], document(plain)["server"]) == (keys.namespace, url)
    (found,) = document(plain)["findings"]
    assert (found["severity"], found["check"]) == ("warning", "appendonly")


# A service, a cluster, rights.


@pytest.fixture
def limited(make_server: Callable[..., ControlledServer]) -> Iterator[Callable[..., Diagnosis]]:
    """Look at a namespace as the worker's user of deploy/acl, but for some rules and with others."""
    server = make_server()
    rules = users.rules_for_the_limited("headrace-worker")
    url = server.url.replace("unix://", "unix://limited:any@")
    with AppClient(server.url, namespace="limited") as client, redis_py.Redis.from_url(server.url) as admin:
        client.register_app(shop)
        admin.xadd(client.partitions.first.queue("shop", "default"), {"e": "e1", "j": "audit"})

        def look(*without: str, also: tuple[str, ...] = ()) -> Diagnosis:
            kept = [rule for rule in rules if rule not in without]
            admin.execute_command("ACL", "SETUSER", "limited", "reset", "resetchannels", "on", "nopass", *kept, *also)
            with AppClient(url, namespace="limited") as limited:
                return limited.diagnose()

        yield look
        assert not list(admin.scan_iter("*scratch*"))


def test_a_worker_that_lacks_rights(limited: Callable[..., Diagnosis]) -> None:
    """Those that are missing are named, and the command that gives them; nothing is wrong with all of them."""
    assert not of(limited(), "rights")
    assert one(limited("+xadd"), "rights").facts["lacking"] == ["XADD"]
    found = one(limited("+lrem", "+xgroup|create", "+xinfo|consumers"), "rights")
    assert (found.severity, found.facts["lacking"]) == ("error", ["LREM", "XGROUP CREATE"])
    assert "+lrem +xgroup|create" in found.mend
    assert one(limited("+xinfo|consumers"), "rights").facts["lacking"] == ["XINFO CONSUMERS"]
    assert one(limited("+pexpire"), "rights").facts["lacking"] == ["PEXPIRE"]


def test_a_worker_that_may_not_write_a_key(limited: Callable[..., Diagnosis]) -> None:
    """It is named."""
    keys = Keys("limited")
    also = (f"~{keys.prefix}*", f"&{keys.prefix}scratch:*")
    found = one(limited("&headrace:{limited:*}:*", also=also), "rights")
    assert found.facts["denied"] == [keys.settled_channel("doctor")]


def test_what_may_not_be_asked_is_said(limited: Callable[..., Diagnosis]) -> None:
    """A worker's user has not all rights of a viewer; what it lacks is left out, and all else is looked at."""
    found = limited("+info", "+zrange")
    missed = {each.check: each.why for each in found.not_looked_at}
    assert set(missed) == {"due", "leases", "dispatchers", "fading", "server", "appendfsync", "routes", "dead letters",
                           "records", "backlog"}  # fmt: skip
    assert "may not ask" in missed["server"]
    assert [each.check for each in found.findings] == ["rights"]


@pytest.fixture
async def lived_in(make_server: Callable[..., ControlledServer]) -> AsyncIterator[ControlledServer]:
    """A server as docs/operations.md says, and in its namespace `prod` a live worker."""
    server = make_server(appendonly=True, extra=WELL)
    async with WorkerHost(server.url, "prod").working(shop), AsyncAppClient(server.url, namespace="prod") as client:
        await client.wait_for_event((await client.send_event(Event("user.deleted"))).id, 30)
        yield server


@pytest.fixture
def doctor_for(lived_in: ControlledServer, headrace: Headrace) -> Callable[..., Result]:
    """Call the doctor as one of the users of deploy/acl, each of which is for the namespace `prod`."""

    def call(user: str, namespace: str, *args: str) -> Result:
        with redis_py.Redis.from_url(lived_in.url) as admin:
            admin.execute_command("ACL", "SETUSER", user, "reset", "on", ">secret", *users.rules_in("prod", user))
        url = lived_in.url.replace("unix://", f"unix://{user}:secret@")
        return headrace("doctor", "--namespace", namespace, *args, HEADRACE_URL=url)

    return call


@pytest.mark.parametrize("user", ["worker", "producer", "sender", "viewer", "operator"])
def test_a_namespace_that_the_user_may_not_read(doctor_for: Callable[..., Result], user: str) -> None:
    """One finding says so, and names it; nothing is called well, and what was not looked at is two lines."""
    result = doctor_for(f"headrace-{user}", "prdo")
    assert (result.exit_code, "nothing is wrong" in result.stdout) == (1, False)
    assert "error    the user may read nothing of namespace 'prdo': events," in result.stdout
    assert "-> name the namespace that this user is for, with --namespace or HEADRACE_NAMESPACE; or" in result.stdout
    first, *missed = result.stderr.splitlines()
    assert first.startswith("looked at namespace 'prdo' on unix://***@/")
    assert first.endswith(f" as user headrace-{user}")
    assert len([line for line in missed if "No permissions" in line or "to access" in line]) == 1
    assert "secret" not in result.output
    (found,) = document(doctor_for(f"headrace-{user}", "prdo", "--json"))["findings"]
    assert (found["severity"], found["check"], found["facts"]["namespace"]) == ("error", "rights", "prdo")


@pytest.mark.parametrize(("user", "unread"), [("sender", "leases"), ("producer", "leader")])
def test_a_user_who_may_not_read_all(doctor_for: Callable[..., Result], user: str, unread: str) -> None:
    """Nothing is called well either: the user could not see it if no worker was alive."""
    (found,) = document(doctor_for(f"headrace-{user}", "prod", "--json"))["findings"]
    assert (found["severity"], found["check"], unread in found["facts"]["unread"]) == ("error", "rights", True)
    assert "headrace-viewer" in found["mend"]
    assert "the user may not read all of namespace 'prod'" in doctor_for(f"headrace-{user}", "prod").stdout


@pytest.mark.parametrize(
    ("user", "missed"),
    [
        ("viewer", {"appendfsync", "rights"}),
        ("operator", {"appendfsync", "rights"}),
        ("worker", {"appendfsync", "dead letters", "records"}),
    ],
)
def test_a_user_who_may_read_what_runs_depend_on(
    doctor_for: Callable[..., Result], user: str, missed: set[str]
) -> None:
    """Nothing is wrong, and the rest is said."""
    result = doctor_for(f"headrace-{user}", "prod", "--strict")
    assert (result.exit_code, result.stdout) == (0, "nothing is wrong\n")
    found = document(doctor_for(f"headrace-{user}", "prod", "--json"))
    assert (found["findings"], {each["check"] for each in found["not_looked_at"]}) == ([], missed)


async def test_what_can_not_be_read_for_another_reason(lived_in: ControlledServer) -> None:
    """It is an error too: who knows what is there."""
    with AppClient(lived_in.url, namespace="prod") as client:
        found = client._run(without("leases", client._plan_to_diagnose(), client.partitions.first), partial=True)
    assert [(each.check, each.facts["unread"]) for each in found.findings] == [("reads", ["leases"])]
    assert NotLookedAt("leases", "odd") in found.not_looked_at


def without(check: str, plan: Plan[Diagnosis], keys: Keys) -> Plan[Diagnosis]:
    """Run a plan whose first question of this kind is answered with an error."""
    place = [each.check for each in questions(keys)].index(check)
    answers = list((yield next(plan)))
    answers[place] = ServerError("odd")
    while True:
        try:
            answers = yield plan.send(answers)
        except StopIteration as done:
            found: Diagnosis = done.value
            return found


def test_the_nodes_of_a_cluster(make_server: Callable[..., ControlledServer]) -> None:
    """Each node is looked at once, also where one is away: then its partitions are named."""
    cluster = Cluster(make_server)
    try:
        with AppClient(cluster.url, namespace="spread", partitions=6, timeout=20) as client:
            client.register_app(shop)
            nodes = of(client.diagnose(), "appendonly")
            assert len(nodes) == len(cluster.masters)
            cluster.masters[0].server.kill()
            found = client.diagnose()
            away = {each.facts["partition"] for each in of(found, "partitions")}
            assert 0 < len(away) < 6
            assert len(of(found, "appendonly")) == len(cluster.masters) - 1
    finally:
        cluster.close()


def test_a_service_with_sentinels(tmp_path: Path, server_binary: Path) -> None:
    """Its master is looked at, and its replicas, which follow."""
    with Watched(tmp_path, server_binary) as watched, AppClient(watched.url(), namespace="found") as client:
        client.register_app(shop)
        wait_until(lambda: not of(client.diagnose(), "replicas"), 30, what="replicas that follow")
        assert one(client.diagnose(), "workers").severity == "error"


def test_a_disk_that_is_full(make_server: Callable[..., ControlledServer]) -> None:
    """Is found by the server's last write, and nothing is waited for."""
    server = make_server(appendonly=True)
    with AppClient(server.url) as client, redis_py.Redis.from_url(server.url) as redis:
        client.register_app(shop)
        size = max(path.stat().st_size for path in server.data_dir.rglob("*") if path.is_file())
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))

        def is_refused() -> bool:
            try:
                redis.set("x", "x" * 1000)
            except redis_py.ResponseError:
                return True
            return False

        wait_until(is_refused, 30, what="a server that can't write its file")
        found = one(client.diagnose(), "persistence")
        assert (found.severity, found.facts["field"]) == ("error", "aof_last_write_status")
