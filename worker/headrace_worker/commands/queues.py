"""`headrace queues`: shows the queues of a namespace."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from headrace_worker.commands.inspecting import open_inspector
from headrace_worker.inspect.queues import QueueInfo
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table
from headrace_worker.terminal.quantities import duration
from headrace_worker.terminal.server import Server, with_server


@click.group()
def queues() -> None:
    """Look at queues."""


@queues.command("list")
@with_server
@json_option
def list_(server: Server, as_json: bool) -> None:
    """List the queues of the namespace; a note names those that hold runs and that no live worker serves.

    ENDED/MIN counts attempts, in the mean of the last ten minutes, about.

    \b
    Example:
      headrace queues list
    """
    with open_inspector(server) as client:
        found = client.list_queues()
    if as_json:
        print_json({"queues": found})
        return
    print_table(
        ("queue", "waiting", "in flight", "oldest", "workers", "ended/min"),
        (
            (each.name, each.waiting, each.in_flight, _age(each), len(each.workers), f"{each.ended_per_minute:.1f}")
            for each in found
        ),
    )
    for each in found:
        _warn(each)


@queues.command()
@click.argument("queue", metavar="APP/QUEUE")
@with_server
@json_option
def show(server: Server, queue: str, as_json: bool) -> None:
    """Show a queue: what waits, and which workers have its runs.

    Exit code 1: no such queue is known.

    \b
    Example:
      headrace queues show billing/default
    """
    with open_inspector(server) as client:
        found = client.get_queue(queue)
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("queue", found.name),
            ("waiting", found.waiting),
            ("in flight", found.in_flight),
            ("oldest", _age(found)),
            ("since", found.oldest_at),
            ("workers", len(found.workers)),
            ("ended/min", f"{found.ended_per_minute:.1f}"),
        ]
    )
    names = sorted({*found.workers, *found.in_flight_of})
    if names:
        click.echo()
        print_table(
            ("worker", "in flight", "fetches"),
            ((name, found.in_flight_of.get(name, 0), "yes" if name in found.workers else "no") for name in names),
        )
    _warn(found)


def _age(queue: QueueInfo) -> str | None:
    at = queue.oldest_at
    return None if at is None else duration(max((datetime.now(UTC) - at).total_seconds(), 0.0))


def _warn(queue: QueueInfo) -> None:
    if queue.is_unserved:
        print_note(f"no live worker fetches from {queue.name}, where {queue.waiting} runs wait")
