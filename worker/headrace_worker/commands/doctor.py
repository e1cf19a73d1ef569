"""`headrace doctor`: says what is wrong with a namespace and its servers, and what mends it."""

from __future__ import annotations

import sys

import click
import msgspec

from headrace.transport.urls import read_url, without_secrets
from headrace_worker.doctor.finding import SEVERITIES, Diagnosis
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.output import print_json, print_note, printable
from headrace_worker.terminal.server import with_client

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command(short_help="Find what is wrong, and what mends it.")
@click.option("--strict", is_flag=True, help="Let warnings count as errors.")
@with_client
@json_option
def doctor(client: AppClient, /, *, strict: bool, as_json: bool) -> None:
    """Find what is wrong with the namespace and its servers, and name what mends it.

    An error: events or runs stand still, or may be lost. A warning: they may come to that. Nothing is changed; what a
    worker's user may do is tried on keys of its own. Which namespace and server were looked at, and what was not, is
    said on standard error.

    Exit code 1: there are errors or, with --strict, warnings; the user may not read the namespace, or nobody has ever
    used it; or the server can't be reached.

    \b
    Examples:
      headrace doctor
      headrace doctor --strict --json
    """
    found = client.diagnose()
    if as_json:
        where = {"namespace": client.partitions.namespace, "server": without_secrets(client.url)}
        print_json({**where, **msgspec.structs.asdict(found)})
    else:
        print_note(f"looked at namespace {client.partitions.namespace!r} on {_server_of(client)}")
        _print(found)
    if found.count("error") or (strict and found.count("warning")):
        sys.exit(1)


def _server_of(client: AppClient) -> str:
    """Return the server's URL as it may be shown, and the user, by whom it depends what can be seen."""
    user = read_url(client.url).options.get("username")
    return without_secrets(client.url) + (f" as user {user}" if user else "")


def _print(found: Diagnosis) -> None:
    for each in found.findings:
        click.echo(f"{click.style(each.severity.ljust(7), fg=_COLOURS[each.severity])}  {printable(each.says)}")
        click.echo(f"         -> {printable(each.mend)}")
    whys: dict[str, list[str]] = {}
    for missed in found.not_looked_at:
        whys.setdefault(missed.why, []).append(missed.check)
    for why, checks in whys.items():
        print_note(f"not looked at: {', '.join(checks)}: {why}")
    counts = (f"{count} {name}{'s' if count > 1 else ''}" for name in SEVERITIES if (count := found.count(name)))
    click.echo(", ".join(counts).replace("infos", "info") or "nothing is wrong")
