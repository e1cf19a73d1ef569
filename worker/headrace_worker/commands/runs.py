"""`headrace runs`: shows and lists the records of runs."""

from __future__ import annotations

from typing import Any, get_args

import click

from headrace import Client, RunRecord
from headrace.model.event import RunStatus
from headrace_worker.terminal.options import job_option, json_option, option, parse_time
from headrace_worker.terminal.output import brief, print_fields, print_json, print_note, print_table, printable
from headrace_worker.terminal.server import with_client


@click.group()
def runs() -> None:
    """Look at the runs of jobs."""


@runs.command()
@click.argument("run_id", metavar="ID")
@with_client
@json_option
def show(client: Client, run_id: str, as_json: bool) -> None:
    """Show a run, with its output or the error of its last attempt.

    Exit code 1: no such run is known.

    \b
    Example:
      headrace runs show 01K9ZJ3Q6W8C4N5V7B2M1X0YTR:billing/welcome
    """
    record = client.get_run(run_id)
    if as_json:
        print_json(record)
    else:
        print_run(record)


@runs.command("list")
@job_option("Only runs of this job.")
@option(
    "--status",
    metavar="STATUS",
    type=click.Choice(get_args(RunStatus)),
    multiple=True,
    help=f"Only runs in this state: {', '.join(get_args(RunStatus))}. May be repeated.",
)
@option("--event", "event_id", metavar="ID", help="Only the runs of this event.")
@option("--event-name", metavar="NAME", help="Only runs of events with this name.")
@option("--since", metavar="TIME", type=parse_time, help="Only what settled, or was sent, then or later.")
@option("--until", metavar="TIME", type=parse_time, help="Only what settled, or was sent, then or before.")
@option("--limit", metavar="N", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, about.")
@option("--cursor", metavar="CURSOR", help="Go on behind the page that gave this cursor.")
@with_client
@json_option
def list_(client: Client, /, status: tuple[RunStatus, ...], limit: int, as_json: bool, **given: Any) -> None:
    """List runs, newest first: by when they settled if --status names only final states, else by when they were sent.

    \b
    Example:
      headrace runs list --job billing/welcome --status failed
    """
    page = client.list_runs(status=status or None, limit=limit, **given)
    if as_json:
        print_json(page)
        return
    print_table(
        ("run", "event", "status", "attempt", "started", "finished", "error"),
        (
            (run.id, run.event_name, run.status, run.attempt, run.started_at, run.finished_at, brief(run.error))
            for run in page.runs
        ),
    )
    for each in page.damaged:
        print_note(f"{each.id} can't be read: {each.error}")
    if page.cursor is not None:
        print_note(f"more: --cursor {page.cursor}")


def print_attempts(*records: RunRecord) -> None:
    """Print the last attempts of the runs that did not succeed at once, for people."""
    listed = [(run, attempt) for run in records for attempt in run.attempts]
    if not listed:
        return
    click.echo()
    print_table(
        ("job", "attempt", "ended as", "worker", "started", "ended", "error"),
        (
            (run.job, each.number, each.kind, each.worker, each.started_at, each.ended_at, brief(each.error))
            for run, each in listed
        ),
    )


def print_run(record: RunRecord) -> None:
    """Print one run, for people."""
    error = record.error
    print_fields(
        [
            ("run", record.id),
            ("job", record.job),
            ("event", record.event_name),
            ("status", record.status),
            ("attempt", record.attempt),
            ("lost", record.lost or None),
            ("queue", record.queue),
            ("worker", record.worker),
            ("started", record.started_at),
            ("finished", record.finished_at),
            ("output", record.output),
            ("error", error and f"{error.type}: {error.message}"),
        ]
    )
    print_attempts(record)
    if error is not None and error.traceback:
        click.echo()
        click.echo("\n".join(printable(line) for line in error.traceback.splitlines()))
