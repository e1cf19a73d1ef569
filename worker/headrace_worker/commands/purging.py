"""`headrace queues purge`: cancels the runs that wait in a queue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from headrace import CanceledRun, Client, HeadraceError
from headrace_worker.operate.bulk import choose
from headrace_worker.terminal.asking import Bulk, Work, act_on, bulk_options
from headrace_worker.terminal.options import json_option
from headrace_worker.terminal.server import with_client


@click.command()
@click.argument("queue", metavar="APP/QUEUE")
@with_client
@bulk_options("runs in the queue", every=False)
@json_option
@click.pass_context
def purge(ctx: click.Context, client: Client, queue: str, bulk: Bulk, as_json: bool) -> None:
    """Cancel the runs that wait in a queue for a worker. Runs that execute, or wait for their next attempt, go on.

    The name of the queue has to be typed, or given by --yes=APP/QUEUE. The records of the runs stay, and say canceled.

    Exit code 1: one of them was taken by a worker meanwhile. 2: --yes was missing.

    \b
    Examples:
      headrace queues purge billing/default --dry-run
      headrace queues purge billing/default --yes=billing/default --max 1000000
    """

    def act(batch: Sequence[str]) -> list[CanceledRun | HeadraceError]:
        return client.cancel_runs(batch, reason=bulk.note, queued=True)

    read = partial(client.list_runs, queue=queue, status="queued")
    work = Work("queues purge", "runs", act, name=queue)
    asked = {"queue": queue}
    ctx.exit(act_on(client, bulk, work, (), asked, lambda: choose(read, bulk.most, bulk.cursor), as_json=as_json))
