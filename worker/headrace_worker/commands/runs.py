"""`headrace runs`: shows and lists the records of runs, waits for one, cancels and retries them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import click

from headrace import CanceledRun, Client, HeadraceError, Page, RunNotRetryable, RunRecord
from headrace.model.event import RunStatus
from headrace_worker.commands.dispatch import note_paused_queues
from headrace_worker.commands.names import note_names, require_names
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.bulk import Times, only
from headrace_worker.operate.open_runs import OPEN, AlreadyFinished, OpenRuns
from headrace_worker.terminal.asking import Bulk, BulkCommand, Source, Work, act_on, bulk_options
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import (
    job_option,
    json_option,
    option,
    parse_duration,
    queue_option,
    stop_option,
    time_options,
    timeout_option,
    together,
)
from headrace_worker.terminal.output import brief, print_fields, print_json, print_table, printable
from headrace_worker.terminal.server import with_client

_FAILED: tuple[RunStatus, ...] = ("failed", "timed_out", "invalid_payload")
_RETRIED = (*_FAILED, "canceled")


@click.group()
def runs() -> None:
    """Look at the runs of jobs; cancel or retry them."""


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
        return
    print_run(record)
    note_paused_queues(client, [record])


@runs.command("list", short_help="List runs, newest first.")
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
@queue_option("Only runs of this queue.")
@option("--worker", metavar="NAME", help="Only runs that this worker executes, or has executed last.")
@option(
    "--older-than",
    metavar="DURATION",
    type=parse_duration,
    help="Only runs that have been executing for so long, in seconds or as 30m; with --status executing.",
)
@option("--behind", is_flag=True, help="Only runs behind another one of their ordering key; with --status waiting.")
@with_client
@list_options("settled, or was sent,")
@json_option
def list_(client: AppClient, /, status: tuple[RunStatus, ...], paging: Paging, as_json: bool, **given: Any) -> None:
    """List runs, newest first: by when they settled if --status names only final states, else by when they were sent.

    With --status executing, queued or waiting alone they come from their queues, the oldest first: all that there are.
    Of an ordering key the first run alone is queued, or waits; those behind it are a list of their own, by --behind.

    \b
    Examples:
      headrace runs list --job billing/welcome --status failed --since 2h
      headrace runs list --status executing --older-than 30m
    """
    if given["older_than"] is not None and status != ("executing",):
        raise click.UsageError("--older-than is for runs that execute; give --status executing, and no other")
    if given["behind"] and (status != ("waiting",) or given["event_id"] or given["worker"]):
        raise click.UsageError("--behind is for runs that wait; give --status waiting, and no --event or --worker")
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
        if_none=lambda: note_names(client, given),
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


_chosen_by = together(
    click.argument("ids", metavar="[ID]...", nargs=-1),
    job_option("Only runs of this job."),
    option("--event", "event_id", metavar="ID", help="Only the runs of this event."),
    option("--event-name", metavar="NAME", help="Only runs of events with this name."),
    queue_option("Only runs of this queue."),
    time_options("settled, or was sent,"),
)
"""The options that choose runs, by their ids or by filters, to act on them."""


@runs.command(cls=BulkCommand, short_help="Cancel runs for good, whatever they are doing.")
@with_client
@_chosen_by
@option("--status", metavar="STATUS", type=click.Choice(OPEN), multiple=True, help=f"Only {', '.join(OPEN)} ones.")
@option("--worker", metavar="NAME", help="Only runs that this worker executes.")
@option("--older-than", metavar="DURATION", type=parse_duration, help="Only runs that have been executing for so long.")
@stop_option
@bulk_options("open runs")
@json_option
@click.pass_context
def cancel(
    ctx: click.Context, client: AppClient, /, ids: tuple[str, ...], status: tuple[RunStatus, ...], wait_s: float | None,
    bulk: Bulk, as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Cancel runs for good, whether they are queued, wait or execute: no retry and no rescue begins them again.

    An async function that executes is cancelled within a second; a plain one is told, by ctx.is_canceled. Each line has
    a run and what its cancellation has come to: canceled; asked, if its function is told to stop; with --wait stopped.
    A run that goes on after --wait is canceled, too, and counts as failed.

    Exit code 1: one of them is not known, had finished before, or goes on after --wait; or nobody knows the --job,
    --queue or --worker. 2: --yes was missing.

    \b
    Examples:
      headrace runs cancel 01K9ZJ3Q6W8C4N5V7B2M1X0YTR:billing/welcome
      headrace runs cancel --job billing/welcome --status waiting --reason "wrong price list"
      headrace runs cancel --status executing --older-than 2h --wait 30 --yes
    """

    def act(batch: Sequence[str]) -> list[CanceledRun | HeadraceError]:
        return [_unless_finished(each) for each in client.cancel_runs(batch, reason=bulk.note, wait=wait_s)]

    if filters["older_than"] is not None and not status:
        status = ("executing",)
    source = Source(OpenRuns(client, status, filters).read, if_none=lambda: require_names(client, filters))
    work = Work(
        "runs cancel", "runs", act, lambda canceled: str(canceled.answer),
        lambda each: f"{each.id} {each.came_to.answer}", look=lambda each: _unless_settled(client.get_run(each)),
    )  # fmt: skip
    ctx.exit(act_on(client, bulk, work, ids, filters | {"status": status}, source, as_json=as_json))


def _unless_settled(run: RunRecord) -> RunRecord | HeadraceError:
    return AlreadyFinished(run.id, run.status) if run.is_settled and run.status != "canceled" else run


def _unless_finished(canceled: CanceledRun | HeadraceError) -> CanceledRun | HeadraceError:
    if isinstance(canceled, CanceledRun) and canceled.answer == "already_finished":
        return AlreadyFinished(canceled.run.id, canceled.run.status)
    return canceled


@runs.command(cls=BulkCommand, short_help="Queue the same runs again, from attempt 1.")
@with_client
@_chosen_by
@option(
    "--status", metavar="STATUS", type=click.Choice(_RETRIED), multiple=True, help=f"Only {', '.join(_RETRIED)} ones."
)
@option("--canceled", is_flag=True, help="Canceled runs, too.")
@bulk_options("failed runs")
@json_option
@click.pass_context
def retry(
    ctx: click.Context, client: AppClient, /, ids: tuple[str, ...], status: tuple[RunStatus, ...], canceled: bool,
    bulk: Bulk, as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Queue runs again from attempt 1: the same runs, unlike `events replay`. By filters the oldest come first.

    Runs that failed, timed out or had an invalid payload; canceled ones only where --status or --canceled says so.

    Exit code 1: one of them can't be retried, and the rest are queued; or nobody knows the --job or --queue. 2: --yes
    was missing.

    \b
    Examples:
      headrace runs retry 01K9ZJ3Q6W8C4N5V7B2M1X0YTR:billing/welcome
      headrace runs retry --job billing/welcome --since 2h --dry-run
    """
    may_be = canceled or "canceled" in status
    statuses: tuple[RunStatus, ...] = status or _FAILED
    if canceled:
        statuses = (*statuses, "canceled")

    def act(batch: Sequence[str]) -> list[RunRecord | HeadraceError]:
        return [_if_canceled(each) for each in client.retry_runs(batch, canceled=may_be)]

    def look(run_id: str) -> RunRecord | HeadraceError:
        run = client.get_run(run_id)
        if run.status == "succeeded" or (run.status == "canceled" and not may_be):
            return _if_canceled(RunNotRetryable(run.id, run.status, "only a run that ended without success can be"))
        return run

    def read(times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        is_of_event = filters["event_id"] is not None  # whose runs are one list, whatever the time
        narrowed = filters if is_of_event else filters | {"since": times.since, "until": times.end, "cursor": cursor}
        found = client.list_runs(status=statuses, limit=limit, **narrowed)
        return only(found, lambda run: run.finished_at is None or run.finished_at <= times.asked_at)

    source = Source(read, oldest_first=True, if_none=lambda: require_names(client, filters))
    work = Work(
        "runs retry", "runs", act, lambda run: str(run.status), lambda each: f"{each.id} {each.came_to.status}",
        look=look,
    )  # fmt: skip
    asked = filters | {"status": status}
    ctx.exit(act_on(client, bulk, work, ids, asked, source, as_json=as_json, beside={"canceled": canceled}))


def _if_canceled(result: RunRecord | HeadraceError) -> RunRecord | HeadraceError:
    """Return the result; for a canceled run an error that says how it is retried."""
    if isinstance(result, RunNotRetryable) and result.status == "canceled":
        return RunNotRetryable(result.run_id, result.status, "give --canceled to retry it all the same")
    return result


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
