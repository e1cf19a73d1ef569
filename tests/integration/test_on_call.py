"""The commands of docs/on-call.md do what the page says, in the order in which it says them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest

from headrace import Client, Event
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.plans.plan import Plan
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.cli.root import root
from headrace_worker.protocol.leases import Registration, register
from tests.apps.on_call import app
from tests.support.commands import Headrace
from tests.support.snippets import ROOT
from tests.support.workers import WorkerHost

ENDLESS = {"worker", "top"}
"""Commands that run until they are stopped: only their arguments are checked."""


def sections() -> dict[str, list[str]]:
    """Return the commands of the page by its headings."""
    text = (ROOT / "docs/on-call.md").read_text("utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
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


@pytest.mark.leaves_records
@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work(headrace: Headrace, section: str) -> None:
    """Each ends with exit code 0, or with the one that its comment names."""
    for line in SECTIONS[section]:
        _, *args = shlex.split(line, comments=True)
        if args[0] in ENDLESS:
            command, rest = command_of(args)
            command.make_context(args[0], rest)
            continue
        result = headrace(*args)
        expected = int(found[1]) if (found := re.search(r"# exit code (\d)", line)) else 0
        assert result.exit_code == expected, f"{line}: {result.output}"


def test_every_command_of_the_page_is_there() -> None:
    """None is a group alone: a command that does not exist is taken for the argument of its group."""
    lines = [line for found in SECTIONS.values() for line in found]
    assert [line for line in lines if isinstance(command_of(_args(line))[0], click.Group)] == []


def _args(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]
