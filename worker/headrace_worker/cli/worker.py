"""`headrace worker`: runs an app's jobs in this process, or in several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headrace import ConfigurationError, Retention
from headrace.calls.queues import read_queue_names
from headrace.config import resolve, resolve_url
from headrace.connect import open_transport
from headrace_worker.app.app import App
from headrace_worker.config import WorkerConfig
from headrace_worker.process import log_setup
from headrace_worker.process.child import cli_command
from headrace_worker.process.control_channel import FD_VARIABLE, ControlChannel
from headrace_worker.process.loading import load_app
from headrace_worker.process.process import run_as_process
from headrace_worker.process.supervisor import Supervisor
from headrace_worker.tasks.signals import end_on_stop_signals
from headrace_worker.terminal.options import log_options, option
from headrace_worker.terminal.server import Server, with_server
from headrace_worker.worker import Worker

if TYPE_CHECKING:
    from headrace_worker.metrics.exposition import Endpoint
    from headrace_worker.metrics.prometheus import Metrics

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS = WorkerConfig()
_RETENTION = Retention()


def _count(name: str, default: int, text: str) -> Callable[[F], F]:
    return option(name, metavar="N", type=int, default=default, show_default=True, help=text)


def _seconds(name: str, default: float | timedelta, text: str) -> Callable[[F], F]:
    return option(name, metavar="SECONDS", type=float, default=default, show_default=True, help=text)


@click.command(short_help="Run the jobs of an app.")
@click.argument("target", metavar="MODULE:APP")
@_count("--concurrency", _DEFAULTS.concurrency, "Runs that a process executes at once.")
@_count("--processes", 1, "Processes; one that dies is replaced.")
@option("--queue", metavar="NAME", multiple=True, help="Take runs of this queue only; may be repeated.")
@_seconds("--grace", _DEFAULTS.grace_s, "How long runs may go on after a stop.")
@_seconds("--lease", _DEFAULTS.lease_s, "Silence after which other workers get a worker's runs.")
@option(
    "--stall",
    metavar="SECONDS",
    type=float,
    help="How long a part of the worker, its event loop say, may stand still before the process ends.  "
    "[default: four leases]",
)
@_count("--max-lost", _DEFAULTS.max_lost, "Workers that may die with a run in flight before it is dead.")
@_count("--dispatchers", _DEFAULTS.dispatchers, "Workers that dispatch at once; 0: never this one.")
@_seconds("--retention", _RETENTION.success, "How long records are kept after success.")
@_seconds("--failure-retention", _RETENTION.failure, "How long records are kept after failure.")
@_seconds("--dedupe", _RETENTION.dedupe_sender, "How long an event's id is remembered, at least, once it has settled.")
@option(
    "--tracebacks",
    type=click.Choice(["last", "every"]),
    default=_DEFAULTS.tracebacks,
    show_default=True,
    help="Log the traceback of a run's last attempt, or of every failed one.",
)
@option("--allow-eviction", is_flag=True, help="Work on a server that may evict keys.")
@option(
    "--metrics-port",
    envvar="HEADRACE_METRICS_PORT",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve metrics for Prometheus there; needs the extra `metrics`. 0: any free port.",
)
@option(
    "--metrics-host",
    envvar="HEADRACE_METRICS_HOST",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="Where metrics are served; 0.0.0.0 in a container.",
)
@log_options
@with_server
@click.option("--control-fd", envvar=FD_VARIABLE, type=int, hidden=True)
def worker(
    server: Server,
    /,
    target: str,
    processes: int,
    control_fd: int | None,
    metrics_port: int | None,
    metrics_host: str,
    log_format: log_setup.LogFormat,
    log_level: str,
    **given: Any,
) -> None:
    """Run the jobs of an app: MODULE is found in the current folder or installed, APP is its App in there.

    SIGTERM, SIGINT or SIGHUP: no new runs, those that execute may go on for --grace; a second one: none may; a third
    ends the process. Signals that come within half a second are one. With --processes, one that dies is replaced, other
    workers get its runs at once, and one address serves the metrics of all.

    Exit code 1: the server can't be reached at the start, or worker processes die as they start and none ever has. 2:
    the app can't be loaded, a setting is wrong, or the server is one that can't be worked with.

    \b
    Examples:
      headrace worker jobs:app
      headrace worker billing.jobs:app --processes 4 --concurrency 50 --queue mail
    """
    log_setup.configure(log_format, log_level)
    os.environ.pop(FD_VARIABLE, None)  # not for processes that jobs start
    if processes < 1:
        raise click.UsageError("--processes must be 1 or more")
    config = _config(given)
    is_supervised = processes > 1 and control_fd is not None
    endpoint = None if metrics_port is None or is_supervised else _endpoint(metrics_host, metrics_port)
    if processes > 1 and not is_supervised:
        sys.exit(_supervise(processes, server, endpoint))
    end_on_stop_signals()
    channel = None if control_fd is None else _listen(control_fd)
    hooks: dict[str, Any] = {}
    if channel is not None:
        hooks = {"on_name": _reporting(channel), "on_started": channel.report_started}
    if metrics_port is not None:  # before the app, so that its own metrics are kept in the same way
        hooks["metrics"] = _metrics(server, endpoint)
    app = load_app(target)
    _check_queues(app, config, server)
    run_as_process(
        Worker(app, server.url, namespace=server.namespace, partitions=server.partitions, config=config, **hooks),
        channel,
    )


def _endpoint(host: str, port: int) -> Endpoint:
    from headrace_worker.metrics.exposition import Endpoint

    return Endpoint(host, port)


def _supervise(processes: int, server: Server, endpoint: Endpoint | None) -> int:
    url, partitions = resolve_url(server.url), resolve(server.namespace, server.partitions)
    serving = contextlib.nullcontext() if endpoint is None else endpoint.serving_others(url, partitions)
    with serving as shared:
        command = cli_command(*sys.argv[1:])
        return asyncio.run(Supervisor(command, processes, url=url, partitions=partitions, hooks=shared).run())


def _listen(control_fd: int) -> ControlChannel:
    """Return the channel to the parent process, and obey its commands from now on."""
    channel = ControlChannel(control_fd)
    channel.listen()
    return channel


def _reporting(channel: ControlChannel) -> Callable[[str], None]:
    """Return what is done with each name of this process's worker."""

    def report(name: str) -> None:
        channel.report_name(name)
        log_setup.name_worker(name)

    return report


def _metrics(server: Server, endpoint: Endpoint | None) -> Metrics:
    """Return the metrics of this process: served here or, without an endpoint, by the supervisor."""
    from headrace_worker.metrics.prometheus import Metrics

    if endpoint is None:
        return Metrics()
    return endpoint.count_here(resolve_url(server.url), resolve(server.namespace, server.partitions))


def _config(given: dict[str, Any]) -> WorkerConfig:
    try:
        return WorkerConfig(
            concurrency=given["concurrency"],
            queues=given["queue"] or None,
            grace=given["grace"],
            lease=given["lease"],
            stall=given["stall"],
            max_lost=given["max_lost"],
            dispatchers=given["dispatchers"],
            retention=Retention(
                success=given["retention"], failure=given["failure_retention"], dedupe_sender=given["dedupe"]
            ),
            allow_eviction=given["allow_eviction"],
            tracebacks=given["tracebacks"],
        )
    except ConfigurationError as exc:
        raise ConfigurationError(_by_option(str(exc))) from exc


_OPTIONS = {
    "queues": "--queue",
    "success": "--retention",
    "failure": "--failure-retention",
    "dedupe_sender": "--dedupe",
    "max_lost": "--max-lost",
}


def _by_option(fault: str) -> str:
    """Return a fault of a setting with the name of its option in the place of its field's."""
    field, rest = re.match(r"(?:retention: )?(\w*)(.*)", fault, re.DOTALL).groups()  # type: ignore[union-attr] # matches any text
    return f"{_OPTIONS.get(field, f'--{field}')}{rest}"


def _check_queues(app: App, config: WorkerConfig, server: Server) -> None:
    """Refuse a queue that no job of the app has, in no release: a worker would wait there for nothing."""
    unknown = [queue for queue in config.queues or () if queue not in app.queues]
    if not unknown or app.dispatch_only:
        return
    known = {*app.queues, *_queues_of_other_releases(app, server)}
    for queue in unknown:
        if queue not in known:
            raise click.UsageError(f"app {app.name!r} has no queue {queue!r}; there is {', '.join(sorted(known))}")


def _queues_of_other_releases(app: App, server: Server) -> Iterable[str]:
    """Return the queues of the app on the server: one that no job of this release has may still have runs."""
    keys = resolve(server.namespace, server.partitions).all[0]
    transport = open_transport(resolve_url(server.url))
    try:
        (found,) = transport.run([read_queue_names(keys)])
    finally:
        transport.close()
    return [queue for name, _, queue in (each.partition("/") for each in found) if name == app.name]
