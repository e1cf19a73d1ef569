"""`headrace runs`: shows and lists the records of runs, and waits for one."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import click

from headrace import Client, RunRecord
from headrace.model.event import RunStatus
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import job_option, json_option, option, parse_duration, timeout_option
from headrace_worker.terminal.output import brief, print_fields, print_json, printable
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
@option("--queue", metavar="APP/QUEUE", help="Only runs of this queue.")
@option("--worker", metavar="NAME", help="Only runs that this worker executes, or has executed last.")
@option(
    "--older-than",
    metavar="DURATION",
    type=parse_duration,
    help="Only runs that have been executing for so long, in seconds or as 30m; with --status executing.",
)
@with_client
@list_options("settled, or was sent,")
@json_option
def list_(client: Client, /, status: tuple[RunStatus, ...], paging: Paging, as_json: bool, **given: Any) -> None:
    """List runs, newest first: by when they settled if --status names only final states, else by when they were sent.

    With --status executing, queued or waiting alone they come from their queues, the oldest first: all that there are.

    \b
    Examples:
      headrace runs list --job billing/welcome --status failed --since 2h
      headrace runs list --status executing --older-than 30m
    """
    print_list(
        "runs",
        partial(client.list_runs, status=status or None, **given),
        paging,
        ("run", "event", "status", "attempt", "started", "finished", "error"),
        lambda run: (
            run.id,
            run.event_name,
            run.status,
            run.attempt,
            run.started_at,
            run.finished_at,
            brief(run.error),
        ),
        as_json=as_json,
    )


@runs.command()
@click.argument("run_id", metavar="ID")
@timeout_option
@with_client
@json_option
@click.pass_context
def wait(ctx: click.Context, client: Client, run_id: str, timeout: float, as_json: bool) -> None:
    """Wait until a run has ended, then show it.

    Exit code 1: it has not ended in time, or it ended without success, or no such run is known.

    \b
    Example:
      headrace runs wait 01K9ZJ3Q6W8C4N5V7B2M1X0YTR:billing/welcome --timeout 60
    """
    record = client.wait_for_run(run_id, timeout)
    if as_json:
        print_json(record)
    else:
        print_run(record)
    ctx.exit(0 if record.status == "succeeded" else 1)


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
    if error is not None and error.traceback:
        click.echo()
        click.echo("\n".join(printable(line) for line in error.traceback.splitlines()))
