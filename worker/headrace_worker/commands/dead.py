"""`headrace dead`: lists runs that failed for good, and retries them."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from headrace import Client
from headrace_worker.operate import dead_letters
from headrace_worker.terminal.lists import Paging, list_options, looked_at, print_list, print_page
from headrace_worker.terminal.options import F, job_option, json_option, option, parse_ago
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table
from headrace_worker.terminal.server import with_client


@click.group()
def dead() -> None:
    """Look at runs that failed for good, and retry them."""


def _filters(command: F) -> F:
    """Give the command the options that narrow a list of dead letters."""
    job = job_option("Only dead letters of this job.")
    reason = option("--reason", metavar="REASON", help="Only those with this reason, such as failed or lost.")
    error = option("--error", metavar="TEXT", help="Only those whose error has this text in it.")
    return job(reason(error(command)))


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
    )


@dead.command()
@with_client
@_filters
@option("--since", metavar="TIME", type=parse_ago, help="Only what failed then or later: a time, or how long ago.")
@option("--until", metavar="TIME", type=parse_ago, help="Only what failed then or before.")
@json_option
def groups(client: Client, /, as_json: bool, **given: Any) -> None:
    """Count the newest 2,000 dead letters by job, reason and type of error, the largest group first.

    \b
    Example:
      headrace dead groups --since 3d
    """
    page = client.dead_letter_groups(**given)
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
    for each in page.damaged:
        print_note(f"{each.id} can't be read: {each.error}")
    if not page.searched.complete:
        print_note(f"{looked_at(page)}; there are older ones")


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


@dead.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@option("--all", is_flag=True, help="Every dead letter.")
@job_option("Every dead letter of this job.")
@with_client
@json_option
@click.pass_context
def retry(
    ctx: click.Context,
    client: Client,
    ids: tuple[str, ...],
    all: bool,  # noqa: A002 - the option's name
    job: str | None,
    as_json: bool,
) -> None:
    """Queue runs again from attempt 1; ID is that of a dead letter or of its run, or of one whose entry was deleted.

    With --all and --job the oldest come first, so that runs of an ordering key keep their order.

    Exit code 1: one of them could not be queued, and the rest are; or --job has none.

    \b
    Examples:
      headrace dead retry 1764000000000-0
      headrace dead retry --job billing/welcome
    """
    if bool(ids) + all + (job is not None) != 1:
        raise click.UsageError("give either IDs, or --all, or --job APP/JOB")
    failed = count = 0
    if ids:
        retried = dead_letters.retry_ids(client, ids)
    else:
        letters = dead_letters.all_letters(client) if job is None else dead_letters.letters_of(client, job)
        retried = dead_letters.retry_letters(client, letters)
    for count, each in enumerate(retried, 1):  # noqa: B007 - the count is used after the loop
        if each.run is None:
            failed += 1
            print_note(str(each.error))
        elif as_json:
            print_json(each.run)
        else:
            click.echo(f"{each.run.id} {each.run.status}")
    if not ids:
        print_note(f"{count - failed} of {count} dead letters are queued again")
    ctx.exit(1 if failed else 0)
