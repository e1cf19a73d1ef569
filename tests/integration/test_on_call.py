"""The commands of docs/on-call.md do what the page says, in the order in which it says them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from headrace import Client, Event
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.model.event import EVENT_STATES
from headrace.plans.plan import Plan
from headrace_worker import App
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.cli.root import root
from headrace_worker.protocol.leases import Registration, register
from tests.apps.on_call import app
from tests.scripts import users
from tests.support.commands import Headrace
from tests.support.servers import ControlledServer
from tests.support.snippets import ROOT
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

PAGE = (ROOT / "docs/on-call.md").read_text("utf-8")
OF_WORKERS = set(re.findall(r"may call all that is on this page but `headrace (\w+)`", PAGE))
"""Commands that the page names as a worker's. They run until they are stopped: only their arguments are checked."""


def sections() -> dict[str, list[str]]:
    """Return the commands of the page by its headings."""
    parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)[1:]
    blocks = [re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL) for body in parts[1::2]]
    return {name: "".join(found).splitlines() for name, found in zip(parts[::2], blocks, strict=True)}


SECTIONS = sections()


def command_of(args: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that arguments name, and the rest of them."""
    command: click.Command = root
    while isinstance(command, click.Group) and args and args[0] in command.commands:
        command, args = command.commands[args[0]], args[1:]
    return command, args


@pytest.fixture
async def happened(client: Client, host: WorkerHost, keys: Keys, request: pytest.FixtureRequest) -> None:
    """What the page tells of: a run that failed for good, an event that nobody wants, one that is delayed, a worker."""
    client.send_events([Event("order.placed", "refused", id="order-42"), Event("order.laced", id="misspelt")])
    await host.settle(app)
    client.send_event(Event("reminder", id="reminder-7"), deliver_after=3_600)
    if any("w1" in line for line in SECTIONS[request.node.callspec.params["section"]]):
        blob = subscriptions_of(app)
        registration = Registration(app.name, fingerprint_of(blob), blob, app.queues)
        client._run(_once(register(keys, "w1", 600_000, registration)))


def _once(call: Call[Any]) -> Plan[Any]:
    return (yield [call])


@pytest.fixture
def operator_url(url: str, namespace: str, redis: redis_py.Redis) -> Iterator[str]:
    """The session's server for a user with the rights of `headrace-operator` in the test's namespace."""
    rules = users.rules_in(namespace, "headrace-operator")
    redis.execute_command("ACL", "SETUSER", "on-call", "reset", ">secret", *rules)
    parts = urlsplit(url)
    yield urlunsplit(parts._replace(netloc=f"on-call:secret@{parts.netloc.rpartition('@')[2]}"))
    redis.execute_command("ACL", "DELUSER", "on-call")


@pytest.mark.leaves_records
@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work(headrace: Headrace, operator_url: str, section: str) -> None:
    """Each ends with exit code 0 or with the one that its comment names, for an operator, but for a worker's."""
    for line in SECTIONS[section]:
        _, *args = shlex.split(line, comments=True)
        if args[0] in OF_WORKERS:
            command, rest = command_of(args)
            command.make_context(args[0], rest)
            continue
        result = headrace(*args, HEADRACE_URL=operator_url)
        expected = int(found[1]) if (found := re.search(r"# exit code (\d)", line)) else 0
        assert result.exit_code == expected, f"{line}: {result.output}"


FREE = [
    "queues pause billing/default", "queues resume billing/default", "queues limit billing/default 3",
    "runs cancel waits:billing/charge", "events reschedule reminder-7 --after 2h", "events cancel reminder-7",
    "jobs disable billing/charge", "queues purge billing/default --yes=billing/default",
    "dead discard --job billing/charge --yes",
]  # fmt: skip
REFUSED = [
    "dead retry --job billing/charge --yes", "events replay order-42", "workers quiet w1", "workers stop w1",
    "app register tests.apps.everyday:app",
]  # fmt: skip


async def test_what_a_full_server_still_does(make_server: Callable[..., ControlledServer]) -> None:
    """What the page says: acts that hold or end work are done, and not in the audit; what needs room is refused."""
    server = make_server()
    page = PAGE.partition("## The server is full")[2].partition("\n## ")[0]
    for command in (*FREE, *REFUSED):
        assert command.split()[1] in page
    with Client(server.url) as client, redis_py.Redis.from_url(server.url) as redis:
        client.send_event(Event("order.placed", "refused", id="order-42"))
        await WorkerHost(server.url, "default").settle(app)
        client.send_event(Event("reminder", id="reminder-7"), deliver_after=3_600)
        client.pause_queue("billing/default")
        dispatcher = App("dispatcher", dispatch_only=True)
        async with WorkerHost(server.url, "default").working(dispatcher):
            client.send_events([Event("order.placed", "refused", id=each) for each in ("waits", "waits too")])
            await await_until(lambda: client.get_event("waits too").status == "dispatched", what="runs that wait")
        registration = Registration.of(app)
        client._run(_once(register(client.partitions.first, "w1", 600_000, registration)))
        redis.config_set("maxmemory", 1)

        def run(line: str) -> Result:
            return CliRunner().invoke(root, line.split(), env={"HEADRACE_URL": server.url}, catch_exceptions=False)

        for line in REFUSED:
            refused = run(line)
            assert (refused.exit_code, "maxmemory" in refused.output) == (1, True), line
        for line in FREE:
            done = run(line)
            assert (done.exit_code, "this is not in the audit" in done.stderr) == (0, True), f"{line}: {done.output}"


PRINTED = {"can't be canceled any more": "events cancel reminder-7"}
"""What the page quotes, and the command that prints it once the reminder is on its way."""


@pytest.mark.leaves_records
async def test_what_the_page_quotes_is_printed(headrace: Headrace, client: Client, host: WorkerHost) -> None:
    """Whether a worker has looked at the event yet or not."""
    prose = re.sub(r"^```sh\n.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r'"([^"]+)"', prose)) == set(PRINTED)
    client.send_event(Event("reminder", id="reminder-7"))
    before = {words: headrace(*command.split()) for words, command in PRINTED.items()}
    await host.settle(app)
    after = {words: headrace(*command.split()) for words, command in PRINTED.items()}
    for words, result in (*before.items(), *after.items()):
        assert (result.exit_code, result.stdout, words in result.stderr) == (1, "", True), result.output


def test_states_of_events_have_their_names_on_the_page() -> None:
    """Where it says what each of them waits for."""
    section = PAGE.partition("## Jobs do not run\n")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z]+)`", re.sub(r"^```sh\n.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL))
    assert named == ["delayed", "pending", "dispatched", "settled"]
    assert set(named) < set(EVENT_STATES)


def test_every_command_of_the_page_is_there() -> None:
    """None is a group alone: a command that does not exist is taken for the argument of its group."""
    lines = [line for found in SECTIONS.values() for line in found]
    assert [line for line in lines if isinstance(command_of(_args(line))[0], click.Group)] == []


def _args(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]
