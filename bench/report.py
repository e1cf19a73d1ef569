"""Shows results on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.columns import COLUMNS
from bench.results import PeerResult, Results, Scenario


def show(results: Results, console: Console) -> None:
    """The results stand on the terminal."""
    machine = results.machine
    console.print(
        f"\n{machine.cpu}, {machine.cores} cores, {machine.system}, {machine.python}; {machine.server}; "
        f"load before: {machine.load_before}"
    )
    if results.peers:
        console.print(_field_table(results.peers))
        for peer in results.peers:
            if peer.skipped:
                console.print(f"{peer.title} was skipped: {peer.skipped}", style="yellow")
            if peer.failed:
                console.print(f"{peer.title} failed: {peer.failed}", style="red", markup=False)
    for scenario in results.scenarios:
        console.print(_scenario_table(scenario))


def _field_table(peers: Sequence[PeerResult]) -> Table:
    table = Table(title="medians; in grey the ratio to Headrace")
    table.add_column("")
    for column in COLUMNS:
        table.add_column("\n".join(column.head), justify="right")
    base = headrace_of(peers)
    for peer in peers:
        if not peer.rounds:
            continue
        cells = []
        for column in COLUMNS:
            value, ratio = column.cell(peer, base)
            cells.append(f"{value}\n[bright_black]{ratio}[/]" if column.ratio else value)
        table.add_row(f"[bold]{peer.title}[/]" if peer is base else peer.title, *cells)
    return table


def _scenario_table(scenario: Scenario) -> Table:
    table = Table(title=scenario.title, title_justify="left", min_width=100)
    for head in ("", "", "target", ""):
        table.add_column(head, overflow="fold")
    for figure in scenario.figures:
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
        target = f"{figure.target} {mark}".strip()
        table.add_row(figure.name, f"{amount(figure.value)} {figure.unit}", target, figure.note)
    if scenario.failed:
        table.add_row("[red]failed[/]", scenario.failed, "", "")
    return table


def headrace_of(peers: Sequence[PeerResult]) -> PeerResult | None:
    """Return Headrace's own result, if it is among them."""
    return next((peer for peer in peers if peer.name == "headrace" and peer.rounds), None)


def amount(value: float) -> str:
    """Return a number with as many digits as one wants to read."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
