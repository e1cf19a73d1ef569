"""Fills the generated parts of `docs/benchmarks.md` from results; what stands outside the markers is a person's."""

from __future__ import annotations

import re
from pathlib import Path

from bench.columns import COLUMNS
from bench.environments import ROOT
from bench.report import amount, headrace_of
from bench.results import Machine, PeerResult, Results, Scenario, Taken

PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"


def fill_comparison(results: Results) -> None:
    """The page's part `comparison` tells these results."""
    base = headrace_of(results.peers)
    heads = " | ".join(" ".join(column.head) for column in COLUMNS)
    lines = [
        _taken(results.taken),
        "",
        "![No-op jobs drained a second, jobs sent a second and idle latency of all that were measured](benchmarks.svg)",
        "",
        f"| | {heads} |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for peer in results.peers:
        if peer.rounds:
            cells = [" ".join(part for part in _with_brackets(column.cell(peer, base)) if part) for column in COLUMNS]
            lines.append(f"| {_bold(peer, base)} | " + " | ".join(cells) + " |")
    lines += ["", *(_absent(peer) for peer in results.peers if peer.skipped or peer.failed)]
    lines += ["", "| | version | runs on | set as follows |", "|---|---|---|---|"]
    for peer in results.peers:
        versions = ", ".join(f"{name} {version}" for name, version in peer.versions.items())
        lines.append(f"| {peer.title} | {versions} | {peer.runtime} | {peer.settings} |")
    fill("comparison", lines)


def fill_alone(results: Results, page: Path = PAGE) -> None:
    """The page's part `alone` tells these results."""
    lines = [_taken(results.taken)]
    for scenario in results.scenarios:
        lines += ["", f"### {scenario.title}", ""]
        lines += [_taken(scenario.taken, results.machine), ""] if scenario.taken else []
        lines += ["| | | target | |", "|---|---:|---|---|"]
        lines += [_figure_line(scenario, place) for place in range(len(scenario.figures))]
        if scenario.failed:
            lines.append(f"| it failed | | | {scenario.failed.splitlines()[0]} |")
    fill("alone", lines, page)


def fill(part: str, lines: list[str], page: Path = PAGE) -> None:
    """What stands between the markers of a part of the page is now these lines."""
    text = page.read_text()
    pattern = re.compile(rf"(<!-- {part}: begin[^>]*-->\n).*?(<!-- {part}: end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no markers for {part!r}")
    body = "\n".join(lines).strip()
    page.write_text(pattern.sub(lambda match: f"{match[1]}\n{body}\n\n{match[2]}", text))


def _taken(taken: Taken, known: Machine | None = None) -> str:
    """Return when and where something was measured; a machine that is known is not described again."""
    where = (
        "" if known is not None and _machine(known) == _machine(taken.machine) else f", on {_machine(taken.machine)}"
    )
    return f"Measured {taken.taken_at[:10]} at commit `{taken.commit}` with `{taken.command}`{where}."


def _machine(machine: Machine) -> str:
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}, "
        f"{machine.python}, {machine.server} without persistence"
    )


def _with_brackets(cell: tuple[str, str]) -> tuple[str, str]:
    value, ratio = cell
    return value, f"({ratio})" if ratio else ""


def _bold(peer: PeerResult, base: PeerResult | None) -> str:
    return f"**{peer.title}**" if peer is base else peer.title


def _absent(peer: PeerResult) -> str:
    reason = peer.skipped or f"it failed: {peer.failed.splitlines()[0]}"
    return f"{peer.title} is not in the table: {reason}.\n"


def _figure_line(scenario: Scenario, place: int) -> str:
    figure = scenario.figures[place]
    mark = {True: "met", False: "**missed**", None: ""}[figure.met]
    target = f"{figure.target}: {mark}" if mark else figure.target
    return f"| {figure.name} | {amount(figure.value)} {figure.unit} | {target} | {figure.note} |"
