"""`headrace dev`: a server for development, and a worker that restarts when a file changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from headrace.config import resolve_namespace
from headrace_worker.dev import development
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.process import log_setup
from headrace_worker.process.child import cli_command
from headrace_worker.terminal.options import log_options, option
from headrace_worker.terminal.server import namespace_option


@click.command(short_help="Develop jobs: a server and a worker that reloads.")
@click.argument("target", metavar="MODULE:APP")
@option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".headrace"),
    show_default=True,
    help="Where the server keeps its data.",
)
@option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Let the server listen on 127.0.0.1 too; 0: on any free port.",
)
@option(
    "--watch",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    default=[Path()],
    help="Folder whose Python files restart the worker; may be repeated.  [default: the current one]",
)
@option("--concurrency", metavar="N", type=int, default=100, show_default=True, help="Runs at once.")
@option(
    "--grace", metavar="SECONDS", type=float, default=2, show_default=True, help="How long runs may go on at a stop."
)
@namespace_option
@log_options
def dev(
    target: str,
    data_dir: Path,
    port: int | None,
    watch: tuple[Path, ...],
    concurrency: int,
    grace: float,
    namespace: str | None,
    log_format: log_setup.LogFormat,
    log_level: str,
) -> None:
    """Develop jobs without anything to install or to clean up.

    Starts a Valkey server of its own, whose data outlives it, and a worker that restarts when a Python file changes.
    Ctrl-C stops both.

    \b
    Example:
      headrace dev jobs:app
    """
    development.check_installed()
    log_setup.configure(log_format, log_level)
    namespace = resolve_namespace(namespace)
    options = ("--concurrency", concurrency, "--grace", grace, "--log-format", log_format, "--log-level", log_level)
    with development.own_server(data_dir, port) as server:
        click.echo(_welcome(server, target, namespace))
        reloader = development.Reloader(
            cli_command("worker", target, "--tracebacks", "every", *map(str, options)),
            url=server.url,
            namespace=namespace,
            watch=watch,
            ignore=[data_dir],
            grace_s=grace,
        )
        asyncio.run(reloader.run())


def _welcome(server: EmbeddedServer, target: str, namespace: str) -> str:
    own_namespace = f"\n  export HEADRACE_NAMESPACE={namespace}" if namespace != "default" else ""
    port = f"\nThe server listens on {server.tcp_url} too." if server.port is not None else ""
    return f"""\
Valkey is running, its data is in {server.data_dir}.{port}
Send events to {target} from another terminal:

  export HEADRACE_URL={server.url}{own_namespace}
  headrace send my.event '{{"any": "JSON"}}'

The worker restarts when a Python file changes; Ctrl-C stops it and the server.
"""
