"""`headrace delayed`: lists events before their time, and runs that wait."""

from __future__ import annotations

import click

from headrace import Client
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.server import with_client


@click.group(short_help="Look at delayed events and at runs that wait.")
def delayed() -> None:
    """Look at what is delayed: events before their time, and runs that wait."""


@delayed.command("list")
@with_client
@list_options("is due", ahead=True)
@json_option
def list_(client: Client, paging: Paging, as_json: bool) -> None:
    """List what is delayed, soonest first.

    \b
    Example:
      headrace delayed list --until 2h
    """
    print_list(
        "delayed",
        client.list_delayed,
        paging,
        ("due", "kind", "id", "event", "queue", "attempt"),
        lambda each: (each.due_at, each.kind, each.id, each.event_name, each.queue, each.attempt),
        as_json=as_json,
    )
