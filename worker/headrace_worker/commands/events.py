"""`headrace events`: shows the record of an event, waits for the event, cancels it."""

from __future__ import annotations

import click

from headrace import Client, EventRecord, EventTree
from headrace.model.event import FAILED_STATUSES
from headrace.plans.tree import MAX_DEPTH
from headrace_worker.commands.dispatch import describe_dispatch, note_missing_workers
from headrace_worker.commands.runs import print_attempts
from headrace_worker.terminal.options import json_option, option
from headrace_worker.terminal.output import brief, print_fields, print_json, print_line, print_note, print_table
from headrace_worker.terminal.server import with_client


@click.group()
def events() -> None:
    """Look at events, wait for them, cancel them."""


@events.command()
@click.argument("event_id", metavar="ID")
@option("--tree", "as_tree", is_flag=True, help="Show what came of it: its runs, what they sent, and so on.")
@option(
    "--depth",
    metavar="N",
    type=click.IntRange(1, MAX_DEPTH),
    default=3,
    show_default=True,
    help="With --tree: levels of events below it.",
)
@with_client
@json_option
def show(client: Client, event_id: str, as_tree: bool, depth: int, as_json: bool) -> None:
    """Show an event and its runs.

    With --tree at most 100 events, and of each run the first 100 that it has sent, by the end of its last attempt.

    Exit code 1: no such event is known.

    \b
    Example:
      headrace events show 01K9ZJ3Q6W8C4N5V7B2M1X0YTR --tree
    """
    if as_tree:
        _print_tree(client.get_tree(event_id, depth=depth), as_json=as_json)
        return
    record = client.get_event(event_id)
    _print(record, as_json=as_json)
    if record.status == "pending" and not as_json:
        note_missing_workers(client)


@events.command()
@click.argument("event_id", metavar="ID")
@option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    help="Seconds to wait at most.",
)
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


def _print_tree(root: EventTree, *, as_json: bool) -> None:
    if as_json:
        print_json(root)
    else:
        _print_branch(root, 0)
    if not root.is_complete:
        left = sum(each.left_out for each in root.walk())
        print_note(f"{left} events more were sent below; show the tree of one of the last events, or --depth more")


def _print_branch(tree: EventTree, level: int) -> None:
    record = tree.record
    if record is None:
        print_line(level, "event", tree.id, tree.error or "not remembered any more")
        return
    more = f"{tree.left_out} events sent are not shown" if tree.left_out else None
    print_line(level, "event", tree.id, record.name, record.status, more)
    for run in record.runs:
        print_line(level + 1, "run", run.job, run.status, brief(run.error))
        for each in tree.sent.get(run.id, []):
            _print_branch(each, level + 2)


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
            ("sent by run", record.parent_run),
            ("ordering key", record.ordering_key),
            ("timestamp", record.timestamp),
            ("deliver at", record.deliver_at),
            ("delivered", record.delivered_at),
            ("canceled", record.canceled_at),
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
        print_attempts(*record.runs)
    if (said := describe_dispatch(record)) is not None:
        click.echo(f"\n{said}")
