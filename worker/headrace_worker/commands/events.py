"""`headrace events`: lists, follows, shows and explains events; cancels, reschedules and replays them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from headrace import Client, EventNotFound, EventRecord, EventTree, HeadraceError, Page, SentEvent
from headrace.model.event import EVENT_STATES, FAILED_STATUSES, EventState
from headrace.plans.tree import MAX_DEPTH
from headrace_worker.commands.dispatch import describe_dispatch, note_missing_workers, note_paused_queues
from headrace_worker.commands.explaining import print_explanation
from headrace_worker.commands.names import note_missing_name
from headrace_worker.commands.runs import print_attempts
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.bulk import LeftOut, Result, Times, only
from headrace_worker.operate.open_events import NotCanceled, OpenEvents
from headrace_worker.terminal.asking import Bulk, BulkCommand, Source, Work, act_on, bulk_options, note, reason_option
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import (
    job_option,
    json_option,
    option,
    parse_duration,
    parse_time,
    stop_option,
    time_options,
    timeout_option,
    together,
)
from headrace_worker.terminal.output import (
    brief,
    print_fields,
    print_json,
    print_line,
    print_note,
    print_table,
    printable,
    shown,
)
from headrace_worker.terminal.server import with_client

_REPLAYED: tuple[EventState, ...] = ("dispatched", "settled")
"""The states of events that are replayed where none is named: they have been delivered."""

_DEPTH = 3


@click.group()
def events() -> None:
    """Look at events; cancel, reschedule or replay them."""


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

    They go back as far as `headrace index show` says; the command says since when, if older ones were asked for. With
    --state delayed alone, and no time, they come from `due`, the soonest first: all that there are.

    \b
    Examples:
      headrace events list --name new.user --since 2h
      headrace events list --state unmatched
    """
    is_by_due = set(state) == {"delayed"} and paging.since is None and paging.until is None
    times = ("deliver at",) if is_by_due else ("sent", "deliver at")  # `due` does not know when they were sent

    def row(each: EventRecord) -> list[Any]:
        known = (each.deliver_at,) if is_by_due else (each.sent_at, each.deliver_at)
        return [each.id, each.name, each.status, each.source, *known, len(each.runs)]

    print_list(
        "events",
        partial(client.list_events, state=state or None, **given),
        paging,
        ("id", "name", "status", "source", *times, "runs"),
        row,
        as_json=as_json,
        if_none=lambda: note_missing_name(client, given["name"]),
    )


@events.command(short_help="Print each event that is sent from now on.")
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
@option("--tree", "as_tree", is_flag=True, help="Show what came of it: its runs, what they sent, and so on.")
@option(
    "--depth",
    metavar="N",
    type=click.IntRange(1, MAX_DEPTH),
    help=f"With --tree: levels of events below it.  [default: {_DEPTH}]",
)
@with_client
@json_option
def show(client: Client, event_id: str, as_tree: bool, depth: int | None, as_json: bool) -> None:
    """Show an event and its runs.

    With --tree at most 100 events, and of each run the first 100 that it has sent, by the end of its last attempt.

    Exit code 1: no such event is known.

    \b
    Example:
      headrace events show 01K9ZJ3Q6W8C4N5V7B2M1X0YTR --tree
    """
    if as_tree:
        _print_tree(client.get_tree(event_id, depth=depth or _DEPTH), as_json=as_json)
        return
    if depth is not None:
        raise click.UsageError("--depth is for --tree; give --tree as well")
    record = client.get_event(event_id)
    _print(record, as_json=as_json)
    if as_json:
        return
    if record.status == "pending":
        note_missing_workers(client)
    note_paused_queues(client, record.runs)


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


_chosen_by = together(
    click.argument("ids", metavar="[ID]...", nargs=-1),
    option("--name", metavar="NAME", help="Only events with this name."),
    option("--source", metavar="SOURCE", help="Only events from this source."),
    option("--account", "account_id", metavar="ID", help="Only events of this account."),
    time_options("was sent"),
)
"""The options that choose events, by their ids or by filters, to act on them."""


@events.command(cls=BulkCommand)
@with_client
@_chosen_by
@option("--runs", is_flag=True, help="Cancel the open runs of delivered events, too.")
@stop_option
@bulk_options("delayed events")
@json_option
@click.pass_context
def cancel(
    ctx: click.Context, client: Client, /, ids: tuple[str, ...], runs: bool, wait_s: float | None, bulk: Bulk,
    as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Cancel events that are delayed: no job will see them. With --runs, cancel all that is open of delivered ones.

    By filters these are all delayed events, the soonest first. By times, and of delivered events, only those are known
    that are still listed: the command says since when.

    Exit code 1: one of them is not delayed any more (without --runs), is not known, or has a run that goes on after
    --wait. 2: --yes was missing.

    \b
    Examples:
      headrace events cancel reminder-42
      headrace events cancel --name reminder --account acme --dry-run
      headrace events cancel 01K9ZJ3Q6W8C4N5V7B2M1X0YTR --runs
    """
    if wait_s is not None and not runs:
        raise click.UsageError("--wait is for runs; give --runs as well")

    def act(batch: Sequence[str]) -> list[EventRecord | HeadraceError]:
        records = client.cancel_events(batch, runs=runs, reason=bulk.note if runs else None, wait=wait_s)
        return [_unless_open(each, runs=runs) for each in records]

    events = OpenEvents(client, filters, runs=runs)
    source = Source(events.read, if_none=lambda: note_missing_name(client, filters["name"]))
    work = Work(
        "events cancel", "events", act, lambda record: str(record.status),
        lambda each: f"{each.id} {each.came_to.status}", look=lambda each: _unless_delivered(client, each, runs=runs),
    )  # fmt: skip
    ctx.exit(act_on(client, bulk, work, ids, filters, source, as_json=as_json, beside={"runs": runs}))


def _unless_delivered(client: Client, event_id: str, *, runs: bool) -> EventRecord | HeadraceError:
    record = client.get_event(event_id)
    return record if runs or record.status == "delayed" else _unless_open(record, runs=False)


def _unless_open(record: EventRecord | HeadraceError, *, runs: bool) -> EventRecord | HeadraceError:
    """Return the record, or an error where the event was delivered and its runs go on."""
    if isinstance(record, EventRecord) and record.status != "canceled" and not (runs and record.is_settled):
        return NotCanceled(record.id, record.status)
    return record


@events.command()
@click.argument("event_id", metavar="ID")
@option("--at", "deliver_at", metavar="TIME", type=parse_time, help="When it is to be delivered.")
@option("--after", "deliver_after", metavar="DURATION", type=parse_duration, help="How far from now, such as 90 or 2h.")
@reason_option
@with_client
@json_option
@click.pass_context
def reschedule(
    ctx: click.Context,
    client: Client,
    event_id: str,
    deliver_at: datetime | None,
    deliver_after: float | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Let a delayed event be delivered at another time.

    Exit code 1: it is not delayed any more, or no such event is known.

    \b
    Examples:
      headrace events reschedule reminder-42 --after 2h
      headrace events reschedule reminder-42 --at 2026-01-31T09:00:00Z
    """
    if (deliver_at is None) == (deliver_after is None):
        raise click.UsageError("give either --at or --after")
    asked = {"ids": [event_id], "at": deliver_at, "after": deliver_after}
    try:
        record = client.reschedule_event(event_id, deliver_at=deliver_at, deliver_after=deliver_after)
    except EventNotFound:
        note(client, "events reschedule", asked, reason=reason, done=0, failed=1)
        raise
    is_done = record.status == "delayed"
    note(client, "events reschedule", asked, reason=reason, done=int(is_done), failed=int(not is_done))
    _print(record, as_json=as_json)
    if not is_done:
        print_note(f"event {event_id!r} is {record.status} and can't be rescheduled any more")
        ctx.exit(1)
    if deliver_at is not None and deliver_at <= datetime.now(UTC):
        print_note("that time is past, so the event is delivered at once")


@events.command(cls=BulkCommand, short_help="Send events again, as new ones, to all their jobs or to one.")
@with_client
@_chosen_by
@job_option("Only this job gets them, whatever its trigger.")
@option("--if-no-runs", is_flag=True, help="Only events of which neither they nor a replay had a run (of --job).")
@option("--delay", metavar="DURATION", type=parse_duration, help="Deliver them so much later, such as 90 or 2h.")
@option(
    "--state",
    metavar="STATE",
    type=click.Choice(EVENT_STATES),
    multiple=True,
    help="Only events in this state; without it all but those that are delayed, pending or canceled.",
)
@bulk_options("events")
@json_option
@click.pass_context
def replay(
    ctx: click.Context, client: AppClient, /, ids: tuple[str, ...], job: str | None, if_no_runs: bool,
    delay: float | None, state: tuple[EventState, ...], bulk: Bulk, as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Send events again, as new events <id>~r1, ~r2 …, to every job that they match or to --job alone.

    Each line has an event and its replay; a dash where --if-no-runs has left it out. By filters the oldest come first,
    and replays themselves are left out, as are events that are delayed, pending or canceled, unless --state names them.
    Only events that are still listed are known by filters: the command says since when, and older ones are replayed by
    their IDs. To queue the same run once more is `runs retry`.

    Exit code 1: one of them can't be replayed, and the rest are. 2: --yes was missing.

    \b
    Examples:
      headrace events replay 01K9ZJ3Q6W8C4N5V7B2M1X0YTR
      headrace events replay --name new.user --since 2h --job billing/welcome --if-no-runs
    """

    def act(batch: Sequence[str]) -> list[SentEvent | HeadraceError | LeftOut]:
        sent = client.replay_events(batch, job=job, if_no_runs=if_no_runs, deliver_after=delay)
        return [LeftOut() if each is None else each for each in sent]

    def is_asked_for(event: EventRecord) -> bool:
        has_run = any(job in (None, run.job) for run in event.runs)
        return event.replay_of is None and not (if_no_runs and has_run)

    def read(times: Times, cursor: str | None, limit: int) -> Page[EventRecord]:
        narrowed = filters | {"since": times.since, "until": times.end, "cursor": cursor, "limit": limit}
        return only(client.list_events(state=state or _REPLAYED, **narrowed), is_asked_for)

    if job is not None:
        client.replay_events((), job=job)  # refuses a job that gets none, before a question or a dry run
    source = Source(read, oldest_first=True, if_none=lambda: note_missing_name(client, filters["name"]))
    work = Work(
        "events replay", "events", act, lambda _: "sent", _replayed, {"replay": lambda sent: sent.id},
        look=client.get_event,
    )  # fmt: skip
    ctx.exit(
        act_on(
            client, bulk, work, ids, filters | {"state": state}, source, as_json=as_json,
            beside={"job": job, "if_no_runs": if_no_runs, "delay": delay},
        )
    )  # fmt: skip


def _replayed(result: Result) -> str:
    return f"{result.id} {'-' if result.is_left_out else result.came_to.id}"


@events.command(short_help="Say which jobs get an event, and why the others do not.")
@click.argument("event_id", metavar="ID")
@option("--all", "all_jobs", is_flag=True, help="List jobs that subscribe to other events, too.")
@with_client
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
            ("replay of", record.replay_of),
            ("sent by run", record.parent_run),
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
        print_attempts(*record.runs)
    if (said := describe_dispatch(record)) is not None:
        click.echo(f"\n{said}")
