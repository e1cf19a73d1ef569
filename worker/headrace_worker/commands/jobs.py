"""`headrace jobs`: lists and shows jobs, disables and enables them, and sends an event to one."""

from __future__ import annotations

from typing import Any

import click

from headrace_worker.app.app import App
from headrace_worker.app.examples import Example
from headrace_worker.commands.dispatch import note_missing_workers
from headrace_worker.commands.explaining import print_damaged
from headrace_worker.inspect.jobs import RegisteredJob, split_job
from headrace_worker.inspect.tallies import Counts
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.switch_job import SwitchedJob
from headrace_worker.process.loading import load_app
from headrace_worker.terminal.asking import note, reason_option
from headrace_worker.terminal.controls import set_at_run_time
from headrace_worker.terminal.lists import print_page
from headrace_worker.terminal.options import json_option, option, parse_json, parse_json_or_stdin
from headrace_worker.terminal.output import print_fields, print_json, print_note, print_table, printable, shown
from headrace_worker.terminal.quantities import duration, limit_in_words
from headrace_worker.terminal.server import with_client
from headrace_worker.terminal.triggers import RELEASES, trigger_in_words


@click.group()
def jobs() -> None:
    """Look at jobs, disable them, send an event to one."""


@jobs.command("list", short_help="List the jobs of all apps.")
@with_client
@json_option
def list_(client: AppClient, as_json: bool) -> None:
    """List the jobs of all apps: to what they subscribe, what waits in their queues, who has them.

    WAITING counts the runs of the job's queue, which other jobs may share; WORKERS those that are alive. STATE says
    also whether that queue is paused.

    \b
    Example:
      headrace jobs list
    """
    found = client.list_jobs()
    if as_json:
        print_page("jobs", found)
        return
    print_table(
        ("job", "subscribes to", "queue", "waiting", "workers", "state"),
        ((each.job, _words(each), each.queue, each.waiting, len(each.workers), _states(each)) for each in found.items),
    )
    print_damaged(found.damaged)
    note_missing_workers(client)


@jobs.command(short_help="Show a job: its trigger, its releases, what waits in its queue.")
@click.argument("job", metavar="APP/JOB")
@with_client
@json_option
def show(client: AppClient, job: str, as_json: bool) -> None:
    """Show a job: its trigger and filters, the releases that have it, its queue, and what became of its last hour.

    Exit code 1: no such job is registered.

    \b
    Example:
      headrace jobs show billing/welcome
    """
    found = client.get_job(job)
    if as_json:
        print_json(found)
        return
    disabled = found.disabled
    print_fields(
        [
            ("job", found.job),
            ("state", _state(found)),
            ("reason", disabled and disabled.reason),
            ("subscribes to", trigger_in_words(found.names, found.sources)),
            ("filter", found.filter),
            ("context filter", found.context_filter),
            ("release", RELEASES[found.why]),
            ("queue", found.queue),
            ("controls", set_at_run_time(found.controls)),
            ("declared limit", limit_in_words(found.declared_limit)),
            ("waiting", found.waiting),
            ("in flight", found.in_flight),
            ("last hour", _last_hour(found.last_hour)),
        ]
    )
    click.echo()
    print_table(
        ("fingerprint", "workers"), ((each.fingerprint, ", ".join(each.workers) or None) for each in found.versions)
    )
    if not found.workers:
        print_note("no live worker has it: its runs wait until one starts")
    elif not found.fetched_by:
        print_note(f"no live worker fetches from queue {found.queue}: its runs wait until one does")


def _last_hour(counts: Counts) -> str:
    parts = [f"{getattr(counts, kind):,} {kind}" for kind in ("succeeded", "failed", "canceled", "retried")]
    return ", ".join(parts) + (f", {duration(counts.mean_s)} in the mean" if counts.mean_s is not None else "")


@jobs.command(short_help="Disable a job: no event makes a run of it until it is enabled.")
@click.argument("job", metavar="APP/JOB")
@option("--reason", metavar="TEXT", help="Why, for those who look at the job.")
@with_client
@json_option
def disable(client: AppClient, job: str, reason: str | None, as_json: bool) -> None:
    """Disable a job: no event makes a run of it any more, until it is enabled. Runs that it has go on.

    It stays disabled through restarts and releases. An event that is dispatched meanwhile makes no run of it later
    either. To disable it again changes nothing but the reason.

    Exit code 1: no such job is registered.

    \b
    Example:
      headrace jobs disable billing/welcome --reason "mails are sent twice"
    """
    switched = client.disable_job(job, reason)
    note(client, "jobs disable", {"job": job}, reason=reason, done=int(switched.changed))
    _print_switched(switched, as_json=as_json)


@jobs.command()
@click.argument("job", metavar="APP/JOB")
@reason_option
@with_client
@json_option
def enable(client: AppClient, job: str, reason: str | None, as_json: bool) -> None:
    """Enable a job that was disabled: events make runs of it again.

    Exit code 1: no such job is registered.

    \b
    Example:
      headrace jobs enable billing/welcome
    """
    switched = client.enable_job(job)
    note(client, "jobs enable", {"job": job}, reason=reason, done=int(switched.changed))
    _print_switched(switched, as_json=as_json)


@jobs.command(short_help="Send an event to one job alone, whatever its filters.")
@click.argument("job", metavar="APP/JOB")
@click.argument("payload", metavar="[JSON|-]", type=parse_json_or_stdin, required=False)
@option("--name", metavar="NAME", help="The event's name.  [default: the first of the job's trigger]")
@option("--context", metavar="JSON", type=parse_json, help="Reaches the job as ctx.event.context.")
@option("--id", "event_id", metavar="ID", help="Sending the same id again triggers nothing twice; made if not given.")
@option("--app", "target", metavar="MODULE:APP", help="Where --example is defined.")
@option("--example", metavar="NAME", help="Send this example of the job, from its definition in --app.")
@reason_option
@with_client
@json_option
def trigger(client: AppClient, /, job: str, payload: Any, as_json: bool, **given: Any) -> None:
    """Send an event to one job alone, whatever its filters, with a payload written as JSON, or `-` to read it.

    The event has the first source of the job's trigger. Every worker that dispatches must be of this
    release: an older one moves the event to `dead`, and no job gets it.

    Exit code 1: no such job is registered, or it is disabled.

    \b
    Examples:
      headrace jobs trigger billing/welcome '{"userId": "u_1"}'
      headrace jobs trigger billing/welcome --app billing.jobs:app --example new-user
    """
    target, example, name = given["target"], given["example"], given["name"]
    if (target is None) != (example is None):
        raise click.UsageError("give --app and --example together: the example is a part of the app's code")
    if example is not None:
        if payload is not None:
            raise click.UsageError("give either a payload or --example")
        found = _example(load_app(target), job, example)
        payload, name = found.payload, name or found.event
    sent = client.trigger_job(job, payload, event_name=name, context=given["context"], event_id=given["event_id"])
    note(client, "jobs trigger", {"job": job, "event": sent.id}, reason=given["reason"], done=int(not sent.duplicate))
    if as_json:
        print_json(sent)
    elif sent.duplicate:
        click.echo(f"{printable(sent.id)} was sent before, nothing happened")
    else:
        click.echo(f"{printable(sent.id)} {printable(sent.name)} accepted {shown(sent.delivered_at)}, for {job} alone")
    note_missing_workers(client)


def _example(app: App, job: str, name: str) -> Example:
    """Return an example of a job of the app, or raise the usage error that names those that there are."""
    app_name, job_id = split_job(job)
    if app_name != app.name:
        raise click.UsageError(f"--app is the app {app.name!r}, and job {job!r} is of another")
    examples = app.examples.get(job_id, {})
    if name not in examples:
        there = f"it has: {', '.join(sorted(examples))}" if examples else "it has none"
        raise click.UsageError(f"job {job!r} has no example {name!r} in that app; {there}")
    return examples[name]


def _print_switched(switched: SwitchedJob, *, as_json: bool) -> None:
    if as_json:
        print_json(switched)
        return
    if not switched.is_disabled:
        was = f"it was disabled since {shown(switched.since)}" if switched.changed else "it was not disabled"
        click.echo(f"job {switched.job} is enabled; {was}")
        return
    since = "from now on" if switched.changed else f"as it was since {shown(switched.since)}"
    click.echo(f"job {switched.job} is disabled {since}; runs that it has go on")


def _words(job: RegisteredJob) -> str:
    is_filtered = job.filter or job.context_filter
    return trigger_in_words(job.names, job.sources) + (", filtered" if is_filtered else "")


def _states(job: RegisteredJob) -> str:
    paused_at = job.controls.paused_at
    return _state(job) + (f", queue paused since {shown(paused_at)}" if paused_at is not None else "")


def _state(job: RegisteredJob) -> str:
    return "enabled" if job.disabled is None else f"disabled since {shown(job.disabled.since)}"
