"""`headrace app`: registers an app before its workers start, forgets one, and prints the schema of its events."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from headrace_worker.app import documents
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.forget_app import ForgottenApp
from headrace_worker.operate.register_app import RegisteredApp
from headrace_worker.process import log_setup
from headrace_worker.process.loading import load_app
from headrace_worker.terminal.options import json_option, log_options, option
from headrace_worker.terminal.output import print_json, print_note
from headrace_worker.terminal.server import Server, with_server


@click.group()
def app() -> None:
    """Register what apps subscribe to, forget apps, and print the schemas of their events."""


@app.command()
@click.argument("target", metavar="MODULE:APP")
@log_options
@with_server
@json_option
def register(server: Server, /, target: str, log_format: log_setup.LogFormat, log_level: str, as_json: bool) -> None:
    """Register the subscriptions of an app before its first worker starts, as a step of a release.

    From then on events become runs, which wait for the app's first worker. Whichever worker of the namespace is alive
    dispatches them. While workers of the app are alive with other subscriptions, those count, so no job loses an event;
    the new ones count once the last such worker has stopped, or a worker starts with them. To register again changes
    nothing.

    Exit code 1: the server can't be reached, or is full. 2: the app can't be loaded, or has no jobs.

    \b
    Example:
      headrace app register billing.jobs:app
    """
    log_setup.configure(log_format, log_level)
    loaded = load_app(target)
    with _client(server) as client:
        registered = client.register_app(loaded)
    if as_json:
        print_json(registered)
    else:
        click.echo(_registration(registered))


@app.command()
@click.argument("name", metavar="APP")
@with_server
@json_option
def forget(server: Server, /, name: str, as_json: bool) -> None:
    """End the subscriptions of an app that has no workers any more; APP is its name.

    New events make no runs of its jobs. Its runs that are queued or delayed stay, and are counted: they wait until a
    worker of the app starts, which also brings the subscriptions back.

    Exit code 1: no such app is known, or a worker of it is alive.

    \b
    Example:
      headrace app forget billing
    """
    with _client(server) as client:
        forgotten = client.forget_app(name)
    if as_json:
        print_json(forgotten)
        return
    is_now = "is forgotten" if forgotten.had_subscriptions else "had no subscriptions"
    click.echo(f"app {forgotten.app} {is_now}: new events make no runs of its jobs")
    if left := _left(forgotten):
        print_note(f"left where they are, for a worker of app {forgotten.app}: {left}")


@app.command()
@click.argument("target", metavar="MODULE:APP")
@option("--format", "form", type=click.Choice(["json-schema", "asyncapi"]), default="json-schema", show_default=True,
        help="Of what kind.")  # fmt: skip
def schema(target: str, form: str) -> None:
    """Print the schema of an app's typed events, for other programs, as JSON.

    These are the events whose classes the app's jobs subscribe to. Exit code 2: there is none, or JSON can't hold one.

    \b
    Examples:
      headrace app schema jobs:app
      headrace app schema jobs:app --format asyncapi > asyncapi.json
    """
    make = documents.asyncapi if form == "asyncapi" else documents.json_schema
    document: dict[str, Any] = make(load_app(target))
    click.echo(msgspec.json.format(msgspec.json.encode(document)))


def _client(server: Server) -> AppClient:
    return AppClient(server.url, namespace=server.namespace, partitions=server.partitions)


def _registration(registered: RegisteredApp) -> str:
    jobs = "1 job" if len(registered.jobs) == 1 else f"{len(registered.jobs)} jobs"
    return f"app {registered.app}, {jobs}: {_MEANINGS[registered.status]}"


_MEANINGS = {
    "registered": "subscriptions are registered; runs wait for the first worker",
    "known": "subscriptions were registered already; runs wait for the first worker",
    "live": "a worker is alive with the same subscriptions, so they count already",
    "waiting": "subscriptions are registered; workers are alive with other ones, which count until the last of these "
    "workers has stopped, or until a worker starts with the new ones",
}


def _left(forgotten: ForgottenApp) -> str:
    """Return how many runs each queue has, and how many are delayed; empty if there are none."""
    parts = [f"{_runs(count)} in queue {queue}" for queue, count in forgotten.queues.items() if count]
    if forgotten.delayed or not forgotten.is_complete:
        least = "" if forgotten.is_complete else "at least "
        parts.append(f"{least}{_runs(forgotten.delayed)} delayed")
    return ", ".join(parts)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
