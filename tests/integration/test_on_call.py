"""The commands of docs/on-call.md do what the page says, in the order in which it says them."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from headrace import Client, Event
from headrace_worker.cli.root import root
from tests.apps.on_call import app
from tests.support.commands import Headrace
from tests.support.snippets import ROOT
from tests.support.workers import WorkerHost

TO_COME = {"queues list", "workers list", "workers quiet", "workers stop", "stats", "top"}
"""Commands of the page that are not there yet. One that comes has to leave this list, and is run then."""
ENDLESS = {"worker", "top"}
"""Commands that run until they are stopped: only their arguments are checked."""


def sections() -> dict[str, list[str]]:
    """Return the commands of the page by its headings."""
    text = (ROOT / "docs/on-call.md").read_text("utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    blocks = [re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL) for body in parts[1::2]]
    return {name: "".join(found).splitlines() for name, found in zip(parts[::2], blocks, strict=True)}


SECTIONS = sections()


def is_to_come(line: str) -> bool:
    """Return whether a command, or an option of it, is not there yet."""
    _, *args = shlex.split(line, comments=True)
    return any(set(each.split()) <= set(args) and args[0] == each.split()[0] for each in TO_COME)


def command_of(args: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that arguments name, and the rest of them."""
    command: click.Command = root
    while isinstance(command, click.Group) and args and args[0] in command.commands:
        command, args = command.commands[args[0]], args[1:]
    return command, args


@pytest.fixture
async def happened(client: Client, host: WorkerHost) -> None:
    """What the page tells of: a run that failed for good, an event that nobody wants, one that is delayed."""
    client.send_events([Event("order.placed", "refused", id="order-42"), Event("order.laced", id="misspelt")])
    await host.settle(app)
    client.send_event(Event("reminder", id="reminder-7"), deliver_after=3_600)


@pytest.mark.leaves_records
@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work(headrace: Headrace, section: str) -> None:
    """Each ends with exit code 0, or with the one that its comment names."""
    for line in SECTIONS[section]:
        _, *args = shlex.split(line, comments=True)
        if is_to_come(line):
            continue
        if args[0] in ENDLESS:
            command, rest = command_of(args)
            command.make_context(args[0], rest)
            continue
        result = headrace(*args)
        expected = int(found[1]) if (found := re.search(r"# exit code (\d)", line)) else 0
        assert result.exit_code == expected, f"{line}: {result.output}"


def test_every_command_of_the_page_is_there_or_to_come() -> None:
    """Those that have come have left the list, and each that is on it is on the page."""
    lines = [line for found in SECTIONS.values() for line in found]
    missing = {line for line in lines if not is_to_come(line) and isinstance(command_of(_args(line))[0], click.Group)}
    assert not missing
    assert {each for each in TO_COME if not any(set(each.split()) <= set(_args(line)) for line in lines)} == set()
    assert [each for each in TO_COME if _is_there(each)] == []


def _args(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def _is_there(name: str) -> bool:
    command, rest = command_of(name.split())
    options = {option for parameter in command.params for option in parameter.opts}
    return not isinstance(command, click.Group) and set(rest) <= options
