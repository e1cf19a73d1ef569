"""`headrace app`: checks an app, registers it before its workers start, forgets it, and shows what is registered."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from headrace_worker.app import documents
from headrace_worker.commands.explaining import print_damaged
from headrace_worker.inspect.apps import AppInfo
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.forget_app import ForgottenApp
from headrace_worker.operate.register_app import RegisteredApp
from headrace_worker.process import log_setup
from headrace_worker.process.loading import load_app
from headrace_worker.startup.app_check import CheckedApp, check_app
from headrace_worker.terminal.asking import note, reason_option
from headrace_worker.terminal.lists import print_page
from headrace_worker.terminal.options import json_option, log_options, option
from headrace_worker.terminal.output import print_json, print_note, print_table, printable
from headrace_worker.terminal.server import with_bare_client, with_client
from headrace_worker.terminal.triggers import COUNTS, trigger_in_words


@click.group(short_help="Check apps and register them, print their schemas.")
def app() -> None:
    """Check apps, register what they subscribe to, look at that and forget it, and print their schemas."""


@app.command(short_help="Register an app's subscriptions before its first worker starts.")
@click.argument("target", metavar="MODULE:APP")
@reason_option
@log_options
@with_bare_client
@json_option
def register(
    client: AppClient,
    /,
    target: str,
    reason: str | None,
    log_format: log_setup.LogFormat,
    log_level: str,
    as_json: bool,
) -> None:
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
    registered = client.register_app(loaded)
    done = int(registered.status in ("registered", "waiting"))
    note(client, "app register", {"app": registered.app}, reason=reason, done=done)
    if as_json:
        print_json(registered)
    else:
        click.echo(_registration(registered))


@app.command(short_help="End the subscriptions of an app that has no workers any more.")
@click.argument("name", metavar="APP")
@reason_option
@with_bare_client
@json_option
def forget(client: AppClient, /, name: str, reason: str | None, as_json: bool) -> None:
    """End the subscriptions of an app that has no workers any more; APP is its name.

    New events make no runs of its jobs. Its runs that are queued or delayed stay, and are counted: they wait until a
    worker of the app starts, which also brings the subscriptions back.

    Exit code 1: no such app is known, or a worker of it is alive.

    \b
    Example:
      headrace app forget billing
    """
    forgotten = client.forget_app(name)
    note(client, "app forget", {"app": name}, reason=reason, done=int(forgotten.had_subscriptions))
    if as_json:
        print_json(forgotten)
        return
    is_now = "is forgotten" if forgotten.had_subscriptions else "had no subscriptions"
    click.echo(f"app {forgotten.app} {is_now}: new events make no runs of its jobs")
    if left := _left(forgotten):
        print_note(f"left where they are, for a worker of app {forgotten.app}: {left}")


@app.command(short_help="Print the schema of an app's typed events.")
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


@app.command(short_help="Load an app and look through its definition, without a server.")
@click.argument("target", metavar="MODULE:APP")
@json_option
def check(target: str, as_json: bool) -> None:
    """Load an app and look through its definition, without a server: its jobs, and what is wrong with them.

    Exit code 1: a filter that no event passes, a job that is there twice, or an event with two classes. 2: the app
    can't be loaded.

    \b
    Example:
      headrace app check billing.jobs:app
    """
    checked = check_app(load_app(target))
    if as_json:
        print_json(checked)
    else:
        _print_checked(checked)
    click.get_current_context().exit(1 if checked.problems else 0)


@app.command(short_help="List what is registered of every app.")
@with_client
@json_option
def routes(client: AppClient, as_json: bool) -> None:
    """List what is registered of every app: the jobs of each release, which release counts and why, live workers.

    \b
    Example:
      headrace app routes
    """
    found = client.list_apps()
    if as_json:
        print_page("apps", found)
        return
    for place, each in enumerate(found.items):
        click.echo(f"{chr(10) if place else ''}app {each.app}: {_reason(each)}")
        print_table(
            ("fingerprint", "counts", "registered", "workers", "jobs"),
            (
                (
                    version.fingerprint,
                    _yes(version.counts),
                    _yes(version.registered),
                    ", ".join(version.workers) or None,
                    "can't be read" if version.jobs is None else ", ".join(version.jobs),
                )
                for version in each.versions
            ),
        )
        if each.disabled:
            click.echo(f"disabled: {', '.join(map(printable, each.disabled))}")
    if not found.items:
        click.echo("no app is registered")
    print_damaged(found.damaged)


def _reason(app: AppInfo) -> str:
    return "no subscriptions count" if app.why is None else f"those subscriptions count that {COUNTS[app.why]}"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _print_checked(checked: CheckedApp) -> None:
    click.echo(f"app {checked.app}")
    rows = (
        (each.job, trigger_in_words(each.names, each.sources), each.filter, each.context_filter, each.queue)
        for each in checked.jobs
    )
    print_table(("job", "subscribes to", "filter", "context filter", "queue"), rows)
    for word, findings in (("note", checked.notes), ("problem", checked.problems)):
        for each in findings:
            print_note(f"{word}: job {each.job}: {each.says}")


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
