"""Prints for commands: JSON for machines, tables and fields for people. No value gets to a terminal as control codes.

With rich on a terminal tables have colours; without it, or into a file, they are plain aligned text.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from headrace import RunError, Sealed
from headrace_worker.terminal.progress import make_room

STATUS_COLOURS = {
    "succeeded": "green", "settled": "green", "pending": "yellow", "dispatched": "cyan", "executing": "cyan",
    "waiting": "yellow", "delayed": "yellow",
    "failed": "red", "timed_out": "red", "invalid_payload": "red", "lost": "red", "canceled": "magenta",
}  # fmt: skip


_NARROW = 60
"""A terminal of fewer columns has no room for a table that is wider."""
_BRIEF = 80
"""Characters of an error, or of a value, in a table."""
_TEXTS = frozenset(
    {"error", "why", "reason", "asked", "subscribes to", "filter", "context filter", "controls", "workers", "jobs"}
)
"""The columns that give way where a terminal is too narrow: between words, so that what may be copied stays whole."""
_GAP = 2
_LINES = 25


def print_json(value: Any) -> None:
    """Print one line of JSON: keys in the order of the type's fields, times in ISO 8601 as UTC, bytes in base64."""
    _write(msgspec.json.encode(_plain(value), enc_hook=str))


def print_text(text: str) -> None:
    """Print one line of text; escape what a terminal would take for a command."""
    _write(printable(text))


def _write(line: str | bytes) -> None:
    if sys.stdout.isatty():
        make_room()
    click.echo(line)


def _plain(value: Any) -> Any:
    """Return structs as mappings, even structs that are encoded as arrays elsewhere, and every time in UTC."""
    match value:
        case RunError() | msgspec.Struct():
            return {name: _plain(each) for name, each in msgspec.structs.asdict(value).items()}
        case datetime():
            return value.astimezone(UTC)
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {key if isinstance(key, str) else str(key): _plain(each) for key, each in value.items()}
    return value


def shown(value: Any) -> str:
    """Return a value as text for people: times in UTC, structures as JSON, control characters escaped."""
    match value:
        case None:
            return "-"
        case str():
            return printable(value)
        case Sealed(sealed, reason):
            return printable(f"<{len(sealed):,} bytes, sealed: {reason}>")
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return _as_json(value)


def _as_json(value: Any) -> str:
    return printable(msgspec.json.encode(_plain(value), enc_hook=str).decode())


def printable(text: str) -> str:
    """Return the text; escape characters that would move a terminal's cursor, change its colours or break a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def counted(count: int, noun: str) -> str:
    """Return how many there are of something, whose noun is given in the plural."""
    return f"{count:,} {noun.removesuffix('s') if count == 1 else noun}"


def brief(error: RunError | None) -> str | None:
    """Return an error in one short line: its type and the begin of its message."""
    if error is None:
        return None
    text = f"{error.type}: {error.message}" if error.message else error.type
    first = text.split("\n", 1)[0]
    return first if len(first) <= _BRIEF and first == text else f"{first[:_BRIEF]}…"


def brief_value(value: Any) -> str:
    """Return a value of a payload in one short line: as JSON, and a sealed or long one cut short."""
    text = shown(value) if isinstance(value, Sealed) else _as_json(value)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def print_fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one line a field; leave out fields without a value."""
    known = [(name, shown(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, text in known:
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {_coloured(text)}")


def print_line(level: int, *parts: str | None) -> None:
    """Print one line of a tree, so many levels deep, of the parts that there are."""
    texts = (_coloured(shown(part)) for part in parts if part is not None)
    click.echo("  " * level + "  ".join(texts))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, head: bool = True) -> None:
    """Print one line a row, under a head; cut nothing off, and align numbers on the right."""
    values = [list(row) for row in rows]
    texts = [[shown(value) for value in row] for row in values]
    is_number = [bool(values) and all(isinstance(row[place], int) for row in values) for place in range(len(columns))]
    heads = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        if width < _NARROW and width < sum(widths) + 2 * len(widths):
            _print_records(columns, values)
            return
        if _print_rich_table(columns, texts, is_number, width, head=head):
            return
    for row in (heads, *texts)[0 if head else 1 :]:
        cells = zip(row, widths, is_number, strict=True)
        click.echo(
            "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in cells).rstrip()
        )


def _print_records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print one line a value: in columns of a few characters nothing could be read."""
    for row in rows:
        print_fields(zip(columns, row, strict=True))
        click.echo()


def print_note(text: str) -> None:
    """Print one line for people on standard error, apart from the output."""
    make_room()
    click.echo(printable(text), err=True)


def is_dumb() -> bool:
    """Return whether the terminal says that it can't move its cursor, or show colours."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _coloured(text: str) -> str:
    return click.style(text, fg=STATUS_COLOURS[text]) if text in STATUS_COLOURS else text


def _print_rich_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], is_number: Sequence[bool], room: int, *, head: bool
) -> bool:
    try:
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        return False
    widths = _widths(columns, rows, room, cell_len)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", show_header=head)
    for column, width, right in zip(columns, widths, is_number, strict=True):
        table.add_column(column.upper(), width=width, justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(text, style=STATUS_COLOURS.get(text, "")) for text in row))
    # Without a height rich would not believe the width on a dumb terminal, and break ids there.
    Console(width=sum(widths) + _GAP * len(widths), height=_LINES).print(table, crop=False)
    return True


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], room: int, length: Callable[[str], int]
) -> list[int]:
    """Return how wide each column is: as its longest cell, and texts only as wide as there is room, or a word is."""
    cells = [(column, *(row[place] for row in rows)) for place, column in enumerate(columns)]
    widths = [max(map(length, column)) for column in cells]
    texts = [place for place, column in enumerate(columns) if column in _TEXTS]
    room -= sum(widths) + _GAP * (len(widths) - 1) - sum(widths[place] for place in texts)
    for place in texts:
        word = max(length(word) for cell in cells[place] for word in cell.split(" "))
        widths[place] = max(word, min(widths[place], room // len(texts)))
    return widths
