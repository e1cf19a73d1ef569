"""The bench's commands, run by the runner's environment: `python -m bench compare|alone|beside`."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from bench import chart, document
from bench.alone import SCENARIOS, run_scenarios
from bench.beside import NoCommit, beside
from bench.compare import Plan, compare
from bench.environments import HOME, ROOT
from bench.field import FIELD, named
from bench.machine import commit, this_machine
from bench.report import show
from bench.results import Results, read, renewed, write
from bench.server import Server, running_server

RESULTS = HOME / "results"
KEPT = ROOT / "bench" / "results"
"""The results that the documentation tells; only a run with --docs writes here."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def main() -> None:
    """Does what the command line says; exits with 1 if anything failed."""
    parser = _parser()
    args = parser.parse_args()
    if args.command == "beside":
        sys.exit(_beside(args))
    only = args.only.replace(",", " ").split()
    known = {peer.name for peer in FIELD} if args.command == "compare" else set(SCENARIOS)
    if unknown := set(only) - known:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if args.docs and only and args.command == "compare":
        parser.error("--docs compares everyone, so it does not go with --only")

    with running_server(args.server) as server:
        results = _new_results(server, _command(args))
        if args.command == "compare":
            plan = Plan(scale=args.scale, rounds=args.rounds)
            results.plan = msgspec.to_builtins(plan)
            results.peers = compare(server, named(only), plan, _say)
        else:
            results.plan = {"scale": args.scale, "duration_s": args.duration}
            results.scenarios = run_scenarios(server, only, args.scale, args.duration, _say)
    _keep(results, args.command, docs=args.docs, some=bool(only))
    show(results, console)
    failed = any(peer.failed for peer in results.peers) or any(scenario.failed for scenario in results.scenarios)
    sys.exit(1 if failed else 0)


def _beside(args: argparse.Namespace) -> int:
    with running_server(args.server) as server:
        try:
            table = beside(server, args.commit, args.rounds, args.scale, _say)
        except NoCommit as exc:
            console.print(str(exc), style="red", markup=False)
            return 1
        console.print(table)
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="Headrace, its peers and the limit, side by side")
    comparing.add_argument("--only", default="", help="of " + " ".join(peer.name for peer in FIELD))
    comparing.add_argument("--rounds", type=int, default=3)
    alone = commands.add_parser("alone", help="Headrace alone, scenario by scenario")
    alone.add_argument("--only", default="", help="of " + " ".join(SCENARIOS))
    alone.add_argument("--duration", type=float, default=600, help="seconds of the soak")
    other = commands.add_parser("beside", help="drained runs of the working tree beside those of a commit")
    other.add_argument("--commit", required=True)
    other.add_argument("--rounds", type=int, default=9)
    for command in (comparing, alone, other):
        command.add_argument("--scale", type=float, default=1.0, help="share of the usual numbers of jobs")
        command.add_argument(
            "--server", type=Path, help="a binary of Redis or Valkey, in place of that in the environment"
        )
    for command in (comparing, alone):
        command.add_argument("--docs", action="store_true", help="fill docs/benchmarks.md and keep the results")
    return parser


def _command(args: argparse.Namespace) -> str:
    """Return what makes the same figures: the target with the variables that are not the usual ones."""
    usual = {"only": "", "server": None, "scale": 1.0, "rounds": 3, "duration": 600.0}
    given = [
        f'{name.upper()}="{getattr(args, name)}"' for name in usual if getattr(args, name, usual[name]) != usual[name]
    ]
    return " ".join(["make", {"compare": "bench", "alone": "bench-headrace"}[args.command], *given])


def _new_results(server: Server, command: str) -> Results:
    return Results(
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        commit=commit(),
        machine=this_machine(server.version()),
        plan={},
    )


def _keep(results: Results, command: str, *, docs: bool, some: bool) -> None:
    path = RESULTS / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    write(results, path)
    _say(f"results: {_short(path)}")
    if results.peers:
        chart.draw(results.peers, RESULTS / "latest.svg")
    if not docs:
        return
    kept = KEPT / f"{command}.json"
    if some and kept.exists():
        results = renewed(read(kept), results, list(SCENARIOS))
    write(results, kept)
    if command == "compare":
        chart.draw(results.peers, document.CHART)
        document.fill_comparison(results)
    else:
        document.fill_alone(results)
    _say(f"filled {_short(document.PAGE)}")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _say(text: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {text}", style="bright_black", markup=False)


if __name__ == "__main__":
    main()
