"""What a person sees of the demonstration: a live table on a terminal with rich, lines otherwise, and a summary."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from headrace_worker.cli.output import STATUS_COLOURS, print_table, printable
from headrace_worker.demo.expectations import JOBS
from headrace_worker.demo.stage import Audience, Report, Scene
from headrace_worker.demo.watch import Happening, Tally, lateness_ms

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_LATEST = 7


@contextmanager
def open_view() -> Iterator[Audience]:
    """Gives the view that suits standard output, for as long as there is something to see."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError:
        yield Lines()
        return
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines()
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield LiveTable(console, live)


class Lines:
    """One line for each thing that has become of a run or of a delayed event, in colour on a terminal."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._told_sent = 0
        click.echo("Starting a Valkey server and a worker with the jobs of examples/github …")

    def see(self, happenings: Sequence[Happening], scene: Scene) -> None:
        """Prints what is new."""
        elapsed = f"{time.monotonic() - self._began_at:6.2f} s"
        if scene.sent - self._told_sent >= 20 or (scene.sent == scene.total > self._told_sent):
            self._told_sent = scene.sent
            click.echo(f"{elapsed}  {scene.sent} of {scene.total} events sent, {scene.settled} settled")
        for happening in happenings:
            if happening.status not in {"queued", "executing"}:
                status = click.style(f"{happening.status:10}", fg=STATUS_COLOURS.get(happening.status))
                click.echo(f"{elapsed}  {status} {_words(happening)}")


class LiveTable:
    """The jobs with their runs, and the latest happenings, drawn again at each look."""

    def __init__(self, console: Console, live: Live) -> None:
        self._began_at = time.monotonic()
        self._latest: deque[tuple[float, Happening]] = deque(maxlen=max(min(_LATEST, console.height - 13), 1))
        self._live = live

    def see(self, happenings: Sequence[Happening], scene: Scene) -> None:
        """Draws how things stand."""
        elapsed = time.monotonic() - self._began_at
        self._latest.extend((elapsed, happening) for happening in happenings if happening.status != "queued")
        self._live.update(self._drawn(elapsed, scene), refresh=True)

    def _drawn(self, elapsed: float, scene: Scene) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 2))
        words = f"{scene.sent}/{scene.total} events sent, {scene.settled} settled"
        bar = ProgressBar(scene.total, scene.sent, width=16)
        head.add_row(Text("Headrace demo", style="bold"), bar, Text(words), Text(f"{elapsed:.1f} s", style="dim"))
        jobs = Table(box=None, pad_edge=False, header_style="dim")
        jobs.add_column("JOB", no_wrap=True)
        for column in ("OPEN", "OK", "FAILED", "RETRIED"):
            jobs.add_column(column, justify="right", no_wrap=True)
        jobs.add_column("RUNS FOR", style="dim")
        for job, meaning in JOBS.items():
            tally = scene.tally.get(job, Tally())
            jobs.add_row(
                _short(job),
                Text(str(tally.open), style="cyan" if tally.open else "dim"),
                Text(str(tally.succeeded), style="green" if tally.succeeded else "dim"),
                Text(str(tally.failed), style="red" if tally.failed else "dim"),
                Text(str(tally.retried), style="yellow" if tally.retried else "dim"),
                Text(meaning, no_wrap=True, overflow="ellipsis"),
            )
        latest = Table.grid(padding=(0, 1))
        for width in (7, 9, None):
            latest.add_column(no_wrap=True, overflow="ellipsis", min_width=width)
        for at, happening in self._latest:
            style = STATUS_COLOURS.get(happening.status, "")
            latest.add_row(Text(f"{at:5.1f} s", style="dim"), Text(happening.status, style), Text(_words(happening)))
        return Group(head, "", jobs, "", latest)


def _words(happening: Happening) -> str:
    whose = "event" if happening.job is None else f"{_short(happening.job)} for"
    words = f"{whose} {happening.event}"
    return printable(f"{words}: {happening.text}" if happening.text else words)


def _short(job: str) -> str:
    return job.removeprefix("github/")


def print_summary(report: Report) -> None:
    """What came of it: each job, each special event, and whatever is not as it should be."""
    click.echo()
    print_table(
        ("job", "runs", "ok", "failed", "retried", "runs for"),
        (
            (_short(job), tally.runs, tally.succeeded, tally.failed, tally.retried, meaning)
            for job, meaning in JOBS.items()
            for tally in [report.tally.get(job, Tally())]
        ),
    )
    click.echo()
    for line in _sentences(report):
        click.echo(line)
    click.echo()
    for fault in report.faults:
        click.echo(f"{click.style('wrong', fg='red')}  {printable(fault)}")
    if report.faults:
        click.echo(click.style(f"{len(report.faults)} things did not come out as they should.", fg="red"))
    else:
        click.echo(click.style(f"Everything came out as it should, in {report.took_s:.1f} s.", fg="green"))


def _sentences(report: Report) -> Iterator[str]:
    runs = [run for record in report.records for run in record.runs]
    unheard = sum(not record.runs and record.status == "delivered" for record in report.records)
    yield (
        f"{len(report.records)} events, {report.webhooks} of them webhooks, became {len(runs)} runs; "
        f"{unheard} matched no job."
    )
    if report.due is not None and report.due.delivered_at is not None:
        yield f"{report.due.name} was sent ahead of time and delivered {lateness_ms(report.due):.0f} ms after its time."
    if report.canceled is not None and report.canceled.status == "canceled":
        yield f"A second {report.canceled.name} was canceled while it was delayed, and no job has seen it."
    for record in report.further:
        attempts = max((run.attempt for run in record.runs), default=0)
        yield f"{record.name} was sent by a job; its run needed {attempts} attempts."
