"""`headrace demo`: real webhooks through real jobs."""

from __future__ import annotations

import click

from headrace_worker.cli.demo_view import open_view, print_summary
from headrace_worker.demo import programme, stage


@click.command(short_help="Watch real webhooks go through real jobs.")
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Show what Headrace does, in less than half a minute.

    Starts a Valkey server and one worker with the jobs of examples/github, sends sample webhooks of GitHub, and shows
    what happens: filters on their fields, several jobs for an event, retries, an event for later, one that is
    canceled, one that a job sends. At the end everything is held against what must have come of it.

    Exit code 1: something did not come out as it should.

    \b
    Example:
      headrace demo
    """
    folder = programme.example_folder()
    with open_view() as view:
        report = stage.play(folder, view)
    print_summary(report)
    ctx.exit(1 if report.faults else 0)
