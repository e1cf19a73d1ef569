"""`headrace send`: one event from its options, or those of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import click
import msgspec

from headrace import Client, Event, SendOptions, SentEvent
from headrace.model.event import DEFAULT_SOURCE
from headrace_worker.cli.event_file import EventFile
from headrace_worker.commands.dispatch import note_dispatch, note_missing_workers
from headrace_worker.commands.explaining import print_explanation
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal.options import (
    json_option,
    option,
    parse_header,
    parse_json,
    parse_json_or_stdin,
    parse_time,
)
from headrace_worker.terminal.output import print_json, printable, shown
from headrace_worker.terminal.progress import progress
from headrace_worker.terminal.server import with_client


@click.command(short_help="Send an event, or a file of them.")
@click.argument("name", required=False)
@click.argument("payload", metavar="[JSON|-]", type=parse_json_or_stdin, required=False)
@option("--id", metavar="ID", help="Sending the same id again triggers nothing twice; made if not given.")
@option("--source", metavar="TEXT", help=f"What triggers can match on.  [default: {DEFAULT_SOURCE}]")
@option(
    "--header",
    "headers",
    metavar="'NAME: TEXT'",
    type=parse_header,
    multiple=True,
    help="Reaches jobs in ctx.event.headers; may be repeated.",
)
@option("--context", metavar="JSON", type=parse_json, help="Reaches jobs as ctx.event.context.")
@option("--timestamp", metavar="TIME", type=parse_time, help="When it happened; changes nothing about its delivery.")
@option("--deliver-at", metavar="TIME", type=parse_time, help="When jobs see it, such as 2026-01-31T09:00:00Z.")
@option("--deliver-after", metavar="SECONDS", type=float, help="After how long jobs see it.")
@option("--account-id", metavar="TEXT", help="Reaches jobs as ctx.account.id.")
@option("--ordering-key", metavar="TEXT", help="Runs with the same key go in order, one at a time for each job.")
@option("--dedupe-for", metavar="SECONDS", type=float, help="How long the id is remembered once the event has settled.")
@option("--file", metavar="FILE", type=click.File("rb"), help="Send a file of events, one as JSON a line.")
@option("--explain", is_flag=True, help="Send nothing; say which jobs would get it, and why the others would not.")
@with_client
@json_option
@click.pass_context
def send(ctx: click.Context, client: AppClient, /, as_json: bool, **given: Any) -> None:
    """Send an event to every job that subscribes to NAME, with a payload written as JSON, or `-` to read it.

    With --file, each line is a whole event: {"name": …, "payload": …} with id, source, context, timestamp
    and headers as they are needed. All lines are checked before the first is sent.

    With --explain, exit code 1 says that no job would get the event.

    \b
    Examples:
      headrace send new.user '{"userId": "u_1"}'
      headrace send reminder --id reminder-42 --deliver-after 3600
      headrace send --file events.ndjson
      headrace send --explain new.user '{"userId": "u_1"}'
    """
    options = SendOptions(**{name: given[name] for name in SendOptions.__struct_fields__})
    if given["file"] is None and given["name"] is None:
        raise click.UsageError("give the NAME of the event, or --file")
    if given["explain"]:
        if given["file"] is not None:
            raise click.UsageError("--explain is for one event; leave out --file")
        said = client.explain_send(_event(given), ordering_key=given["ordering_key"])
        ctx.exit(0 if print_explanation(said, all_jobs=False, as_json=as_json) else 1)
    if given["file"] is None:
        _send_one(_event(given), options, client, as_json=as_json)
        return
    for field in ("name", "id", "source", "context", "timestamp", "headers"):
        if given[field] not in (None, ()):
            raise click.UsageError(f"the lines of --file have the {field} of each event; leave the option out")
    _send_file(given["file"], options, client, as_json=as_json)


def _event(given: dict[str, Any]) -> Event:
    return Event(
        given["name"],
        payload=given["payload"],
        context=given["context"],
        id=given["id"],
        timestamp=given["timestamp"],
        source=given["source"],
        headers=_headers(given["headers"]),
    )


def _headers(pairs: Sequence[tuple[str, str]]) -> dict[str, str] | None:
    headers = dict(pairs)
    if len(headers) < len(pairs):
        raise click.UsageError("two --header have the same name")
    return headers or None


def _send_one(event: Event, options: SendOptions, client: Client, *, as_json: bool) -> None:
    sent = client.send_event(event, **msgspec.structs.asdict(options))
    if as_json:
        print_json(sent)
        note_missing_workers(client)
        return
    click.echo(_sentence(sent))
    if sent.status == "pending" and not sent.duplicate:
        note_dispatch(client, sent.id)
    else:
        note_missing_workers(client)


def _send_file(file: BinaryIO, options: SendOptions, client: Client, *, as_json: bool) -> None:
    events = EventFile.read(file, options)
    duplicates = 0
    with progress("Sending", len(events)) as advance:
        for batch in events.send(client):
            duplicates += sum(sent.duplicate for sent in batch)
            for sent in batch if as_json else ():
                print_json(sent)
            advance(len(batch))
    if not as_json:
        noun = "event" if len(events) == 1 else "events"
        click.echo(f"{len(events)} {noun} sent" + (f", {duplicates} known before" if duplicates else ""))
    note_missing_workers(client)


def _sentence(sent: SentEvent) -> str:
    if sent.duplicate:
        what = f"was sent before{' and canceled' if sent.status == 'canceled' else ''}, nothing happened"
    elif sent.deliver_at is not None:
        what = f"delayed until {shown(sent.deliver_at)}"
    else:
        what = f"accepted {shown(sent.delivered_at)}"
    return f"{printable(sent.id)} {printable(sent.name)} {what}"
