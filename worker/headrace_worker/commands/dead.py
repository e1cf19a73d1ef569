"""`headrace dead`: lists runs that failed for good, retries and discards them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from headrace import Client, DeadLetter, Page
from headrace_worker.operate.bulk import Times
from headrace_worker.operate.dead_letters import LetterRuns, NoLetters, require_job
from headrace_worker.terminal.asking import Bulk, BulkCommand, Source, Work, act_on, bulk_options
from headrace_worker.terminal.lists import (
    Paging,
    list_options,
    looked_at,
    note_damaged,
    note_not_compared,
    print_list,
    print_page,
)
from headrace_worker.terminal.options import job_option, json_option, option, time_options, together
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table
from headrace_worker.terminal.server import with_client


@click.group()
def dead() -> None:
    """Look at runs that failed for good; retry or discard them."""


_filters = together(
    job_option("Only dead letters of this job."),
    option("--reason", metavar="REASON", help="Only those with this reason, such as failed or lost."),
    option("--error", metavar="TEXT", help="Only those whose error has this text in it."),
)
"""The options that narrow a list of dead letters."""

_times = time_options("failed")


@dead.command("list")
@with_client
@_filters
@list_options("failed")
@json_option
def list_(client: Client, /, paging: Paging, as_json: bool, **filters: str | None) -> None:
    """List dead letters, newest first.

    \b
    Examples:
      headrace dead list --limit 50
      headrace dead list --job billing/welcome --error timeout --since 2h
    """
    print_list(
        "dead",
        partial(client.list_dead_letters, **filters),  # type: ignore[arg-type]
        paging,
        ("id", "since", "reason", "run", "error"),
        lambda each: (each.id, each.dead_at, each.reason, each.run_id, each.error),
        as_json=as_json,
        if_none=lambda: _note_job(client, filters["job"]),
    )


@dead.command(short_help="Count dead letters by job, reason and type of error.")
@with_client
@_filters
@_times
@json_option
def groups(client: Client, /, as_json: bool, **given: Any) -> None:
    """Count the newest 2,000 dead letters by job, reason and type of error, the largest group first.

    \b
    Example:
      headrace dead groups --since 3d
    """
    page = client.dead_letter_groups(**given)
    if not (page.items or page.damaged):
        _note_job(client, given["job"])
    if as_json:
        print_page("groups", page)
        return
    print_table(
        ("count", "job", "reason", "error", "newest", "oldest", "newest id"),
        (
            (each.count, each.job, each.reason, each.error_type, each.newest, each.oldest, each.newest_id)
            for each in page.items
        ),
    )
    note_damaged(page)
    note_not_compared(page.searched.not_compared)
    if not page.searched.complete:
        print_note(f"{looked_at(page)}; there are older ones")


def _note_job(client: Client, job: str | None) -> None:
    """Say it if no dead letter is of the job that was named."""
    if job is None:
        return
    try:
        require_job(client, job)
    except NoLetters as exc:
        print_note(str(exc))


@dead.command()
@click.argument("entry_id", metavar="ID")
@with_client
@json_option
def show(client: Client, entry_id: str, as_json: bool) -> None:
    """Show a dead letter.

    Exit code 1: no such dead letter is known.

    \b
    Example:
      headrace dead show 1764000000000-0
    """
    letter = client.get_dead_letter(entry_id)
    if as_json:
        print_json(letter)
        return
    print_fields(
        [
            ("dead letter", letter.id),
            ("since", letter.dead_at),
            ("reason", letter.reason),
            ("run", letter.run_id),
            ("job", letter.job),
            ("error", letter.error or None),
            ("entry", letter.raw or None),
        ]
    )


_letters = together(click.argument("ids", metavar="[ID]...", nargs=-1), _filters, _times)
"""The options that choose dead letters, by their ids or by filters, to act on them."""


@dead.command(cls=BulkCommand, short_help="Queue the runs of dead letters again, from attempt 1.")
@with_client
@_letters
@bulk_options("dead letters", note="--note")
@json_option
@click.pass_context
def retry(
    ctx: click.Context, client: Client, /, ids: tuple[str, ...], bulk: Bulk, as_json: bool, **filters: Any
) -> None:
    """Queue runs again from attempt 1; ID is that of a dead letter or of its run, or of one whose entry was deleted.

    By filters, or with --all, the oldest come first, so that runs of an ordering key keep their order. Of more than
    --max the newest are taken, so with ordering keys let it be above their number. What fails again meanwhile is not
    retried again.

    Exit code 1: one of them could not be queued, and the rest are; or --job has none. 2: --yes was missing.

    \b
    Examples:
      headrace dead retry 1764000000000-0
      headrace dead retry --job billing/welcome --since 2h --dry-run
      headrace dead retry --all --yes --rate 50
    """
    runs = LetterRuns(client)
    work = Work(
        "dead retry", "dead letters", runs.retry, lambda run: str(run.status),
        lambda each: f"{each.came_to.id} {each.came_to.status}", {"run": lambda run: run.id}, look=runs.look,
    )  # fmt: skip
    source = _source(client, filters, runs.note)
    ctx.exit(act_on(client, bulk, work, runs.once(ids), filters, source, as_json=as_json))


@dead.command(cls=BulkCommand)
@with_client
@_letters
@bulk_options("dead letters", note="--note")
@json_option
@click.pass_context
def discard(
    ctx: click.Context, client: Client, /, ids: tuple[str, ...], bulk: Bulk, as_json: bool, **filters: Any
) -> None:
    """Delete dead letters. The records of their runs stay, and the runs can be retried while those are kept.

    With --all the name of the namespace has to be typed, or given by --yes=NAME.

    Exit code 1: one of them is not known, or --job has none. 2: --yes was missing.

    \b
    Examples:
      headrace dead discard 1764000000000-0
      headrace dead discard --error "no such user" --until 7d --yes
    """
    name = client.partitions.namespace if bulk.every else None
    work = Work(
        "dead discard", "dead letters", client.discard_dead_letters, lambda _: "discarded",
        lambda each: f"{each.id} discarded", look=client.get_dead_letter, name=name,
    )  # fmt: skip
    ctx.exit(act_on(client, bulk, work, ids, filters, _source(client, filters), as_json=as_json))


def _source(
    client: Client,
    filters: dict[str, Any],
    note: Callable[[Page[DeadLetter]], Page[DeadLetter]] = lambda page: page,
) -> Source:
    """Return where dead letters are found; `note` is called with each page."""

    def read(times: Times, cursor: str | None, limit: int) -> Page[DeadLetter]:
        narrowed = filters | {"since": times.since, "until": times.end}
        return note(client.list_dead_letters(**narrowed, cursor=cursor, limit=limit))

    def require() -> None:
        if filters["job"] is not None:
            require_job(client, filters["job"])

    return Source(read, oldest_first=True, if_none=require)
