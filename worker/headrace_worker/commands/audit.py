"""`headrace audit`: lists what operators have done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from headrace import Client
from headrace_worker.terminal.lists import Paging, list_options, print_list
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.server import with_client

_MOST = 3
"""So many items of a list are shown."""


@click.group()
def audit() -> None:
    """Look at what operators have done."""


@audit.command("list", short_help="List what operators have done, newest first.")
@with_client
@list_options("was done")
@json_option
def list_(client: Client, /, paging: Paging, as_json: bool) -> None:
    """List what operators have done, newest first: each command that has changed something, and who gave it.

    Who it was is what the machine of the command says; nothing proves it. Of many IDs the first is shown; --json has
    them all.

    \b
    Example:
      headrace audit list --since 3d
    """
    print_list(
        "audit",
        client.list_audit,
        paging,
        ("at", "who", "via", "verb", "asked", "done", "failed", "reason"),
        lambda each: (
            each.at,
            each.who,
            each.via,
            each.verb,
            msgspec.json.encode(_shortened(each.asked)).decode(),
            each.done,
            each.failed,
            each.reason,
        ),
        as_json=as_json,
    )


def _shortened(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for; of a long list its first item, and how many there are beside it."""
    return {
        key: [value[0], f"and {len(value) - 1:,} more"] if isinstance(value, list) and len(value) > _MOST else value
        for key, value in asked.items()
    }
