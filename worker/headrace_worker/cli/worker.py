"""`headrace worker`: runs an app's jobs in this process, or in several."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from headrace import Retention
from headrace.settings import resolve, resolve_url
from headrace_worker import logs
from headrace_worker.child import cli_command
from headrace_worker.cli.options import log_options, option
from headrace_worker.cli.server import Server, with_server
from headrace_worker.config import WorkerConfig
from headrace_worker.lifeline import FD_VARIABLE, Lifeline
from headrace_worker.loading import load_app
from headrace_worker.process import run_as_process
from headrace_worker.supervisor import Supervisor
from headrace_worker.worker import Worker

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS = WorkerConfig()
_RETENTION = Retention()


def _count(name: str, default: int, text: str) -> Callable[[F], F]:
    return option(name, metavar="N", type=int, default=default, show_default=True, help=text)


def _seconds(name: str, default: float, text: str) -> Callable[[F], F]:
    return option(name, metavar="SECONDS", type=float, default=default, show_default=True, help=text)


@click.command(short_help="Run the jobs of an app.")
@click.argument("target", metavar="MODULE:APP")
@_count("--concurrency", _DEFAULTS.concurrency, "Runs that a process executes at once.")
@_count("--processes", 1, "Processes; one that dies is replaced.")
@option("--queue", metavar="NAME", multiple=True, help="Take runs of this queue only; may be repeated.")
@_seconds("--grace", _DEFAULTS.grace_s, "How long runs may go on after a stop.")
@_seconds("--lease", _DEFAULTS.lease_s, "Silence after which a worker's runs go to others.")
@_count("--max-lost", _DEFAULTS.max_lost, "Workers that may die with a run in hand before it is buried.")
@_count("--seats", _DEFAULTS.seats, "Workers that dispatch at once; 0: never this one.")
@_seconds("--retention", _RETENTION.success_s, "How long records are kept after success.")
@_seconds("--failure-retention", _RETENTION.failure_s, "How long records are kept after failure.")
@option("--allow-eviction", is_flag=True, help="Work on a server that may evict keys.")
@log_options
@with_server
@click.option("--lifeline-fd", envvar=FD_VARIABLE, type=int, hidden=True)
def worker(
    server: Server,
    /,
    target: str,
    processes: int,
    lifeline_fd: int | None,
    log_format: logs.LogFormat,
    log_level: str,
    **given: Any,
) -> None:
    """Run the jobs of an app: MODULE is found in the current folder or installed, APP is its App in there.

    SIGTERM or SIGINT: no new runs, those that execute may go on for --grace; a second one: none may; a third ends
    the process. With --processes, one that dies is replaced and its runs go to others at once.

    Exit code 1: the server can't be reached at the start, or worker processes die as they start. 2: the app can't be
    loaded, a setting is wrong, or the server is one that can't be worked with.

    \b
    Examples:
      headrace worker jobs:app
      headrace worker billing.jobs:app --processes 4 --concurrency 50 --queue mail
    """
    logs.configure(log_format, log_level)
    os.environ.pop(FD_VARIABLE, None)  # it is ours, and not for what jobs start
    if processes < 1:
        raise click.UsageError("--processes must be 1 or more")
    config = _config(given)
    if processes > 1 and lifeline_fd is None:
        command = cli_command(*sys.argv[1:])
        partitions = resolve(server.namespace, server.partitions)
        supervisor = Supervisor(command, processes, url=resolve_url(server.url), partitions=partitions)
        sys.exit(asyncio.run(supervisor.run()))
    hooks: dict[str, Callable[..., None]] = {}
    if lifeline_fd is not None:
        line = Lifeline(lifeline_fd)
        line.stop_with_parent()
        hooks = {"on_name": line.tell_name, "on_started": line.tell_started}
    run_as_process(
        Worker(
            load_app(target),
            server.url,
            namespace=server.namespace,
            partitions=server.partitions,
            config=config,
            **hooks,
        )
    )


def _config(given: dict[str, Any]) -> WorkerConfig:
    return WorkerConfig(
        concurrency=given["concurrency"],
        queues=given["queue"] or None,
        grace_s=given["grace"],
        lease_s=given["lease"],
        max_lost=given["max_lost"],
        seats=given["seats"],
        retention=Retention(success_s=given["retention"], failure_s=given["failure_retention"]),
        allow_eviction=given["allow_eviction"],
    )
