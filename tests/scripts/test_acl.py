"""deploy/acl has the rights that a worker and a client need, no more, and a missing one stops a worker by its name."""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from headrace import AsyncClient, Client, Event, NotFound, PermissionMissing, Retention, WaitTimeout
from headrace.formats.codec import encode_event
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.model.event import RunStatus
from headrace_worker import App, Context, JobIO, Retry, Worker, WorkerConfig, event_trigger, protocol
from headrace_worker.cli.root import root
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.errors import StartRefused
from headrace_worker.membership.member import Member
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from headrace_worker.startup import permissions, preflight
from headrace_worker.streams import reader
from tests.apps.shop import app as shop
from tests.scripts import users
from tests.scripts.cases import seed_bystanders
from tests.scripts.cases.cancel_run import seed_ordered_run
from tests.scripts.cases.rerun import seed_failed_run
from tests.scripts.limits import Limits
from tests.scripts.source import SCRIPTS, commands_of
from tests.support.commands import fails
from tests.support.waiting import wait_until

_WORKER, _PRODUCER = users.commands_of("headrace-worker"), users.commands_of("headrace-producer")
_SENDER = users.commands_of("headrace-sender")
_NOT_NEEDED = {"info", "client|id", "client|unblock", "subscribe"}
"""A worker can do without: it does not check the server then, stops more slowly, and hears of changes later."""
_BY_THE_CLIENT_LIBRARY = {"auth"}


class _Guarded:
    """A server that has the users of deploy/acl, and an administrator."""

    def __init__(self, server: EmbeddedServer, admin_password: str) -> None:
        self.server = server
        self.admin = redis_py.Redis(unix_socket_path=str(server.socket_path), username="admin", password=admin_password)

    def url(self, user: str) -> str:
        password = next(rule[1:] for rule in users.rules_of(user) if rule.startswith(">"))
        return f"unix://{user}:{password}@{self.server.socket_path}"

    def denied(self) -> set[str]:
        """Return what users were denied."""
        return _denied(self.admin)


def _denied(admin: redis_py.Redis) -> set[str]:
    rows: Any = admin.acl_log()
    return {row["object"] for row in rows}


@pytest.fixture
def guarded(make_server: Callable[..., EmbeddedServer], tmp_path: Path) -> Iterator[_Guarded]:
    password = secrets.token_hex(8)
    acl_file = tmp_path / "users.acl"
    acl_file.write_text(users.ACL.read_text("utf-8") + f"user admin on >{password} ~* &* +@all\n", "utf-8")
    guarded = _Guarded(make_server(extra=("--aclfile", str(acl_file))), password)
    yield guarded
    guarded.admin.close()


def test_a_worker_is_listed_with_what_it_uses() -> None:
    """The worker's user may call what the scripts call and what the worker sends itself, and nothing else."""
    scripts = set().union(*map(commands_of, SCRIPTS))
    calls = [import_module(f"{protocol.__name__}.{each.name}") for each in pkgutil.iter_modules(protocol.__path__)]
    sent = set().union(*map(_sent_by, [*calls, reader]))
    assert scripts | sent | {"eval", "evalsha", "info", "subscribe"} == _WORKER


def _sent_by(module: ModuleType) -> set[str]:
    source = inspect.getsource(module)
    command, part = r'(?:Call|command|send_command)(?: = )?\(\s*\(?\s*"([A-Z]+)"', r'(?:, "(ID|UNBLOCK|CONSUMERS)")?'
    sent = re.findall(command + part, source)
    return {"|".join(part for part in words if part).lower() for words in sent}


def test_a_worker_tries_what_it_is_listed_with() -> None:
    """A worker tries at its start every command that its user is listed with, but those that it can do without."""
    tried = {str(call.args[0]).lower() for call in permissions.try_commands(Keys(users.NAMESPACE))}
    assert tried | {"evalsha"} == {name.partition("|")[0] for name in _WORKER - _NOT_NEEDED}


async def test_a_client_is_listed_with_what_it_uses(limits: Limits) -> None:
    """All that a client can do takes every command that the producer's user is listed with, and no other."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-producer"))
    seed_bystanders(limits.keyspace)
    seed_failed_run(limits.keyspace, body=encode_event("work", "shop", 0, None, None, None), fields={"o": 1})
    seed_ordered_run(limits.keyspace)
    limits.keyspace.seed_now()
    limits.keyspace.admin.script_flush()
    with limits.counting() as used:
        async with AsyncClient(limits.url, namespace="limited", retention=Retention(success=0)) as client:
            for event_id in ("e2", "e3"):
                await client.send_event(Event("work", id=event_id), deliver_after=3_600)
            await client.send_event(Event("work", id="e2"))
            await client.send_event(Event("work"), ordering_key="key")
            with pytest.raises(WaitTimeout):
                await client.wait_for_event("e3", 1)
            await client.cancel_event("e3")
            assert await client.has_workers()
            await _list_everything(client)
            (letter, *_) = (await client.list_dead_letters()).items
            await client.get_dead_letter(letter.id)
            assert (await client.retry_run("e1:app/job")).status == "queued"
            await _cancel_runs(client)
            limits.keyspace.admin.delete(limits.keyspace.keys.queue("app", "default"))
            assert (await client.retry_run("e1:app/job")).status == "queued"
    assert used - _BY_THE_CLIENT_LIBRARY == _as_counted(_PRODUCER, used)


def _as_counted(commands: set[str], used: set[str]) -> set[str]:
    """Return commands as the server has counted those that were used: Redis 6.2 counts no subcommands."""
    return commands if any("|" in each for each in used) else {each.partition("|")[0] for each in commands}


async def _cancel_runs(client: AsyncClient) -> None:
    """Cancel a run that executes, one behind the first of an ordering key, and the first."""
    answers = [(await client.cancel_run(f"{each}:app/job")).answer for each in ("executing", "ordered", "first")]
    assert answers == ["asked", "canceled", "canceled"]


async def _list_everything(client: AsyncClient) -> None:
    """Read a page of every list, and the second of what is delayed."""
    for status in get_args(RunStatus):
        await client.list_runs(status=status)
    await client.list_runs()
    await client.list_events()
    await client.dead_letter_groups()
    (behind,) = (page := await client.list_runs(status="waiting", behind=True, limit=1)).items
    assert (await client.list_runs(status="waiting", behind=True, cursor=page.cursor)).items != [behind]
    first = await client.list_delayed(limit=1)
    assert (await client.list_delayed(limit=1, cursor=first.cursor)).items


async def _seed_for_a_viewer(limits: Limits) -> None:
    """Leave two delayed events, and a run that a worker has."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-producer"))
    async with AsyncClient(limits.url, namespace="limited") as client:
        await client.send_event(Event("work", id="e2"), deliver_after=3_600)
        await client.send_event(Event("work", id="e3"), deliver_after=3_600)
    seed_ordered_run(limits.keyspace)
    limits.keyspace.seed_now()
    queue = limits.keyspace.keys.queue("app", "default")
    limits.keyspace.admin.sadd(limits.keyspace.keys.queues, "app/default")
    limits.keyspace.admin.xadd(queue, {"e": "e2", "j": "job", "s": "", "b": ""})
    limits.keyspace.admin.xgroup_create(queue, "workers", "0")
    limits.keyspace.admin.xreadgroup("workers", "w1", {queue: ">"})


async def test_a_viewer_is_listed_with_what_it_uses(limits: Limits) -> None:
    """Every read of a client, and no right to write: what it may not ask, such as the partitions, stops no read."""
    await _seed_for_a_viewer(limits)
    limits.allow(*users.rules_for_the_limited("headrace-viewer"))
    limits.keyspace.admin.acl_log_reset()
    with limits.counting() as used:
        async with AsyncClient(limits.url, namespace="limited") as client:
            await _list_everything(client)
            assert (await client.get_event("e2")).status == "delayed"
            for missing in (client.get_run("e2:app/job"), client.get_dead_letter("1-0")):
                with pytest.raises(NotFound):
                    await missing
            assert (await client.list_runs(event_id="e2")).items == []
            await client.has_workers()
            with pytest.raises(PermissionMissing):
                await client.cancel_event("e2")
        async with AsyncAppClient(limits.url, namespace="limited") as operator:
            missed = {each.check for each in (await operator.diagnose()).not_looked_at}
    assert missed == {"appendfsync", "rights"}
    refused = _as_counted({"evalsha", "config|get", "xreadgroup"}, used)  # cancel_event, and the doctor
    assert _denied(limits.keyspace.admin) == refused
    assert used - _BY_THE_CLIENT_LIBRARY - refused == _as_counted(users.commands_of("headrace-viewer"), used)


TAIL = ("events", "tail")
OPERATED: list[tuple[tuple[str, ...], int]] = [
    (("app", "register", "tests.apps.shop:app"), 0),
    (("app", "routes"), 0),
    (("jobs", "list"), 0),
    (("jobs", "show", "shop/audit"), 0),
    (("jobs", "disable", "shop/audit"), 0),
    (("jobs", "enable", "shop/audit"), 0),
    (("jobs", "trigger", "shop/audit"), 0),
    (("queues", "pause", "shop/mail"), 0),
    (("queues", "limit", "shop/mail", "5"), 0),
    (("queues", "resume", "shop/mail"), 0),
    (("send", "work", "--id", "e2", "--deliver-after", "3600"), 0),
    (("send", "work", "--id", "e3", "--deliver-after", "3600"), 0),
    (("send", "work", "--ordering-key", "key"), 0),
    (("send", "work", "--explain"), 1),
    (("events", "list"), 0),
    (("events", "show", "e2", "--tree"), 0),
    (("events", "explain", "e2"), 1),
    (("events", "wait", "e2", "--timeout", "1"), 1),
    (("events", "cancel", "e2"), 0),
    *((("runs", "list", "--status", status), 0) for status in get_args(RunStatus)),
    (("runs", "list"), 0),
    (("runs", "list", "--status", "waiting", "--behind"), 0),
    (("runs", "show", "e1:app/job"), 0),
    (("runs", "wait", "e1:app/job"), 1),
    (("delayed", "list"), 0),
    (("dead", "list"), 0),
    (("dead", "groups"), 0),
    (("dead", "show", "1-1"), 1),
    (("dead", "retry", "e1:app/job"), 0),
    (("dead", "discard", "1-1"), 1),
    (("events", "reschedule", "e3", "--after", "2h"), 0),
    (("events", "replay", "e2"), 0),
    (("runs", "cancel", "e1:app/job"), 0),
    (("runs", "retry", "e1:app/job", "--canceled"), 0),
    (("queues", "purge", "shop/mail", "--dry-run"), 0),
    (("audit", "list"), 0),
    (("index", "show"), 0),
    (("index", "keep", "20000"), 0),
    (("doctor",), 1),
    (("queues", "list"), 0),
    (("queues", "show", "shop/mail"), 0),
    (("workers", "list"), 0),
    (("workers", "show", "w1"), 1),
    (("workers", "quiet", "w1"), 1),
    (("workers", "stop", "w1"), 1),
    (("stats",), 0),
    (("top",), 0),
    (("app", "forget", "shop"), 0),
]
"""Every command that asks a server, with its exit code."""
_OF_AN_OPERATOR = (
    "send",
    "cancel",
    "cancel_run",
    "reschedule",
    "rerun",
    "watch",
    "divide",
    "subscribe",
    "unsubscribe",
    "disable",
    "enable",
    "control",
    "instruct",
)
"""The scripts of these commands, each of which may do more than it does here."""


def test_an_operator_is_listed_with_what_it_uses(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands of `headrace` but a worker take every right of the operator's user, and no other."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-operator"))
    seed_bystanders(limits.keyspace)
    seed_failed_run(limits.keyspace, body=encode_event("work", "shop", 0, None, None, None), fields={"o": 1})
    seed_ordered_run(limits.keyspace)
    limits.keyspace.seed_now()
    limits.keyspace.admin.script_flush()
    limits.keyspace.admin.acl_log_reset()
    monkeypatch.setenv("HEADRACE_URL", limits.url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", "limited")
    with limits.counting() as used, Client() as client:
        client.send_events([Event("work")] * 2, deliver_after=3_600)
        client.list_delayed(limit=1, cursor=client.list_delayed(limit=1).cursor)
        page = client.list_runs(status="waiting", behind=True, limit=1)
        assert client.list_runs(status="waiting", behind=True, cursor=page.cursor).items != page.items
        done = [(args, CliRunner().invoke(root, args, catch_exceptions=False)) for args, _ in OPERATED]
    assert [(args, result.exit_code) for args, result in done] == OPERATED, [(a, r.output) for a, r in done]
    refused = _as_counted({"config|get", "xreadgroup"}, used)  # the doctor
    assert _denied(limits.keyspace.admin) == refused
    needed = used.union(*map(commands_of, _OF_AN_OPERATOR)) - _BY_THE_CLIENT_LIBRARY - refused
    assert _as_counted(needed, used) == _as_counted(users.commands_of("headrace-operator"), used)


NO_SERVER = {("worker",), ("dev",), ("completion",), ("app", "check"), ("app", "schema")}
"""Commands that ask no server, or run jobs with the rights of a worker."""


def test_an_operator_was_tried_with_every_command() -> None:
    """But those that ask no server, or run jobs."""
    assert _tried_of([args for args, _ in OPERATED]) | {TAIL} | NO_SERVER == set(_paths(root))


VIEWED: list[tuple[tuple[str, ...], int]] = [
    (("events", "list"), 0),
    (("events", "show", "e2"), 0),
    (("events", "show", "e2", "--tree"), 0),
    (("events", "explain", "e2"), 1),
    (("events", "wait", "e1"), 1),
    (("runs", "list"), 0),
    (("runs", "list", "--status", "waiting", "--behind"), 0),
    (("runs", "list", "--event", "e1"), 0),
    *((("runs", "list", "--status", status), 0) for status in get_args(RunStatus)),
    (("runs", "show", "e1:app/job"), 0),
    (("runs", "wait", "e1:app/job"), 1),
    (("jobs", "list"), 0),
    (("jobs", "show", "shop/audit"), 0),
    (("queues", "list"), 0),
    (("queues", "show", "shop/mail"), 0),
    (("delayed", "list"), 0),
    (("dead", "list"), 0),
    (("dead", "groups"), 0),
    (("dead", "show", "LETTER"), 0),
    (("workers", "list"), 0),
    (("workers", "show", "w0"), 0),
    (("stats",), 0),
    (("top",), 0),
    (("audit", "list"), 0),
    (("index", "show"), 0),
    (("app", "routes"), 0),
    (("send", "work", "--explain"), 1),
    (("doctor",), 1),
]
"""Every command that only looks, with its exit code."""
ACTING: list[tuple[str, ...]] = [
    ("send", "work"),
    ("events", "cancel", "e2"),
    ("events", "reschedule", "e2", "--after", "2h"),
    ("events", "replay", "e1"),
    ("runs", "cancel", "e1:app/job"),
    ("runs", "retry", "e1:app/job", "--canceled"),
    ("dead", "retry", "e1:app/job"),
    ("dead", "discard", "LETTER"),
    ("jobs", "disable", "shop/audit"),
    ("jobs", "enable", "shop/audit"),
    ("jobs", "trigger", "shop/audit"),
    ("queues", "pause", "shop/mail"),
    ("queues", "resume", "shop/mail"),
    ("queues", "limit", "shop/mail", "5"),
    ("queues", "purge", "app/default", "--yes=app/default"),
    ("index", "keep", "20000"),
    ("workers", "quiet", "w0"),
    ("workers", "stop", "w0"),
    ("app", "register", "tests.apps.shop:app"),
    ("app", "forget", "shop"),
]
"""Every command that changes something."""


def test_a_viewer_is_tried_with_every_command() -> None:
    """Each looks or acts, but for those that ask no server, or run jobs; `send` does either."""
    looking, acting = _tried_of([args for args, _ in VIEWED]) | {TAIL}, _tried_of(ACTING)
    assert looking | acting | NO_SERVER == set(_paths(root))
    assert looking & acting == {("send",)}


def _tried_of(lines: Collection[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {path for path in _paths(root) for args in lines if args[: len(path)] == path}


@pytest.fixture
def viewed(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...]], Result]:
    """Run a command as the viewer, where every command has something to show or to change; LETTER is a dead letter."""
    keyspace = limits.keyspace
    keyspace.empty()
    seed_bystanders(keyspace)
    seed_failed_run(keyspace, body=encode_event("work", "shop", 0, None, None, None), fields={"o": 1})
    seed_ordered_run(keyspace)
    keyspace.seed_now()
    limits.allow(*users.rules_for_the_limited("headrace-operator"))
    monkeypatch.setenv("HEADRACE_URL", limits.url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", "limited")
    with AppClient(limits.url, namespace="limited") as operator:
        operator.register_app(shop)
        operator.send_event(Event("work", id="e2"), deliver_after=3_600)
        letter = operator.list_dead_letters().items[0].id
    limits.allow(*users.rules_for_the_limited("headrace-viewer"))

    def run(args: tuple[str, ...]) -> Result:
        keyspace.admin.acl_log_reset()
        named = [letter if each == "LETTER" else each for each in args]
        return CliRunner().invoke(root, named, catch_exceptions=False)

    return run


def test_a_viewer_looks_with_every_command(limits: Limits, viewed: Callable[[tuple[str, ...]], Result]) -> None:
    """Denied are the scripts that ask for the partitions, and for news of what is waited for, and two of the doctor."""
    for args, exit_code in VIEWED:
        result = viewed(args)
        assert result.exit_code == exit_code, (args, result.output)
        of_doctor = {"config": 1, "xreadgroup": 1} if args == ("doctor",) else {}
        assert _denials(limits.keyspace.admin) == {"evalsha": 1 + ("wait" in args)} | of_doctor, args


def test_a_viewer_changes_nothing(limits: Limits, viewed: Callable[[tuple[str, ...]], Result]) -> None:
    """Each command that acts says in one line that it may not, and nothing is written."""
    before = limits.keyspace.snapshot()
    for args in ACTING:
        fails(viewed(args), 1, "the server's user may not do this", "deploy/acl")
        assert limits.keyspace.snapshot() == before, args


def _denials(admin: redis_py.Redis) -> Counter[str]:
    """Return which commands users were denied, and how often; Redis 6.2 names no subcommands."""
    rows: Any = admin.acl_log()
    denied = Counter[str]()
    for row in rows:
        denied[row["object"].partition("|")[0]] += row["count"]
    return denied


@pytest.mark.parametrize(
    ("user", "refused"), [("headrace-viewer", {"evalsha", "AUTH"}), ("headrace-operator", {"AUTH"})]
)
def test_a_viewer_and_an_operator_follow_events(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, user: str, refused: set[str]
) -> None:
    """`events tail` prints what is sent, until its user is switched off."""
    admin = limits.keyspace.admin
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited(user))
    admin.acl_log_reset()
    admin.config_resetstat()
    monkeypatch.setenv("HEADRACE_URL", limits.url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", "limited")

    def looks() -> int:
        return int(admin.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])

    def send_and_end() -> None:
        wait_until(lambda: looks() > 0, what="a tail that follows")
        with Client(limits.keyspace.url, namespace="limited") as client:
            client.send_event(Event("work", id="e9"))
        before = looks()
        wait_until(lambda: looks() > before + 1, what="a look behind the one that found the event")
        limits.end_user()

    with ThreadPoolExecutor() as threads:
        ended = threads.submit(send_and_end)
        result = CliRunner().invoke(root, TAIL, catch_exceptions=False)
        ended.result()
    assert [line.split()[1:] for line in result.stdout.splitlines()] == [["e9", "work"]]
    assert _denied(admin) == refused


def _paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    for name, each in command.commands.items():
        yield from _paths(each, (*path, name))


async def test_an_operator_is_no_worker(limits: Limits) -> None:
    """It may take no runs, so a worker with its URL does not start."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-operator"))
    member = _member(limits.url, "limited")
    with pytest.raises(StartRefused, match="lacks a right"):
        await _check(member)
    await member.server.commands.close()


async def test_a_sender_is_listed_with_what_it_uses(limits: Limits) -> None:
    """Sends for now and for later, again, and to a server that has lost the script, take what a sender may, no less."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-sender"))
    limits.keyspace.admin.script_flush()
    limits.keyspace.admin.acl_log_reset()
    with limits.counting() as used:
        async with AsyncClient(limits.url, namespace="limited") as client:
            await client.send_event(Event("work", id="e2"), deliver_after=3_600)
            assert (await client.send_event(Event("work", id="e2"))).delivered_at is not None
            assert (await client.send_event(Event("work", id="e2"))).duplicate
            await client.send_event(Event("work"), ordering_key="key")
    assert used - _BY_THE_CLIENT_LIBRARY == _SENDER
    assert _denied(limits.keyspace.admin) == {limits.keyspace.keys.meta}  # how many partitions there are


def _member(url: str, namespace: str) -> Member:
    """Return a worker in the one partition of a namespace."""
    return Member.of(WorkerSetup.of(App("app"), Partitions(namespace), url, WorkerConfig(queues=("default",))))


async def _check(member: Member) -> None:
    """Check whether the worker could start."""
    await preflight.check(member.server, member.setup, member.identity.name)


async def test_a_sender_without_eval_sends_while_the_script_is_known(limits: Limits) -> None:
    """Once a worker has brought the scripts, a sender needs no `+eval`; on a server that lost them it is refused."""
    limits.keyspace.empty()
    limits.allow(*users.rules_for_the_limited("headrace-worker"))
    member = _member(limits.url, limits.keyspace.keys.namespace)
    limits.keyspace.admin.script_flush()
    await _check(member)
    await member.server.commands.close()
    limits.allow(*users.rules_for_the_limited("headrace-sender", "+eval"))
    async with AsyncClient(limits.url, namespace="limited") as client:
        await client.send_event(Event("work"))
        limits.keyspace.admin.script_flush()
        with pytest.raises(PermissionMissing, match=r"(?i)eval"):
            await client.send_event(Event("work"))


@pytest.fixture
def app() -> App:
    """One job fails once and sends a further event, the other fails for good; each has a queue of its own."""
    app = App("app")

    @app.job(id="first", trigger=event_trigger("work"), queue="one", retry=Retry(max_attempts=2, min_delay=0))
    async def first(ctx: Context, io: JobIO) -> None:
        if ctx.run.attempt == 1:
            raise ValueError("not yet")
        await io.send_event("more", Event("more"), deliver_after=0.01)

    @app.job(id="second", trigger=event_trigger("work"), queue="two", retry=Retry(max_attempts=1))
    def second() -> None:
        raise ValueError("never")

    return app


async def test_the_listed_rights_are_enough(guarded: _Guarded, app: App) -> None:
    """A worker and a client run every kind of work to its end as the users of deploy/acl, and are denied nothing."""
    worker = Worker(app, guarded.url("headrace-worker"), namespace=users.NAMESPACE, config=WorkerConfig(block=0.2))
    running = asyncio.ensure_future(worker.run())
    async with AsyncClient(guarded.url("headrace-producer"), namespace=users.NAMESPACE) as client:
        sent = await client.send_event(Event("work", "x" * 10_000))
        delayed = await client.send_event(Event("other"), deliver_after=3_600)
        assert (await client.cancel_event(delayed.id)).status == "canceled"
        record = await client.wait_for_event(sent.id, 30)
        assert [run.status for run in record.runs] == ["succeeded", "failed"]
        assert (await client.list_runs()).items
        (letter,) = (await client.list_dead_letters()).items
        assert await client.get_dead_letter(letter.id) == letter
        await client.retry_run(f"{sent.id}:app/second")
        assert (await client.wait_for_event(sent.id, 30)).is_settled
    worker.stop()
    await running
    assert guarded.denied() == set()


def test_apps_and_jobs_are_operated_with_the_rights_of_a_worker(guarded: _Guarded, app: App) -> None:
    """The worker's user is denied nothing; a producer's user is refused, and has changed nothing."""
    with AppClient(guarded.url("headrace-producer"), namespace=users.NAMESPACE) as client:
        with pytest.raises(PermissionMissing):
            client.register_app(app)
        assert not guarded.admin.exists(client.partitions.first.routes("app"))
        guarded.admin.acl_log_reset()
    with AppClient(guarded.url("headrace-worker"), namespace=users.NAMESPACE) as client:
        client.register_app(app)
        (job, *_) = [each.job for each in client.list_jobs().items]
        client.disable_job(job)
        client.enable_job(job)
        client.explain_event(client.trigger_job(job).id)
        client.explain_send(Event("any"))
        assert client.list_apps().items
        client.forget_app("app")
    assert guarded.denied() == set()


async def test_queues_are_controlled_with_the_rights_of_a_worker(guarded: _Guarded, app: App) -> None:
    """The worker's user is denied nothing, nor is a worker that takes by a limit; a producer's user is refused."""
    with AppClient(guarded.url("headrace-worker"), namespace=users.NAMESPACE) as operator:
        operator.register_app(app)
        operator.pause_queue("app/one")
        operator.resume_queue("app/one")
        operator.limit_queue("app/one", 1)
        worker = Worker(app, guarded.url("headrace-worker"), namespace=users.NAMESPACE, config=WorkerConfig(block=0.2))
        running = asyncio.ensure_future(worker.run())
        async with AsyncClient(guarded.url("headrace-producer"), namespace=users.NAMESPACE) as producer:
            sent = await producer.send_event(Event("work"))
            assert (await producer.wait_for_event(sent.id, 30)).is_settled
            worker.stop()
            await running
            assert guarded.denied() == set()
            with pytest.raises(PermissionMissing):
                await producer.pause_queue("app/one")
        assert [(each.queue, each.paused_at) for each in operator.list_queue_controls()] == [("app/one", None)]


@pytest.fixture
async def make_member(limits: Limits) -> AsyncIterator[Callable[[], Member]]:
    """Yield a function that makes a worker whose user is the limited one."""
    members = []

    def make() -> Member:
        members.append(_member(limits.url, limits.keyspace.keys.namespace))
        return members[-1]

    limits.keyspace.empty()
    yield make
    for member in members:
        await member.server.commands.close()


@pytest.mark.parametrize("command", sorted(_WORKER - _NOT_NEEDED - {"eval"}))
async def test_a_missing_command_stops_the_start(
    command: str, make_member: Callable[[], Member], limits: Limits
) -> None:
    """A worker whose user lacks a command does not start, and says which one it is."""
    limits.allow(*users.rules_for_the_limited("headrace-worker", f"+{command}"))
    with pytest.raises(StartRefused, match=rf"(?i)\b{re.escape(command.partition('|')[0])}\b"):
        await _check(make_member())


async def test_what_a_worker_can_do_without(make_member: Callable[[], Member], limits: Limits) -> None:
    """A worker whose user may not ask the server or the connection for what they are starts all the same."""
    limits.allow(*users.rules_for_the_limited("headrace-worker", *(f"+{command}" for command in _NOT_NEEDED)))
    await _check(make_member())
    assert limits.keyspace.admin.dbsize() == 0


async def test_a_missing_key_stops_the_start(make_member: Callable[[], Member], limits: Limits) -> None:
    """A worker whose user may not use one of its keys does not start, and says which one it is."""
    member = make_member()
    names = permissions.every_key(member.setup.keys, "app", ["default"], member.identity.name)
    scratch = f"~{member.setup.keys.prefix}scratch:*"
    for forbidden in names:
        limits.allow("+@all", "&*", scratch, *(f"~{name}" for name in names if name != forbidden))
        with pytest.raises(StartRefused, match=re.escape(repr(forbidden))):
            await _check(member)
    limits.allow("+@all", "&*", scratch, *(f"~{name}" for name in names))
    await _check(member)


async def test_a_missing_channel_stops_the_start(make_member: Callable[[], Member], limits: Limits) -> None:
    """A worker whose user may not publish that an event has settled does not start, and says so."""
    limits.allow("+@all", "~*", f"&{limits.keyspace.keys.prefix}scratch:*")
    with pytest.raises(StartRefused, match=re.escape(limits.keyspace.keys.settled_channel(""))):
        await _check(make_member())


async def test_a_full_server_does_not_stop_the_start(make_member: Callable[[], Member], limits: Limits) -> None:
    """A worker starts on a full server, where its rights can't all be tried, and leaves nothing there."""
    limits.allow(*users.rules_for_the_limited("headrace-worker"))
    with limits.full():
        await _check(make_member())
    assert limits.keyspace.admin.dbsize() == 0


async def test_a_server_without_client_stops_the_start(make_server: Callable[..., EmbeddedServer]) -> None:
    """A worker does not start on a server whose CLIENT was renamed away: none of its loops could open a connection."""
    server = make_server(extra=("--rename-command", "CLIENT", ""))
    member = _member(server.url, "limited")
    with pytest.raises(StartRefused, match=r"(?i)lacks a command.*client"):
        await _check(member)
    await member.server.commands.close()
