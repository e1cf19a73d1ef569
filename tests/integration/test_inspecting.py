"""Operators see workers, queues and counts from the command line, and quiet and stop workers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import termios
import time
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from headrace import Client, Event, InvalidArgument, RunRecord
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker import App, Context, Queue, Retry, event_trigger
from headrace_worker.cli.root import root
from headrace_worker.commands.dispatch import note_paused_queues
from headrace_worker.inspect import queues as queues_plan
from headrace_worker.inspect.depths import read_depths
from headrace_worker.inspect.queues import QueueInfo
from headrace_worker.operate.app_client import AppClient
from headrace_worker.protocol.leases import end_lease
from tests.support.round_trips import Asked
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

PARTITIONS = 3


class Cli:
    """Runs commands on the test's namespace."""

    def __init__(self, host: WorkerHost) -> None:
        self._env = {"HEADRACE_URL": host.url, "HEADRACE_NAMESPACE": host.namespace}
        self._env["HEADRACE_PARTITIONS"] = str(host.partitions or 1)

    def run(self, *args: str, code: int = 0) -> Result:
        result = CliRunner().invoke(root, args, env=self._env)
        assert result.exit_code == code, result.output
        return result

    def json(self, *args: str, code: int = 0) -> Any:
        lines = self.run(*args, "--json", code=code).stdout.splitlines()
        (document,) = [line for line in lines if line.startswith("{")]  # a worker of the test logs there, too
        return msgspec.json.decode(document)


class Waiting:
    """An app whose runs wait until they may go on."""

    def __init__(self) -> None:
        self.app = App("app", version="1.2")
        self.begun: list[str] = []
        self.go_on = asyncio.Event()
        self.app.job(id="waits", trigger=event_trigger("asked"))(self._wait)

    async def _wait(self, ctx: Context) -> None:
        self.begun.append(ctx.run.id)
        await self.go_on.wait()


@pytest.fixture(params=[1, PARTITIONS], ids=["one partition", "three"])
def host(url: str, namespace: str, request: pytest.FixtureRequest) -> WorkerHost:
    return WorkerHost(url, namespace, request.param)


def _page(noun: str, items: list[Any]) -> dict[str, Any]:
    searched = {"entries": len(items), "back_to": None, "complete": True, "remembered_since": None, "not_compared": 0}
    return {noun: items, "damaged": [], "cursor": None, "searched": searched}


async def test_a_worker_and_its_queue_are_shown_with_their_runs(host: WorkerHost) -> None:
    """By all partitions together: two runs execute, eight wait for a slot."""
    cli, waiting = Cli(host), Waiting()
    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        async with host.working(waiting.app, concurrency=2, lease=1.5) as worker:
            client.send_events([Event("asked")] * 10)
            await await_until(lambda: len(waiting.begun) == 2, 20)
            await await_until(lambda: cli.json("workers", "list")["workers"][0]["in_flight"] == 2, 20)
            (listed,) = cli.json("workers", "list")["workers"]
            assert (listed["name"], listed["app"], listed["state"]) == (worker.name, "app", "live")
            assert (listed["app_version"], listed["pid"], listed["slots"]) == ("1.2", os.getpid(), 2)
            assert listed["leads"] == listed["dispatches"] == list(range(host.partitions or 1))
            assert 0 < listed["lease_left_s"] <= 1.5
            shown = cli.json("workers", "show", str(worker.name))
            assert {run["run"] for run in shown["runs"]} >= set(waiting.begun)
            assert shown["is_complete"]
            queue = cli.json("queues", "show", "app/default")
            assert queue["waiting"] + queue["in_flight"] == 10
            assert queue["workers"] == [worker.name]
            assert cli.json("queues", "list") == _page("queues", [cli.json("queues", "show", "app/default")])
            for args in (["workers", "list"], ["workers", "show", str(worker.name)], ["queues", "show", "app/default"]):
                assert str(worker.name) in cli.run(*args).stdout
            waiting.go_on.set()
        assert cli.json("workers", "list") == _page("workers", [])
    assert "is known" in cli.run("workers", "show", "nobody", code=1).stderr
    assert "app/default" in cli.run("queues", "show", "app/other", code=1).stderr


async def test_a_queue_without_a_worker_is_pointed_out(host: WorkerHost) -> None:
    """With the age of what waits there longest."""
    cli, waiting = Cli(host), Waiting()
    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        await host.settle(waiting.app)
        other = App("other")
        other.job(id="one", trigger=event_trigger("nothing"))(lambda: None)
        async with host.working(other):
            client.send_events([Event("asked")] * 3)
            await await_until(lambda: cli.json("queues", "show", "app/default")["waiting"] == 3, 20)
            listed = cli.run("queues", "list")
            assert "no live worker fetches from app/default, where 3 runs wait" in listed.stderr
            assert "no live worker" not in cli.run("queues", "show", "other/default").stderr
            assert cli.json("queues", "show", "app/default")["oldest_at"] is not None
        waiting.go_on.set()
        await host.settle(waiting.app)
    assert cli.json("queues", "show", "app/default")["oldest_at"] is None


async def test_what_a_worker_serves_is_shown(host: WorkerHost) -> None:
    """Not every queue of its app, if it takes from some; with the limit that its code declares."""
    cli, app = Cli(host), App("app")
    app.job(id="one", trigger=event_trigger("asked"), queue=Queue("limited", concurrency=6))(lambda: None)
    app.job(id="two", trigger=event_trigger("asked"), queue="other")(lambda: None)
    async with host.working(app, queues=["limited"], lease=1.5) as worker:
        await await_until(lambda: cli.json("queues", "show", "app/limited")["declared_limit"] == 6, 20)
        assert cli.json("workers", "show", str(worker.name))["worker"]["queues"] == ["app/limited"]
        served, other = cli.json("queues", "list")["queues"]
        assert (served["workers"], other["workers"], other["declared_limit"]) == ([worker.name], [], "unknown")
        assert "limit as declared: 6" in cli.run("queues", "show", "app/limited").stdout
        assert cli.run("queues", "limit", "app/limited", "declared").stdout.endswith("limit as declared: 6\n")
        one, two = (cli.json("jobs", "show", f"app/{job}") for job in ("one", "two"))
        assert (one["workers"], one["fetched_by"], one["declared_limit"]) == ([worker.name], [worker.name], 6)
        assert (two["workers"], two["fetched_by"]) == ([worker.name], [])
        assert "no live worker fetches from queue other" in cli.run("jobs", "show", "app/two").stderr
    assert cli.json("queues", "show", "app/limited")["declared_limit"] == "unknown"


async def test_counts_are_shown_by_job_and_minute(host: WorkerHost) -> None:
    """About: but a worker that has stopped in order has reported all."""
    cli, app = Cli(host), App("app")
    app.job(id="fine", trigger=event_trigger("asked"))(lambda: None)

    @app.job(id="fails", trigger=event_trigger("asked"), retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
    async def fails() -> None:
        raise ValueError("never")

    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        client.send_events([Event("asked")] * 6)
        await host.settle(app)
    found = cli.json("stats", "--since", "5m")
    counts = {each["job"]: each["counts"] for each in found["jobs"]}
    assert {key: counts["app/fine"][key] for key in ("succeeded", "failed", "retried")} == {
        "succeeded": 6, "failed": 0, "retried": 0,
    }  # fmt: skip
    assert (counts["app/fails"]["failed"], counts["app/fails"]["retried"]) == (6, 6)
    assert len(found["minutes"]) == 5
    assert sum(minute["counts"]["succeeded"] for minute in found["minutes"]) == 6
    assert found["ended"] == {"app/default": 18}
    charts = cli.run("stats").stdout.splitlines()[-4:]
    assert charts[0] == "last 60 min"
    assert re.fullmatch(r"succeeded\|.{60}\| +6", charts[1])
    assert {len(line) for line in charts[1:]} == {80}
    assert "app/fails" in cli.run("top").stdout
    assert cli.json("jobs", "show", "app/fails")["last_hour"]["failed"] == 6
    assert re.search(r"last hour +6 succeeded, 0 failed, .* in the mean", cli.run("jobs", "show", "app/fine").stdout)
    assert cli.json("top")["queues"][0]["ended_per_minute"] == 1.8


@pytest.mark.parametrize("since", ["x", "1w", "-1", "", "2d", "1"])
def test_a_wrong_duration_is_refused(host: WorkerHost, since: str) -> None:
    """By its name, with exit code 2."""
    assert "since" in Cli(host).run("stats", "--since", since, code=2).stderr
    with AppClient(host.url, namespace=host.namespace) as client, pytest.raises(InvalidArgument, match="since"):
        client.get_stats(timedelta(days=3))


async def test_workers_are_quieted_and_stopped(host: WorkerHost) -> None:
    """Each by its name; one that is not alive is exit code 1, and the others do it all the same."""
    cli, waiting = Cli(host), Waiting()
    async with host.working(waiting.app) as worker:
        name = str(worker.name)
        result = cli.run("workers", "quiet", "nobody", name, code=1)
        assert result.stderr.splitlines() == ["worker nobody is not alive", f"worker {name} will fetch no more runs"]
        await await_until(lambda: cli.json("workers", "show", name)["worker"]["state"] == "quiet", 20)
        assert worker._members[0].identity.is_quiet
        assert cli.json("queues", "show", "app/default")["workers"] == []
        assert cli.json("workers", "stop", name) == {"workers": [{"worker": name, "is_alive": True}]}
        await await_until(lambda: cli.json("workers", "list")["workers"] == [], 20)
        assert worker.is_stopping
    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        noted = {(each.verb, each.done, each.failed) for each in client.list_audit().items}
    assert noted == {("workers quiet", 1, 1), ("workers stop", 1, 0)}


@pytest.mark.parametrize(
    ("wanted", "says", "state"),
    [
        (None, "live", "live"),
        ("quiet", "live", "quiet_asked"),
        ("quiet", None, "quiet_asked"),
        ("quiet", "quiet", "quiet"),
        (None, "quiet", "quiet"),
        ("stop", "quiet", "stop_asked"),
        ("stop", "live", "stop_asked"),
        ("stop", "stopping", "stopping"),
        (None, "stopping", "stopping"),
    ],
)
def test_a_wish_is_no_fact(host: WorkerHost, redis: Any, wanted: str | None, says: str | None, state: str) -> None:
    """A worker is quiet, or stops, once it says so; until then that is asked of it."""
    keys, fields = Keys(host.namespace), {"app": "app", "wanted": wanted, "state": says}
    redis.zadd(keys.workers, {"w1": 1_000 * (time.time() + 60)})
    redis.hset(keys.worker("w1"), mapping={field: value for field, value in fields.items() if value is not None})
    assert Cli(host).json("workers", "show", "w1")["worker"]["state"] == state
    redis.delete(keys.workers, keys.worker("w1"))


def test_a_lease_that_was_ended_at_once_has_no_time_left(host: WorkerHost, redis: Any) -> None:
    """As a supervisor ends that of a process that has died: the end has no time by which to count."""
    cli, keys = Cli(host), Keys(host.namespace)
    redis.zadd(keys.workers, {"w1": 1_000 * (time.time() + 60)})
    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        client._run(_once(end_lease(keys, "w1")))
    worker = cli.json("workers", "show", "w1")["worker"]
    assert (worker["state"], worker["lease_left_s"]) == ("expired", 0)
    for args in (("workers", "list"), ("workers", "show", "w1")):
        assert "0.0 s" in cli.run(*args).stdout
    (found,) = [each for each in cli.json("doctor", code=1)["findings"] if each["check"] == "leases"]
    assert (found["facts"]["workers"], found["facts"]["expired_s"]) == (["w1"], None)
    redis.delete(keys.workers, keys.wake)


def _once(call: Call[Any]) -> Plan[Any]:
    return (yield [call])


def test_what_is_foreign_or_damaged_counts_as_nothing(host: WorkerHost, redis: Any) -> None:
    """The rest is shown, and no terminal gets what it would take for a command."""
    cli, keys, odd = Cli(host), Keys(host.namespace), "odd\x1b[31m"
    minute, ends = int(time.time() // 60), 1_000 * (time.time() + 60)
    redis.zadd(keys.workers, {odd: ends, "wrong": ends, "gone": ends})
    redis.hset(
        keys.worker(odd), mapping={"app": "app", "queues": "app/full x", "pid": "x", "slots": "9" * 99, "rss": b"\xff"}
    )
    redis.set(keys.worker("wrong"), "text")
    redis.sadd(keys.queues, "app/full", "app/text", "no-slash", b"\xff/\xfe")
    redis.xgroup_create(keys.queue("app", "full"), "workers", mkstream=True)
    redis.xadd(keys.queue("app", "full"), {"odd": "entry"})
    redis.xreadgroup("workers", odd, {keys.queue("app", "full"): ">"})
    redis.set(keys.queue("app", "text"), "text")
    redis.hset(keys.tally(minute), mapping={"app/waits:s": "x", "odd": "3", "app/waits:f": "2"})
    redis.set(keys.tally(minute - 1), "text")
    shown = cli.json("workers", "show", odd)
    worker = shown["worker"]
    assert (worker["pid"], worker["slots"], worker["memory_bytes"], worker["app"]) == (None, None, None, "app")
    assert [run["run"].partition(" ")[0] for run in shown["runs"]] == ["entry"]
    assert {each["name"] for each in cli.json("workers", "list")["workers"]} == {odd, "wrong", "gone"}
    for args in (["workers", "list"], ["workers", "show", odd], ["queues", "list"], ["top"]):
        assert "\x1b[31m" not in cli.run(*args).stdout
    assert {each["name"] for each in cli.json("queues", "list")["queues"]} >= {"app/full", "app/text"}
    assert cli.json("stats")["jobs"][0]["counts"]["failed"] == 2
    redis.delete(*redis.keys(f"{keys.prefix}*"))


@pytest.mark.parametrize(
    "args",
    [
        ("queues", "list"), ("queues", "show", "app/default"), ("workers", "show", "w1"), ("stats",), ("top",),
        ("jobs", "list"), ("runs", "list", "--status", "executing"), ("runs", "list", "--status", "queued"),
        ("queues", "purge", "app/default", "--dry-run"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_queue_without_its_group_holds_what_waits(host: WorkerHost, redis: Any, args: tuple[str, ...]) -> None:
    """As something else has made it anew: nothing of it is in hand, so the command answers, closed or not."""
    cli, keys = Cli(host), Keys(host.namespace, 0)
    redis.zadd(keys.workers, {"w1": 1_000 * (time.time() + 60)})
    redis.hset(keys.worker("w1"), mapping={"app": "app", "queues": "app/default"})
    redis.sadd(keys.queues, "app/default")
    redis.xadd(keys.queue("app", "default"), {"odd": "entry"})
    with AppClient(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        client.register_app(Waiting().app)
    redis.xgroup_destroy(keys.queue("app", "default"), "workers")
    answer = cli.run(*args)
    for waiting, in_hand in re.findall(r"app/default +(\d+) +(\d+)", answer.stdout):
        assert (int(waiting), int(in_hand)) == (1, 0)
    redis.delete(*redis.keys(f"headrace:{{{host.namespace}:*"))


def test_depths_of_a_queue_without_its_group(host: WorkerHost, redis: Any) -> None:
    """A scrape answers too, and the doctor finds what waits."""
    cli, keys = Cli(host), Keys(host.namespace, 0)
    redis.sadd(keys.queues, "app/default")
    redis.xadd(keys.queue("app", "default"), {"odd": "entry"})
    with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        assert client._run(read_depths(client.partitions)).queues == {"app/default": 1}
    findings = cli.json("doctor", code=1)["findings"]
    assert [each["facts"]["waiting"] for each in findings if each["check"] == "backlog"] == [1]
    redis.delete(*redis.keys(f"headrace:{{{host.namespace}:*"))


def test_a_list_of_queues_takes_few_round_trips() -> None:
    """However many queues and workers there are; no command reads more than a thousand entries."""
    plan = queues_plan.list_queues(Partitions("test", 4))
    answers: list[Any] = []
    queues: list[QueueInfo] = []
    trips, most = 0, 0
    try:
        calls = next(plan)
        while True:
            trips += 1
            most = max([most, *(int(call.args[5]) for call in calls if call.args[3:5] == ("-", "+"))])
            answers = [_answer(call) for call in calls]
            calls = plan.send(answers)
    except StopIteration as end:
        queues = end.value.items
    assert (trips <= 7, most) == (True, 1_000)
    assert {(each.waiting, each.in_flight, each.canceled) for each in queues} == {(4 * 8, 4 * 4, 4 * 2)}
    assert queues[0].canceled_of == {"w1": 8}


def _answer(call: Any) -> Any:
    """Fifty queues, and workers that serve them."""
    match call.args[0]:
        case "SMEMBERS":
            reply: Any = [f"app/q{number}".encode() for number in range(50)]
        case "TIME":
            reply = [1_700_000_000, 0]
        case "ZRANGE":
            reply = [part for number in range(50) for part in (f"w{number}".encode(), b"1800000000000")]
        case "HGETALL":
            reply = [b"app", b"app", b"queues", b"app/q1"]
        case "XPENDING" if len(call.args) == 3:
            reply = [4, b"1-0", b"4-0", [[b"w1", b"3"], [b"w2", b"1"]]]
        case "XPENDING":
            reply = [[f"{at}-0".encode(), b"w1" if at < 4 else b"w2", 5, 10**6 if at < 3 else 1] for at in range(1, 5)]
        case "XLEN":
            reply = 10
        case "XRANGE":
            reply = []
        case "GET":
            reply = b"w1 1800000000000"
        case _:
            reply = 1
    return call.read(reply)


@pytest.mark.parametrize(("columns", "bars"), [(120, 60), (40, 20)])
def test_top_ends_with_ctrl_c_and_gives_the_terminal_back(host: WorkerHost, columns: int, bars: int) -> None:
    """As every command, with exit code 130; the newest minute and the sum of a chart are seen at any width."""
    import pty

    main, of_child = pty.openpty()
    termios.tcsetwinsize(of_child, (24, columns))
    env = {**os.environ, "HEADRACE_URL": host.url, "HEADRACE_NAMESPACE": host.namespace, "TERM": "xterm"}
    env.pop("COLUMNS", None)  # the size of the terminal counts
    command = [sys.executable, "-m", "headrace_worker.cli", "top"]
    with subprocess.Popen(command, stdin=of_child, stdout=of_child, stderr=of_child, env=env) as process:
        seen = b""
        while b"MEMORY" not in seen and b"SLOTS" not in seen and b"STATE" not in seen:
            seen += os.read(main, 4_096)
        process.send_signal(signal.SIGINT)
        os.close(of_child)
        while process.poll() is None:
            try:
                seen += os.read(main, 4_096)
            except OSError:
                break
        assert process.wait(20) == 130
    os.close(main)
    assert b"Traceback" not in seen
    assert re.search(rf"retried  \|{' ' * bars}\|        0".encode(), seen)


async def test_a_paused_queue_is_seen_wherever_its_runs_are(host: WorkerHost) -> None:
    """By name, since when and why; not where the runs are of another queue, or the queue goes on."""
    cli, app = Cli(host), App("app")
    app.job(id="held", trigger=event_trigger("asked"), queue="slow")(lambda: None)
    app.job(id="free", trigger=event_trigger("asked"))(lambda: None)
    async with host.working(app):
        with Client(host.url, namespace=host.namespace, partitions=host.partitions) as client:
            paused = client.pause_queue("app/slow", reason="provider is down")
            client.send_event(Event("asked", id="e1"))
            await await_until(lambda: client.get_event("e1").status == "dispatched", 20)
        moment = rf"\S+{str(paused.paused_at)[11:19]}\S+Z"
        since = rf"paused since {moment} \(provider is down\)"
        note = rf"queue app/slow is {since}: its runs start once it is resumed\n"
        for args in (("runs", "show", "e1:app/held"), ("events", "show", "e1"), ("events", "explain", "e1")):
            assert re.fullmatch(note, cli.run(*args).stderr), args
        assert re.fullmatch(note, cli.run("send", "asked", "--explain").stderr)
        free, held = cli.run("jobs", "list").stdout.splitlines()[1:]
        assert free.endswith("enabled")
        assert re.search(rf"enabled, queue paused since {moment}$", held)
        assert re.search(rf"^controls +{since}$", cli.run("jobs", "show", "app/held").stdout, re.MULTILINE)
        assert re.search(r"^app/slow +paused +1 ", cli.run("top").stdout, re.MULTILINE)
        assert cli.json("events", "explain", "e1")["answers"][1]["controls"]["reason"] == "provider is down"
        cli.run("queues", "resume", "app/slow")
        await await_until(lambda: cli.json("runs", "show", "e1:app/held")["status"] == "succeeded", 20)
        for args in (("runs", "show", "e1:app/held"), ("events", "show", "e1"), ("events", "explain", "e1")):
            assert cli.run(*args).stderr == ""
        assert "paused" not in cli.run("jobs", "list").stdout + cli.run("top").stdout


def test_that_a_queue_is_paused_costs_no_round_trip(host: WorkerHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """For jobs and explanations; one for runs, of which any is queued."""
    with AppClient(host.url, namespace=host.namespace, partitions=host.partitions) as client:
        client.register_app(Waiting().app)
        client.pause_queue("app/default")
        asked = Asked(client, monkeypatch)
        client.list_jobs()
        assert len(asked.trips) == 3  # the apps, their routes, their queues
        del asked.trips[:]
        client.explain_send(Event("asked"))
        assert len(asked.trips) == 2
        del asked.trips[:]
        runs = [RunRecord(id="e:app/waits", event_id="e", job="app/waits", status="queued", attempt=1, queue="default")]
        note_paused_queues(client, [*runs, *runs])
        assert len(asked.trips) == 1
        note_paused_queues(client, [msgspec.structs.replace(runs[0], status="succeeded")])
        assert len(asked.trips) == 1
