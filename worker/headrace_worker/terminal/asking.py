"""Acts on many from the command line: their options, the question, the progress, and what is printed and noted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from headrace import Client, HeadraceError
from headrace_worker.operate.bulk import Act, Chosen, Result, carry_out
from headrace_worker.terminal.options import F, option, together
from headrace_worker.terminal.output import print_json, print_note, progress, shown

VIA = "headrace"
INTERRUPTED = 130
_SHOWN = 10


class Bulk(msgspec.Struct, frozen=True):
    """How a command that acts on many was asked to go about it.

    Attributes:
        every: without a filter.
        yes: do not ask; or the name that would have to be typed.
        note: why, for the audit.
    """

    every: bool
    dry_run: bool
    yes: str | None
    most: int
    rate: float | None
    note: str | None
    cursor: str | None


def bulk_options(noun: str, note: str = "--reason", *, every: bool = True) -> Callable[[F], F]:
    """Give the command the options of an act on many, passed as a `Bulk`.

    Args:
        noun: what it is done to, in the plural.
        note: the name of the option for why it is done.
        every: there is an option for all of them.
    """
    rate, most = click.FloatRange(min=0, min_open=True), click.IntRange(min=1)
    options = together(
        *([option("--all", "every", is_flag=True, help=f"All {noun}.")] if every else []),
        option("--dry-run", is_flag=True, help="Count them, show the first 10, and do nothing."),
        option("--yes", metavar="NAME", is_flag=False, flag_value="yes", help="Do not ask."),
        option("--max", "most", metavar="N", type=most, default=10_000, show_default=True, help="The most."),
        option("--rate", metavar="N", type=rate, help="How many a second, at most."),
        option(note, "note", metavar="TEXT", help="Why; kept in the audit, and by runs that are canceled."),
        option("--cursor", metavar="CURSOR", help="Go on where an earlier command has ended."),
    )

    def add(command: Any) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            names = ("every", "dry_run", "yes", "most", "rate", "note", "cursor")
            return command(*args, bulk=Bulk(*(given.pop(name, False) for name in names)), **given)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        return options(call)

    return add


class Work(msgspec.Struct, frozen=True):
    """What a command does to many.

    Attributes:
        verb: as in `runs cancel`, for the question and the audit.
        noun: of what it is done to, in the plural.
        act: does it to a batch.
        describe: says in one line what one has come to; None for lines of failures alone.
        name: has to be typed, or given by `--yes`; None where a yes is enough.
    """

    verb: str
    noun: str
    act: Act
    describe: Callable[[Result], str] | None = None
    name: str | None = None


def act_on(
    client: Client,
    bulk: Bulk,
    work: Work,
    ids: Sequence[str],
    filters: Mapping[str, Any],
    choose: Callable[[], Chosen],
    *,
    as_json: bool,
    beside: Mapping[str, Any] | None = None,
) -> int:
    """Choose, ask, act, print and note; return the exit code. IDs that are named are acted on without a question.

    Args:
        filters: what was asked for; those that are None, or empty, exclude nothing.
        choose: chooses by the filters.
        beside: what else the audit notes of how it was asked.
    """
    also = {key: value for key, value in (beside or {}).items() if value is not None}
    given = {key: value for key, value in filters.items() if value not in (None, (), "")}
    if bool(ids) + bool(given) + bulk.every != 1:
        raise click.UsageError("give either IDs, or filters, or --all")
    if ids:
        return _carry_out(client, bulk, work, {"ids": list(ids)} | also, Chosen.of(ids), as_json=as_json)
    chosen = choose()
    if bulk.dry_run:
        _print_dry_run(chosen, work.noun, as_json=as_json)
        return 0
    if chosen.ids:
        _ask(client, bulk, work, given, chosen)
    return _carry_out(client, bulk, work, (given or {"all": True}) | also, chosen, as_json=as_json)


def _carry_out(
    client: Client, bulk: Bulk, work: Work, asked: Mapping[str, Any], chosen: Chosen, *, as_json: bool
) -> int:
    """Act on what is chosen, print and note what was done; return the exit code."""
    done = failed = 0
    failure: Exception | None = None

    def act(batch: Sequence[str]) -> Sequence[Any]:
        nonlocal done, failed
        results = work.act(batch)
        errors = sum(isinstance(each, HeadraceError) for each in results)
        done, failed = done + len(results) - errors, failed + errors
        return results

    with _interruptible() as is_interrupted, progress(work.verb, len(chosen.ids)) as advance:
        try:
            for each in carry_out(chosen, act, rate=bulk.rate, is_interrupted=is_interrupted):
                _print(each, work, as_json=as_json)
                advance(1)
        except (HeadraceError, OSError) as exc:  # an OSError: the reader of the output is gone, or its disk is full
            failure = exc
    at = done + failed
    if at:
        note(client, work.verb, asked, reason=bulk.note, done=done, failed=failed)
    if failure is not None and (not at or isinstance(failure, OSError)):
        raise failure
    _print_end(work, chosen, done, failed, as_json=as_json, is_named="ids" in asked)
    if failure is not None:
        raise failure
    return INTERRUPTED if at < len(chosen.ids) else 1 if failed else 0


def _print_end(work: Work, chosen: Chosen, done: int, failed: int, *, as_json: bool, is_named: bool) -> None:
    at = done + failed
    left = len(chosen.ids) - at
    cursor = chosen.cursors[at] if left else chosen.cursor
    if as_json:
        print_json({"done": done, "failed": failed, "left": left, "cursor": cursor})
    elif left or not is_named:
        print_note(f"{work.verb}: {done:,} done, {failed:,} failed, {left:,} left")
    if left or chosen.more:
        print_note(f"there are more: --cursor {cursor}" if cursor else "there are more: give the command again")


def reason_option(command: F) -> F:
    """Give a command that acts the option `reason`, for the audit."""
    return option("--reason", metavar="TEXT", help="Why; kept in the audit.")(command)


def note(
    client: Client, verb: str, asked: Mapping[str, Any], *, reason: str | None = None, done: int = 1, failed: int = 0
) -> None:
    """Note in the audit what a command has done; a failure to do so is said, and changes nothing else."""
    try:
        client.audit(verb, asked, reason=reason, done=done, failed=failed, via=VIA)
    except HeadraceError as exc:
        print_note(f"this is not in the audit: {exc}")


def _ask(client: Client, bulk: Bulk, work: Work, given: Mapping[str, Any], chosen: Chosen) -> None:
    """Return if the answer is yes; refuse to go on without one, on or off a terminal."""
    if bulk.yes is not None and bulk.yes == (work.name or bulk.yes):
        return
    count = f"{len(chosen.ids):,}" + (" or more" if chosen.more else "")
    narrowed = ", ".join(f"{key} {_said(value)}" for key, value in given.items()) or "all"
    question = f"{work.verb}: {count} {work.noun} of namespace {client.partitions.namespace!r} ({narrowed})"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        how = "--yes" if work.name is None else f"--yes={work.name}"
        raise click.UsageError(f"{question}: nothing was done; say {how}, or look first with --dry-run")
    try:
        _ask_person(question, work.name)
    except click.Abort as exc:
        click.echo(err=True)  # ends the line of the question
        print_note("nothing was done")
        raise click.exceptions.Exit(INTERRUPTED if isinstance(exc.__context__, KeyboardInterrupt) else 2) from None


def _ask_person(question: str, name: str | None) -> None:
    if name is None:
        if not click.confirm(f"{question}?", err=True):
            raise click.UsageError("nothing was done")
    elif click.prompt(f"{question}. Type {name} to go on", default="", show_default=False, err=True) != name:
        raise click.UsageError("that is not the name; nothing was done")


def _said(value: Any) -> str:
    return ", ".join(map(_said, value)) if isinstance(value, (list, tuple)) else shown(value)


def _print_dry_run(chosen: Chosen, noun: str, *, as_json: bool) -> None:
    first = chosen.ids[:_SHOWN]
    if as_json:
        print_json({"count": len(chosen.ids), "more": chosen.more, "first": first})
        return
    for each in first:
        click.echo(shown(each))
    print_note(f"{len(chosen.ids):,}{' or more' if chosen.more else ''} {noun}; nothing was done")


def _print(result: Result, work: Work, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": result.id, "ok": result.ok, "error": result.error})
    elif not result.ok:
        print_note(str(result.error))
    elif work.describe is not None:
        click.echo(work.describe(result))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let a first SIGINT end the work between two batches; a second one ends the process at once."""
    seen = False

    def note_signal(*_: object) -> None:
        nonlocal seen
        seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note_signal)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)
