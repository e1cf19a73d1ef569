"""`headrace doctor`: says what is wrong with a namespace and its servers, and what mends it."""

from __future__ import annotations

import sys

import click

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
    worker's user may do is tried on keys of its own.

    Exit code 1: there are errors or, with --strict, warnings; or the server can't be reached.

    \b
    Examples:
      headrace doctor
      headrace doctor --strict --json
    """
    found = client.diagnose()
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found.count("error") or (strict and found.count("warning")):
        sys.exit(1)


def _print(found: Diagnosis) -> None:
    for each in found.findings:
        click.echo(f"{click.style(each.severity.ljust(7), fg=_COLOURS[each.severity])}  {printable(each.says)}")
        click.echo(f"         -> {printable(each.mend)}")
    for missed in found.not_looked_at:
        print_note(f"not looked at: {missed.check}: {missed.why}")
    counts = (f"{count} {name}{'s' if count > 1 else ''}" for name in SEVERITIES if (count := found.count(name)))
    click.echo(", ".join(counts).replace("infos", "info") or "nothing is wrong")
