"""`headrace --help` is one screen, and docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from headrace_worker.cli.root import COMMANDS, root
from tests.support import cli_page


def test_the_help_fits_a_small_terminal() -> None:
    """80 columns and, under the line that asked for it, 24 lines; each command has one line, which is not cut."""
    shown = CliRunner().invoke(root, ["--help"], prog_name="headrace", env={"COLUMNS": "80"}).stdout.splitlines()
    assert len(shown) < 24
    assert max(map(len, shown)) <= 80
    assert not [line for line in shown if line.endswith("...") and not line.startswith("Usage")]
    names = [command.name for commands in COMMANDS.values() for command in commands]
    assert [line[7:].split()[0] for line in shown if line[:7].strip() in {"", *COMMANDS} and line[7:9].strip()] == names


GROUPS = [command for commands in COMMANDS.values() for command in commands if isinstance(command, click.Group)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_help_of_a_group_fits_too(group: click.Group) -> None:
    """Each of its commands has one line, which is not cut."""
    shown = CliRunner().invoke(root, [str(group.name), "--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert len(shown) < 24
    commands = shown[shown.index("Commands:") + 1 :]
    assert [line.split()[0] for line in commands] == sorted(group.commands)
    assert not [line for line in commands if line.endswith("...") or len(line) > 80]


def test_the_page_of_commands_is_as_the_commands_are() -> None:
    """`make docs-cli` writes it anew."""
    assert cli_page.PAGE.read_text("utf-8") == cli_page.written()
