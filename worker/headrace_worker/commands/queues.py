"""`headrace queues`: shows queues, pauses them, lets them go on, limits how many of their runs are in flight."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from headrace import CanceledRun, HeadraceError, QueueControls
from headrace.model.queue import Limit
from headrace.plans.queues import MAX_LIMIT
from headrace_worker.inspect.queues import DeclaredLimit, QueueInfo
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.open_runs import OpenRuns
from headrace_worker.terminal.asking import Bulk, BulkCommand, Source, Work, act_on, bulk_options, note, reason_option
from headrace_worker.terminal.controls import set_at_run_time
from headrace_worker.terminal.lists import print_page
from headrace_worker.terminal.options import json_option, option
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table, shown
from headrace_worker.terminal.quantities import duration, going_on
from headrace_worker.terminal.server import with_bare_client, with_client


def _read_limit(_ctx: click.Context, _parameter: click.Parameter, value: str) -> Limit:
    if value == "declared":
        return "declared"
    if value == "none":
        return None
    try:
        number = int(value)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_LIMIT:
        rule = f"{value!r} is no whole number from 1 to {MAX_LIMIT:,}, nor 'none' or 'declared'"
        raise click.BadParameter(f"{rule}; to let no run start, pause the queue")
    return number


@click.group()
def queues() -> None:
    """Look at queues; pause, resume, limit or purge them."""


@queues.command("list", short_help="List the queues of the namespace.")
@with_bare_client
@json_option
def list_(client: AppClient, as_json: bool) -> None:
    """List the queues of the namespace; a note names those that hold runs and that no live worker serves.

    CONTROLS says which are paused or limited while they run, or by their code; a dash: neither.
    ENDED/MIN counts attempts, in the mean of the last ten minutes, about.

    \b
    Example:
      headrace queues list
    """
    found = client.list_queues()
    if as_json:
        print_page("queues", found)
        return
    print_table(
        ("queue", "waiting", "in flight", "oldest", "workers", "ended/min", "controls"),
        (
            (
                each.name,
                each.waiting,
                each.in_flight,
                _age(each),
                len(each.workers),
                f"{each.ended_per_minute:.1f}",
                _set_for(each),
            )
            for each in found.items
        ),
    )
    for each in found.items:
        _warn(each)


@queues.command(short_help="Show a queue: what waits, who has its runs, what is set for it.")
@click.argument("queue", metavar="APP/QUEUE")
@with_bare_client
@json_option
def show(client: AppClient, queue: str, as_json: bool) -> None:
    """Show a queue: what waits, which workers have its runs, and whether it is paused or limited.

    Where functions of canceled runs go on, `canceled` says how many, and in which workers; they are `in flight`.

    Exit code 1: no such queue is known.

    \b
    Example:
      headrace queues show billing/default
    """
    found = client.get_queue(queue)
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("queue", found.name),
            ("waiting", found.waiting),
            ("in flight", found.in_flight),
            ("canceled", going_on(found.canceled)),
            ("oldest", _age(found)),
            ("since", found.oldest_at),
            ("workers", len(found.workers)),
            ("ended/min", f"{found.ended_per_minute:.1f}"),
            ("controls", _set_for(found)),
        ]
    )
    names = sorted({*found.workers, *found.in_flight_of})
    if names:
        click.echo()
        canceled = ("canceled",) if found.canceled else ()
        print_table(("worker", "in flight", *canceled, "fetches"), (_shares(found, name) for name in names))
    _warn(found)


@queues.command(short_help="Let no run of a queue start any more.")
@click.argument("queue", metavar="APP/QUEUE")
@option("--reason", metavar="TEXT", help="Why, for the person who looks at the queue later.")
@with_client
@json_option
def pause(client: AppClient, queue: str, reason: str | None, as_json: bool) -> None:
    """Let no run of a queue start any more: neither new ones nor those that are retried, promoted or rescued.

    Runs that workers have already go on. Events are still dispatched: their runs wait in the queue.

    Exit code 1: no such queue is known.

    \b
    Example:
      headrace queues pause billing/default --reason "provider is down"
    """
    controls = client.pause_queue(queue, reason=reason)
    note(client, "queues pause", {"queue": queue}, reason=reason)
    _print(client, controls, as_json=as_json)


@queues.command()
@click.argument("queue", metavar="APP/QUEUE")
@reason_option
@with_client
@json_option
def resume(client: AppClient, queue: str, reason: str | None, as_json: bool) -> None:
    """Let the runs of a paused queue start again.

    Exit code 1: no such queue is known.

    \b
    Example:
      headrace queues resume billing/default
    """
    controls = client.resume_queue(queue)
    note(client, "queues resume", {"queue": queue}, reason=reason)
    _print(client, controls, as_json=as_json)


@queues.command(short_help="Limit how many runs of a queue are in flight at once.")
@click.argument("queue", metavar="APP/QUEUE")
@click.argument("limit", metavar="N|none|declared", callback=_read_limit)
@reason_option
@with_client
@json_option
def limit(client: AppClient, queue: str, limit: Limit, reason: str | None, as_json: bool) -> None:
    """Limit how many runs of a queue are in flight at once, over all workers, from now on.

    It holds until it is changed, whatever the code declares: N runs at most, or any number with `none`. With
    `declared` the code counts again. Runs that are in flight go on.

    Exit code 1: no such queue is known. 2: N is no number from 1 on, or less than there are partitions.

    \b
    Examples:
      headrace queues limit billing/default 5
      headrace queues limit billing/default declared
    """
    controls = client.limit_queue(queue, limit)
    note(client, "queues limit", {"queue": queue, "limit": "none" if limit is None else limit}, reason=reason)
    _print(client, controls, as_json=as_json)


@queues.command(cls=BulkCommand, short_help="Cancel the runs that wait in a queue, or for their turn.")
@click.argument("queue", metavar="APP/QUEUE")
@with_client
@bulk_options("runs in the queue", every=False)
@json_option
@click.pass_context
def purge(ctx: click.Context, client: AppClient, queue: str, bulk: Bulk, as_json: bool) -> None:
    """Cancel the runs that wait in a queue for a worker, or for their turn behind another one of their ordering key.

    Runs that execute, or wait for their next attempt, go on.

    The name of the queue has to be typed, or given by --yes=APP/QUEUE. The records of the runs stay, and say canceled.

    Exit code 1: one of them was taken by a worker meanwhile, or no such queue is known. 2: --yes was missing.

    \b
    Examples:
      headrace queues purge billing/default --dry-run
      headrace queues purge billing/default --yes=billing/default --max 1000000
    """

    def act(batch: Sequence[str]) -> list[CanceledRun | HeadraceError]:
        return client.cancel_runs(batch, reason=bulk.note, queued=True)

    if "/" not in queue:
        client.get_queue(queue)  # says what it is called
    of_queue = OpenRuns(client, ("queued",), {"queue": queue}, behind=True)
    source = Source(of_queue.read, if_none=lambda: client.get_queue(queue))
    work = Work("queues purge", "runs", act, lambda canceled: str(canceled.answer), name=queue)
    ctx.exit(act_on(client, bulk, work, (), {"queue": queue}, source, as_json=as_json))


def _shares(queue: QueueInfo, worker: str) -> tuple[str | int, ...]:
    """Return what a worker has of a queue, as a row of a table."""
    canceled = (queue.canceled_of.get(worker, 0),) if queue.canceled else ()
    return worker, queue.in_flight_of.get(worker, 0), *canceled, "yes" if worker in queue.workers else "no"


def _print(client: AppClient, controls: QueueControls, *, as_json: bool) -> None:
    if as_json:
        print_json(controls)
        return
    declared: DeclaredLimit = "unknown"
    if controls.limit == "declared":
        with contextlib.suppress(HeadraceError):  # what was asked for is done
            declared = client.get_queue(controls.queue).declared_limit
    click.echo(f"queue {controls.queue}: {_state(controls, declared)}")


def _state(controls: QueueControls, declared: DeclaredLimit) -> str:
    """Return in words what holds for a queue."""
    match controls.limit:
        case None:
            limit = "no limit"
        case "declared" if declared == "unknown":
            limit = "limit as declared"
        case "declared":
            limit = f"limit as declared: {declared:,}" if declared else "no limit"
        case number:
            limit = f"at most {number:,} in flight"
    if controls.paused_at is None:
        return f"runs start; {limit}"
    return f"paused since {shown(controls.paused_at)}; {limit}"


def _set_for(queue: QueueInfo) -> str | None:
    """Return in a few words what is set for a queue, and why, or which limit its code declares; None for nothing."""
    controls = set_at_run_time(queue.controls)
    parts = [] if controls is None else [controls]
    if queue.controls.limit == "declared" and isinstance(queue.declared_limit, int):
        parts.append(f"limit as declared: {queue.declared_limit:,}")
    return ", ".join(parts) or None


def _age(queue: QueueInfo) -> str | None:
    at = queue.oldest_at
    return None if at is None else duration(max((datetime.now(UTC) - at).total_seconds(), 0.0))


def _warn(queue: QueueInfo) -> None:
    if queue.is_unserved:
        runs = "1 run waits" if queue.waiting == 1 else f"{queue.waiting:,} runs wait"
        print_note(f"no live worker fetches from {queue.name}, where {runs}")
