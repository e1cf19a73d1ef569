"""`headrace index`: shows how far back lists go by time and by name, and sets how much they keep."""

from __future__ import annotations

import click

from headrace import Client, ListIndex
from headrace.calls.indexing import INDEX_ENTRIES, MOST_INDEX_ENTRIES
from headrace_worker.terminal.asking import note, reason_option
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.output import print_fields, print_json
from headrace_worker.terminal.server import with_client


@click.group(short_help="See how far back lists go; let them go further.")
def index() -> None:
    """See how far back the lists of events and of ended runs go, by time and by name; let them go further."""


@index.command(short_help="Show how far back the lists of events and runs go.")
@with_client
@json_option
def show(client: Client, as_json: bool) -> None:
    """Show how far back the lists of events and of ended runs go, by time and by name.

    Delayed events, queued, waiting and executing runs and dead letters are listed whole, and each record is found by
    its id as long as it is there. An entry is what one batch has sent or ended: twenty events or runs at most.

    \b
    Example:
      headrace index show
    """
    _print(client.get_list_index(), as_json=as_json)


@index.command(short_help="Set how far back the lists of events and runs go.")
@click.argument("entries", metavar="N", type=click.IntRange(INDEX_ENTRIES, MOST_INDEX_ENTRIES))
@reason_option
@with_client
@json_option
def keep(client: Client, entries: int, reason: str | None, as_json: bool) -> None:
    """Set how many entries of events, and of ended runs, each partition keeps, about: 10,000 to 1,000,000.

    It holds for the whole namespace until it is set again; at first it is 10,000. What was dropped already does not
    come back. An entry takes 50 bytes of the server's memory where events are sent one by one, 900 where twenty are in
    a batch.

    Exit code 2: N is no such number.

    \b
    Example:
      headrace index keep 100000
    """
    kept = client.keep_listed(entries)
    note(client, "index keep", {"entries": entries}, reason=reason)
    _print(kept, as_json=as_json)


def _print(found: ListIndex, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("keeps", f"{found.kept:,} entries of events and of runs in each partition"),
            ("events", f"{found.events:,} entries"),
            ("events since", found.events_since),
            ("runs", f"{found.runs:,} entries"),
            ("runs since", found.runs_since),
        ]
    )
