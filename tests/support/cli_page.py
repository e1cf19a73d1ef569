"""`python -m tests.support.cli_page` writes docs/cli.md from the commands' own help: `make docs-cli`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from headrace_worker.cli.root import COMMANDS, root
from tests.support.house import ROOT

PAGE = ROOT / "docs" / "cli.md"
_UNWRAPPED = "\b\n"
"""What click does not wrap begins with."""
_INTRODUCTION = """# The command line

<!-- Written by `make docs-cli` from the commands themselves: change their docstrings and options instead. -->

`headrace COMMAND --help` says the same. Settings can be given in the environment; each table names the variables. To
complete commands in a shell, see [completion](#headrace-completion); what to call when something is wrong,
[on call](on-call.md).

With `--json` a command prints JSON for programs: one document in a line, or a line for each item. **Within a major
version no key is renamed or removed, and none gets another type; keys may be added**, so a program has to ignore those
that it does not know. A test compares each command with `tests/data/json_shapes.json`. Times are ISO 8601 in UTC,
durations seconds.

Commands that act on many print a line of JSON for each ID, also for one alone, and one for the end: see
[from the command line](operations.md#from-the-command-line).

| exit code | means |
|---|---|
| 0 | done |
| 1 | not done: not found, failed, not settled, no server, or the answer is no; each command says what |
| 2 | wrong usage: an argument, an option or a setting has to be changed |
| 130 | interrupted by Ctrl-C |
| 143, 129 | an act on many that was ended by SIGTERM, or by SIGHUP of a closed terminal |

A reader that has seen enough, as `head -1`, ends a command without a message; what an act has done is in the audit.
Without a terminal, ids and all other values are printed whole. With `NO_COLOR` set no colours are.
"""


def written() -> str:
    """Return the page."""
    contents = [f"| {purpose} | {', '.join(map(_link, commands))} |" for purpose, commands in COMMANDS.items()]
    tables = ["\n| for | commands |\n|---|---|\n" + "\n".join(contents) + "\n"]
    context = click.Context(root, info_name="headrace", **root.context_settings)
    sections = [
        text for commands in COMMANDS.values() for command in commands for text in _sections(command, context, 2)
    ]
    return _INTRODUCTION + "\n".join([*tables, *sections])


def _link(command: click.Command) -> str:
    return f"[{command.name}](#headrace-{command.name})"


def _sections(command: click.Command, parent: click.Context, depth: int) -> Iterator[str]:
    """Yield the section of a command and those of its own commands."""
    context = click.Context(command, parent, command.name)
    yield f"{'#' * depth} {context.command_path}\n\n{_text(command)}\n"
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _sections(each, context, depth + 1)
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    if rows := [row for parameter in command.params if (row := _row(parameter, context))]:
        yield "| option | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _row(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    if not isinstance(parameter, click.Option) or record is None:
        return ""
    names, text = record
    said, *groups = text.removesuffix("]").replace("]  [", "  [").split("  [")
    notes = [note for group in groups for note in group.split("; ")]
    variables = [f"`{note.removeprefix('env var: ')}`" for note in notes if note.startswith("env var: ")]
    others = [f"({_cell(note)})" for note in notes if not note.startswith("env var: ")]
    return f"| `{_cell(names)}` | {' '.join([_cell(said), *others, *variables])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _text(command: click.Command) -> str:
    """Return the help of a command as Markdown: paragraphs that click does not wrap are code."""
    blocks = []
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        if block.startswith(_UNWRAPPED):
            head, *lines = block.removeprefix(_UNWRAPPED).split("\n")
            code = "\n".join(line.removeprefix("  ") for line in lines)
            blocks.append(f"{head}\n\n```text\n{code}\n```" if head.endswith(":") else f"```text\n{head}\n{code}\n```")
        else:
            blocks.append(_cell(" ".join(block.split())))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
