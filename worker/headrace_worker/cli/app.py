"""`headrace app`: what an app's definition says, without running it."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from headrace_worker.app import documents
from headrace_worker.cli.options import option
from headrace_worker.process.loading import load_app

_FORMATS = {"json-schema": documents.json_schema, "asyncapi": documents.asyncapi}


@click.group()
def app() -> None:
    """Look at an app's definition."""


@app.command()
@click.argument("target", metavar="MODULE:APP")
@option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="json-schema",
    show_default=True,
    help="What to print.",
)
def schema(target: str, form: str) -> None:
    """Print the schema of an app's typed events, for other programs, as JSON.

    These are the events whose classes the app's jobs subscribe to. Exit code 2: there is none, or JSON can't hold one.

    \b
    Examples:
      headrace app schema jobs:app
      headrace app schema jobs:app --format asyncapi > asyncapi.json
    """
    document: dict[str, Any] = _FORMATS[form](load_app(target))
    click.echo(msgspec.json.format(msgspec.json.encode(document)))
