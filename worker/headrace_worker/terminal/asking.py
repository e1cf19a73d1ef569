"""Acts on many from the command line: their options, the question, the progress, and what is printed and noted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Any

import click
import msgspec
from click.exceptions import Exit

from headrace import CallError, Client, HeadraceError, Page, StillExecuting
from headrace_worker.operate.bulk import (
    Act,
    Chosen,
    Counts,
    Rest,
    Result,
    Times,
    carry_out,
    choose,
    digest,
    read_cursor,
)
from headrace_worker.operate.pace import Pace, Rate
from headrace_worker.terminal.interrupts import Interrupt, interruptible
from headrace_worker.terminal.lists import note_not_compared, remembered_since
from headrace_worker.terminal.options import F, option, together
from headrace_worker.terminal.output import counted, print_json, print_note, print_text, shown
from headrace_worker.terminal.progress import progress

VIA = "headrace"
INTERRUPTED = 130
_SHOWN = 10
_HURRIED_S = 2.0
"""For the audit, after a second Ctrl-C."""


_MAX_HELP = "The most that are chosen; the list is read until so many are found, or to its end."
_YES = "\0"
"""Stands for `--yes` without a name: no argument of a process can have this character."""


class Bulk(msgspec.Struct, frozen=True):
    """How a command that acts on many was asked to go about it.

    Attributes:
        every: without a filter.
        yes: the name that would have to be typed, `_YES` without one; None to be asked.
        note: why, for the audit.
    """

    every: bool
    dry_run: bool
    yes: str | None
    most: int
    rate: Rate | None
    note: str | None
    cursor: str | None


class BulkCommand(click.Command):
    """A command whose `--yes` may have a name behind `=`, and never takes the word behind it for one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a bare `--yes` have a value, as click would take the next word."""
        end = args.index("--") if "--" in args else len(args)
        with_value = {name for each in self.params if _takes_a_word(each) for name in each.opts}
        before = ["", *args]
        bare = (each == "--yes" and before[place] not in with_value for place, each in enumerate(args[:end]))
        read = [f"--yes={_YES}" if is_bare else each for each, is_bare in zip(args, bare, strict=False)]
        return super().parse_args(ctx, read + args[end:])


def _takes_a_word(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.is_flag and not isinstance(parameter, _Yes)


def _rate(value: str) -> Rate:
    """Return a number above 0, or `full`."""
    if value == "full":
        return "full"
    try:
        number = float(value)
    except ValueError:
        number = nan
    if not 0 < number < inf:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor full")
    return number


class _Yes(click.Option):
    """An option that may have a value."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return its name as it is written, and its help."""
        found = super().get_help_record(ctx)
        return found and ("--yes[=NAME]", found[1])


def bulk_options(noun: str, note: str = "--reason", *, every: bool = True) -> Callable[[F], F]:
    """Give a `BulkCommand` the options of an act on many, passed as a `Bulk`.

    Args:
        noun: what it is done to, in the plural.
        note: the name of the option for why it is done.
        every: there is an option for all of them.
    """
    most = click.IntRange(min=1)
    options = together(
        *([option("--all", "every", is_flag=True, help=f"All {noun}.")] if every else []),
        option("--dry-run", is_flag=True, help="Count them, show the first 10, and do nothing."),
        option("--yes", cls=_Yes, metavar="NAME", help="Do not ask; NAME where one has to be typed."),
        option("--max", "most", metavar="N", type=most, default=10_000, show_default=True, help=_MAX_HELP),
        option(
            "--rate",
            metavar="N|full",
            type=_rate,
            help="N a second at most; by itself it rests as long as it works, with full not at all.",
        ),
        option(note, "note", metavar="TEXT", help="Why; kept in the audit, and by runs that are canceled."),
        option("--cursor", metavar="CURSOR", help="Go on where the same command has ended."),
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
        act: does it to a portion.
        result: says in a word what one has come to.
        describe: says that in one line; None for lines of failures alone.
        facts: what a line of JSON says beside that, by its keys.
        look: reads one without doing anything, and raises or returns the error that the act would have.
        name: has to be typed, or given by `--yes`; None where a yes is enough.
    """

    verb: str
    noun: str
    act: Act
    result: Callable[[Any], str]
    describe: Callable[[Result], str] | None = None
    facts: Mapping[str, Callable[[Any], Any]] = {}
    look: Callable[[str], object] = lambda _: None
    name: str | None = None


class Source(msgspec.Struct, frozen=True):
    """Where a command finds what filters choose.

    Attributes:
        read: reads a page, by the times of the act, from a cursor on, of at most so many.
        oldest_first: the list has the newest first, and is worked off from its other end.
        if_none: raises an error where there is none because of what was named.
    """

    read: Callable[[Times, str | None, int], Page[Any]]
    oldest_first: bool = False
    if_none: Callable[[], object] = lambda: None


def act_on(
    client: Client,
    bulk: Bulk,
    work: Work,
    ids: Sequence[str],
    filters: Mapping[str, Any],
    source: Source,
    *,
    as_json: bool,
    beside: Mapping[str, Any] | None = None,
) -> int:
    """Choose, ask, act, print and note; return the exit code.

    IDs that are named are acted on without a question, and each once, however often it is named.

    Args:
        filters: what was asked for; those that are None, or empty, exclude nothing.
        beside: what else was asked for, for the question and the audit; None, or False, for what was not.
    """
    ids = list(dict.fromkeys(ids))
    also = {key: value for key, value in (beside or {}).items() if value is not None and value is not False}
    given = {key: value for key, value in filters.items() if value not in (None, (), "")}
    _check_usage(bulk, work, ids, given)
    asked = ({"ids": ids} if ids else given or {"all": True}) | also
    pace = Pace(bulk.rate)
    chosen = Chosen.of(ids) if ids else _choose(client, bulk, work, filters, asked, source, pace)
    used = {key: time for key, time in chosen.times.items() if key in given}  # a cursor has those of its first command
    given, asked = given | used, asked | used
    if chosen.remembered_since is not None:
        print_note(remembered_since(work.noun, chosen.remembered_since))
    note_not_compared(chosen.not_compared)
    if bulk.dry_run:
        return _try(chosen, work, as_json=as_json, is_named=bool(ids))
    if chosen.ids and not ids:
        _ask(client, bulk, work, given | also, chosen)
    return _carry_out(client, bulk, work, asked, chosen, pace, as_json=as_json)


def _check_usage(bulk: Bulk, work: Work, ids: Sequence[str], given: Mapping[str, Any]) -> None:
    if bool(ids) + bool(given) + bulk.every != 1:
        hint = "; --reason is a filter here, and --note says why" if "reason" in given else ""
        raise click.UsageError(f"give either IDs, or filters, or --all{hint}")
    if "" in ids:
        raise click.UsageError("an ID is empty; nothing was done")
    if ids and bulk.cursor is not None:
        raise click.UsageError("--cursor goes on with what filters, or --all, have chosen; leave it out")
    if len(ids) > bulk.most:
        raise click.UsageError(f"{counted(len(ids), 'IDs')} are more than --max {bulk.most:,}; nothing was done")
    if bulk.yes not in (None, _YES, work.name):
        right = "--yes" if work.name is None else f"--yes={work.name}"
        raise click.UsageError(f"say {right}, not --yes={bulk.yes}; nothing was done")


def _choose(
    client: Client,
    bulk: Bulk,
    work: Work,
    filters: Mapping[str, Any],
    asked: Mapping[str, Any],
    source: Source,
    pace: Pace,
) -> Chosen:
    """Return what filters choose; end the command if it is interrupted, which may be at once."""
    of = digest({**asked, "namespace": client.partitions.namespace})
    try:
        if bulk.cursor is not None:
            rest = read_cursor(work.verb, of, bulk.cursor)
        else:
            rest = Rest(work.verb, of, Times(client.server_time(), filters.get("since"), filters.get("until")))
        with progress(f"{work.verb}: looked through", None) as advance:
            chosen = choose(source.read, bulk.most, rest, pace=pace, oldest_first=source.oldest_first, on_page=advance)
        if not chosen.ids and bulk.cursor is None:
            source.if_none()
    except KeyboardInterrupt:
        print_note("nothing was done")
        raise Exit(INTERRUPTED) from None
    return chosen


def _carry_out(
    client: Client, bulk: Bulk, work: Work, asked: Mapping[str, Any], chosen: Chosen, pace: Pace, *, as_json: bool
) -> int:
    """Act on what is chosen, print and note what was done; return the exit code."""
    counts = Counts()
    with interruptible() as interrupt:
        failure = _work_off(work, chosen, pace, counts, interrupt, as_json=as_json)
        if counts.total:
            timeout = _HURRIED_S if isinstance(failure, KeyboardInterrupt) else None
            note(client, work.verb, asked, reason=bulk.note, counts=counts, timeout=timeout)
        if failure is None or (counts.total and isinstance(failure, (HeadraceError, KeyboardInterrupt, OSError))):
            as_json = as_json and not isinstance(failure, OSError)  # its output is gone: the end goes to stderr
            _print_end(work, chosen, counts, as_json=as_json, is_named="ids" in asked)
        if failure is not None:
            raise failure
    return interrupt.exit_code if counts.total < len(chosen.ids) else 1 if counts.failed else 0


def _work_off(
    work: Work, chosen: Chosen, pace: Pace, counts: Counts, interrupt: Interrupt, *, as_json: bool
) -> BaseException | None:
    """Act on what is chosen, count and print; return what ended it before its end, if that was no first signal."""

    def act(portion: Sequence[str]) -> Sequence[Any]:
        results = work.act(portion)
        for each in results:
            counts.add(each)
        return results

    try:
        with progress(work.verb, len(chosen.ids)) as advance:
            for each in carry_out(chosen, act, pace=pace, is_interrupted=interrupt.has_come):
                _print(each, work, as_json=as_json)
                advance(1)
    except BaseException as exc:  # noqa: BLE001 - whatever it is, what was done is noted before it is raised
        return exc
    return None


def _print_end(work: Work, chosen: Chosen, counts: Counts, *, as_json: bool, is_named: bool) -> None:
    left = len(chosen.ids) - counts.total
    cursor = chosen.cursor(counts.total)
    if as_json:
        print_json(
            {
                "done": counts.done, "failed": counts.failed, "left_out": counts.left_out, "left": left,
                "more": chosen.more, "cursor": cursor, "remembered_since": chosen.remembered_since,
            }
        )  # fmt: skip
    elif left or not is_named:
        out = f"{counts.left_out:,} left out, " if counts.left_out else ""
        of = f" of the {len(chosen.ids):,} chosen" if chosen.more else ""
        going = f" ({counts.going:,} canceled, and still executing)" if counts.going else ""
        print_note(f"{work.verb}: {counts.done:,} done, {counts.failed:,} failed{going}, {out}{left:,} left{of}")
    if cursor is not None:
        print_note(f"there are more: the same command goes on with --cursor {cursor}")
    elif left:
        print_note(f"give those behind the first {counted(counts.total, 'IDs')} again")


def reason_option(command: F) -> F:
    """Give a command that acts the option `reason`, for the audit."""
    return option("--reason", metavar="TEXT", help="Why; kept in the audit.")(command)


def note(
    client: Client,
    verb: str,
    asked: Mapping[str, Any],
    *,
    reason: str | None = None,
    done: int = 1,
    failed: int = 0,
    counts: Counts | None = None,
    timeout: float | None = None,
) -> None:
    """Note in the audit what a command has done; a failure to do so is said, and changes nothing else.

    Args:
        timeout: seconds for that, in place of the client's.
    """
    of = counts or Counts(done, failed)
    try:
        client.audit(
            verb, asked, reason=reason, done=of.done, failed=of.failed, left_out=of.left_out, via=VIA, timeout=timeout
        )
    except HeadraceError as exc:
        print_note(f"this is not in the audit: {exc}")


def _ask(client: Client, bulk: Bulk, work: Work, asked: Mapping[str, Any], chosen: Chosen) -> None:
    """Return if the answer is yes; refuse to go on without one, on or off a terminal."""
    if bulk.yes == (work.name or _YES):
        return
    narrowed = ", ".join([*(["all"] if bulk.every else []), *(f"{key} {_said(each)}" for key, each in asked.items())])
    question = f"{work.verb}: {_count(chosen, work.noun)} of namespace {client.partitions.namespace!r} ({narrowed})"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        how = "--yes" if work.name is None else f"--yes={work.name}"
        raise click.UsageError(f"{question}: nothing was done; say {how}, or look first with --dry-run")
    try:
        is_yes = _answer(question, work.name)
    except click.Abort as exc:
        click.echo(err=True)  # ends the line of the question
        print_note("nothing was done")
        raise Exit(INTERRUPTED if isinstance(exc.__context__, KeyboardInterrupt) else 2) from None
    if not is_yes:
        print_note("nothing was done" if work.name is None else "that is not the name; nothing was done")
        raise Exit(2)


def _answer(question: str, name: str | None) -> bool:
    if name is None:
        return click.confirm(f"{question}?", err=True)
    answer: str = click.prompt(f"{question}. Type {name} to go on", default="", show_default=False, err=True)
    return answer == name


def _count(chosen: Chosen, noun: str) -> str:
    return f"{len(chosen.ids):,} or more {noun}" if chosen.more else counted(len(chosen.ids), noun)


def _said(value: Any) -> str:
    return ", ".join(map(_said, value)) if isinstance(value, (list, tuple)) else shown(value)


def _try(chosen: Chosen, work: Work, *, as_json: bool, is_named: bool) -> int:
    """Print what would be done, and for ids that were named why it can't be; return the exit code."""
    errors = {each: error for each in chosen.ids if is_named and (error := _look(work, each))}
    found = msgspec.structs.replace(chosen, ids=[each for each in chosen.ids if each not in errors])
    first = found.ids[:_SHOWN]
    for error in errors.values():
        print_note(str(error))
    if as_json:
        print_json(
            {
                "count": len(found.ids), "failed": len(errors), "more": chosen.more, "first": first,
                "remembered_since": chosen.remembered_since,
            }
        )  # fmt: skip
        return 1 if errors else 0
    for each in first:
        click.echo(shown(each))
    refused = f", {len(errors):,} would fail" if errors else ""
    print_note(f"{_count(found, work.noun)}{refused}; nothing was done")
    return 1 if errors else 0


def _look(work: Work, each: str) -> HeadraceError | None:
    try:
        found = work.look(each)
    except CallError:
        raise
    except HeadraceError as exc:
        return exc
    return found if isinstance(found, HeadraceError) else None


def _print(result: Result, work: Work, *, as_json: bool) -> None:
    if as_json:
        facts = {key: read(result.came_to) if _is_done(result) else None for key, read in work.facts.items()}
        print_json({"id": result.id, "ok": result.ok, "result": _word(result, work), "error": result.error} | facts)
    elif not result.ok:
        print_note(str(result.error))
    elif work.describe is not None:
        print_text(work.describe(result))


def _word(result: Result, work: Work) -> str | None:
    if result.is_left_out:
        return "left_out"
    if isinstance(result.came_to, StillExecuting):
        return "asked"
    return work.result(result.came_to) if result.ok else None


def _is_done(result: Result) -> bool:
    return result.ok and not result.is_left_out
