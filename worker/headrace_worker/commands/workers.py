"""`headrace workers`: shows the workers of a namespace, and quiets or stops them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from headrace import Client
from headrace_worker.inspect.workers import WorkerInfo
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.instruct_workers import Instructed
from headrace_worker.terminal.asking import note, reason_option
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table
from headrace_worker.terminal.quantities import duration, going_on, size
from headrace_worker.terminal.server import with_bare_client

_WILL = {"workers quiet": "will fetch no more runs", "workers stop": "will stop"}


@click.group()
def workers() -> None:
    """Look at workers, quiet them, stop them."""


@workers.command("list")
@with_bare_client
@list_options(None)
@json_option
def list_(client: AppClient, /, paging: Paging, as_json: bool) -> None:
    """List the workers of the namespace, by name.

    IN FLIGHT and MEMORY are as of the worker's last report, at most one lease ago: 15 s, if not set otherwise.
    STATE is `quiet` or `stopping` once the worker says so, until then `quiet_asked` or `stop_asked`. A worker that died
    is `expired` until its runs are re-queued, then `fenced` for 20 s, if not set otherwise, and gone.

    \b
    Example:
      headrace workers list
    """
    print_list(
        "workers",
        client.list_workers,
        paging,
        (
            "worker", "app", "state", "app version", "host", "since",
            "in flight", "slots", "memory", "lease left", "leads",
        ),
        lambda each: (
            each.name, each.app, each.state, each.app_version, each.host, each.started_at,
            each.in_flight, each.slots, size(each.memory_bytes), duration(each.lease_left_s), _duties(each),
        ),
        as_json=as_json,
    )  # fmt: skip


@workers.command()
@click.argument("name", metavar="NAME")
@with_bare_client
@json_option
def show(client: AppClient, name: str, as_json: bool) -> None:
    """Show a worker, and the runs that it has now: at most 100.

    `canceled` says how many functions of canceled runs go on in it; their runs are not among those shown.

    Exit code 1: no such worker is known; it may have left.

    \b
    Example:
      headrace workers show web-1-4711-9f3a2b1c
    """
    found = client.get_worker(name)
    if as_json:
        print_json(found)
        return
    worker = found.worker
    print_fields(
        [
            ("worker", worker.name),
            ("app", worker.app),
            ("app version", worker.app_version),
            ("state", worker.state),
            ("queues", ", ".join(worker.queues)),
            ("host", worker.host),
            ("process", worker.pid),
            ("headrace", worker.version),
            ("python", worker.python),
            ("since", worker.started_at),
            ("in flight", worker.in_flight),
            ("canceled", going_on(found.canceled)),
            ("slots", worker.slots),
            ("memory", size(worker.memory_bytes)),
            ("lease left", duration(worker.lease_left_s)),
            ("duties", _duties(worker)),
        ]
    )
    if found.runs:
        click.echo()
        print_table(("run", "queue", "for"), ((each.run, each.queue, duration(each.age_s)) for each in found.runs))
    if not found.is_complete:
        print_note(f"it has more runs than these {len(found.runs)}")


@workers.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@reason_option
@with_bare_client
@json_option
@click.pass_context
def quiet(ctx: click.Context, client: AppClient, names: Sequence[str], reason: str | None, as_json: bool) -> None:
    """Let workers end the runs that they have, and fetch no more.

    A worker sees it with the next renewal of its lease: within 5 s, if not set otherwise. Until then it is
    `quiet_asked`, and may still fetch runs. It goes on to lead and to dispatch, and stays quiet until it stops.

    Exit code 1: one of them is not alive.

    \b
    Example:
      headrace workers quiet web-1-4711-9f3a2b1c
    """
    _instructed(ctx, client, "workers quiet", client.quiet_workers(names), reason, as_json=as_json)


@workers.command(short_help="Let workers stop as on SIGTERM.")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@reason_option
@with_bare_client
@json_option
@click.pass_context
def stop(ctx: click.Context, client: AppClient, names: Sequence[str], reason: str | None, as_json: bool) -> None:
    """Let workers stop as on SIGTERM: their runs may go on for the grace, then other workers take them.

    A worker sees it with the next renewal of its lease: within 5 s, if not set otherwise. What supervises its process
    (headrace worker --processes, systemd, Kubernetes) may start another in its place.

    Exit code 1: one of them is not alive.

    \b
    Example:
      headrace workers stop web-1-4711-9f3a2b1c
    """
    _instructed(ctx, client, "workers stop", client.stop_workers(names), reason, as_json=as_json)


def _instructed(
    ctx: click.Context,
    client: Client,
    verb: str,
    instructed: Sequence[Instructed],
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    """Note in the audit what becomes of the workers, and print it."""
    told = [each.worker for each in instructed if each.is_alive]
    asked = {"workers": [each.worker for each in instructed]}
    note(client, verb, asked, reason=reason, done=len(told), failed=len(instructed) - len(told))
    if as_json:
        print_json({"workers": list(instructed)})
    else:
        for each in instructed:
            print_note(f"worker {each.worker} {_WILL[verb] if each.is_alive else 'is not alive'}")
    if len(told) < len(instructed):
        ctx.exit(1)


def _duties(worker: WorkerInfo) -> str | None:
    """Return what a worker does beside its runs; in which partitions, if it is in several."""
    several = len(worker.partitions) > 1
    duties = (("leads", worker.leads), ("dispatches", worker.dispatches))
    return ", ".join(f"{duty} {places}" if several else duty for duty, places in duties if places) or None
