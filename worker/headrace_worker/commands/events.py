"""`headrace events`: lists and follows events, shows one, waits for it, cancels it, explains which jobs get it."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from headrace import Client, EventRecord
from headrace.model.event import EVENT_STATES, FAILED_STATUSES, EventState
from headrace_worker.commands.dispatch import describe_dispatch, note_missing_workers
from headrace_worker.commands.explaining import print_explanation
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import json_option, option, timeout_option
from headrace_worker.terminal.output import brief, print_fields, print_json, print_note, print_table, printable, shown
from headrace_worker.terminal.server import with_client, with_client_of


@click.group()
def events() -> None:
    """List, follow and show events, wait for them, cancel them."""


@events.command("list")
@option("--name", metavar="NAME", help="Only events with this name.")
@option("--source", metavar="SOURCE", help="Only events from this source.")
@option("--account", "account_id", metavar="ID", help="Only events of this account.")
@option(
    "--state",
    metavar="STATE",
    type=click.Choice(EVENT_STATES),
    multiple=True,
    help=f"Only events in this state: {', '.join(EVENT_STATES)} (no job matched them). May be repeated.",
)
@with_client
@list_options("was sent")
@json_option
def list_(client: Client, /, state: tuple[EventState, ...], paging: Paging, as_json: bool, **given: Any) -> None:
    """List events, newest first by when they were first sent.

    \b
    Examples:
      headrace events list --name new.user --since 2h
      headrace events list --state unmatched
    """
    print_list(
        "events",
        partial(client.list_events, state=state or None, **given),
        paging,
        ("id", "name", "status", "source", "sent", "deliver at", "runs"),
        lambda each: (
            each.id,
            each.name,
            each.status,
            each.source,
            each.delivered_at or each.timestamp,
            each.deliver_at,
            len(each.runs),
        ),
        as_json=as_json,
    )


@events.command()
@option("--name", metavar="NAME", multiple=True, help="Only events with this name. May be repeated.")
@with_client
@json_option
def tail(client: Client, name: tuple[str, ...], as_json: bool) -> None:
    """Print each event that is sent from now on, one a line, until interrupted.

    \b
    Example:
      headrace events tail --name new.user
    """
    for event in client.follow_events(name=name or None):
        if as_json:
            print_json(event)
        else:
            click.echo(f"{shown(event.sent_at)}  {printable(event.id)}  {printable(event.name)}")
        sys.stdout.flush()


@events.command()
@click.argument("event_id", metavar="ID")
@with_client
@json_option
def show(client: Client, event_id: str, as_json: bool) -> None:
    """Show an event and its runs.

    Exit code 1: no such event is known.

    \b
    Example:
      headrace events show 01K9ZJ3Q6W8C4N5V7B2M1X0YTR
    """
    record = client.get_event(event_id)
    _print(record, as_json=as_json)
    if record.status == "pending" and not as_json:
        note_missing_workers(client)


@events.command()
@click.argument("event_id", metavar="ID")
@timeout_option
@with_client
@json_option
@click.pass_context
def wait(ctx: click.Context, client: Client, event_id: str, timeout: float, as_json: bool) -> None:
    """Wait until every run of an event has ended, then show it.

    Exit code 1: it has not settled in time, or a run of it ended without success.

    \b
    Example:
      headrace events wait 01K9ZJ3Q6W8C4N5V7B2M1X0YTR --timeout 60
    """
    record = client.wait_for_event(event_id, timeout)
    _print(record, as_json=as_json)
    failed = sum(run.status in FAILED_STATUSES for run in record.runs)
    if failed:
        print_note(f"{failed} of {len(record.runs)} runs ended without success")
        ctx.exit(1)


@events.command()
@click.argument("event_id", metavar="ID")
@with_client
@json_option
@click.pass_context
def cancel(ctx: click.Context, client: Client, event_id: str, as_json: bool) -> None:
    """Cancel an event that is delayed: no job will see it.

    Exit code 1: it is not delayed any more, or no such event is known.

    \b
    Example:
      headrace events cancel reminder-42
    """
    record = client.cancel_event(event_id)
    _print(record, as_json=as_json)
    if record.status != "canceled":
        print_note(f"event {event_id!r} is {record.status} and can't be canceled any more")
        ctx.exit(1)


@events.command()
@click.argument("event_id", metavar="ID")
@option("--all", "all_jobs", is_flag=True, help="List jobs that subscribe to other events, too.")
@with_client_of(AppClient)
@json_option
@click.pass_context
def explain(ctx: click.Context, client: AppClient, event_id: str, all_jobs: bool, as_json: bool) -> None:
    """Say which jobs get an event and, of each other job, the first condition that fails: its path and the value there.

    This goes by what is registered now, whatever it was when the event was dispatched.

    Exit code 1: no job gets it, or no such event is known.

    \b
    Example:
      headrace events explain 01K9ZJ3Q6W8C4N5V7B2M1X0YTR
    """
    ctx.exit(0 if print_explanation(client.explain_event(event_id), all_jobs=all_jobs, as_json=as_json) else 1)


def _print(record: EventRecord, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    print_fields(
        [
            ("event", record.id),
            ("name", record.name),
            ("status", record.status),
            ("source", record.source),
            ("account", record.account_id),
            ("ordering key", record.ordering_key),
            ("timestamp", record.timestamp),
            ("deliver at", record.deliver_at),
            ("delivered", record.delivered_at),
            ("canceled", record.canceled_at),
            ("for job", record.to_job),
            ("payload", record.payload),
            ("context", record.context),
            ("headers", record.headers or None),
        ]
    )
    if record.runs:
        click.echo()
        columns = ("job", "status", "attempt", "started", "finished", "error")
        print_table(
            columns,
            (
                (run.job, run.status, run.attempt, run.started_at, run.finished_at, brief(run.error))
                for run in record.runs
            ),
        )
    if (said := describe_dispatch(record)) is not None:
        click.echo(f"\n{said}")
