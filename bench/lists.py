"""Counts what each read of the command line costs where there is much: round trips, commands, the longest command."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bench.filling import Filled
from bench.server import Server
from bench.side import PAYLOAD
from bench.slow_log import SlowLog
from headrace import Event
from headrace.calls.call import Call
from headrace_worker.operate.app_client import AppClient

REPEATS = 3


class Reader(AppClient):
    """A client with all that the command line reads with, which notes the commands of each round trip."""

    def _open_transport(self) -> Any:
        transport = super()._open_transport()
        self.trips: list[int] = []
        run = transport.run

        def counted(calls: Sequence[Call[Any]], **given: Any) -> Any:
            self.trips.append(len(calls))
            return run(calls, **given)

        transport.run = counted
        return transport


Ask = Callable[[Reader, Filled], object]


def _ahead(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _runs_of(**asked: Any) -> Ask:
    return lambda client, _: client.list_runs(**asked)


FOUND: dict[str, Ask] = {
    "events list": lambda client, _: client.list_events(limit=20),
    "events list --state pending": lambda client, _: client.list_events(state="pending", limit=20),
    "runs list": _runs_of(limit=20),
    "runs list --event ID": lambda client, one: client.list_runs(event_id=one.event),
    "runs list --worker w1": _runs_of(worker="w1", limit=20),
    "runs list --status failed": _runs_of(status="failed", limit=20),
    "runs list --status executing": _runs_of(status="executing", limit=20),
    "runs list --status executing --worker w1": _runs_of(status="executing", worker="w1", limit=20),
    "runs list --status queued": _runs_of(status="queued", limit=20),
    "runs list --status waiting": _runs_of(status="waiting", limit=20),
    "runs list --status waiting --behind": _runs_of(status="waiting", behind=True, limit=20),
    "delayed list": lambda client, _: client.list_delayed(limit=20),
    "dead list": lambda client, _: client.list_dead_letters(limit=20),
    "dead list --job app/dead": lambda client, _: client.list_dead_letters(job="app/dead", limit=20),
    "dead groups": lambda client, _: client.dead_letter_groups(),
    "audit list": lambda client, _: client.list_audit(limit=20),
}
"""The first page of each list, as it is asked for on the command line."""

NOTHING: dict[str, Ask] = {
    "events list --name nope": lambda client, _: client.list_events(name="nope"),
    "events list --source nope": lambda client, _: client.list_events(source="nope"),
    "events list --account nope": lambda client, _: client.list_events(account_id="nope"),
    "events list --state unmatched": lambda client, _: client.list_events(state="unmatched"),
    "events list --until 30d": lambda client, _: client.list_events(until=_ahead(-30)),
    **{
        f"runs list {f'--status {status} ' if status else ''}{option} {value}": _runs_of(
            status=status, **{argument: value}
        )
        for status in (None, "failed", "executing", "queued", "waiting")
        for option, argument, value in (
            ("--job", "job", "app/nope"),
            ("--queue", "queue", "app/nope"),
            ("--worker", "worker", "nope"),
            ("--event-name", "event_name", "nope"),
        )
    },
    "runs list --status failed --until 30d": lambda client, _: client.list_runs(status="failed", until=_ahead(-30)),
    "runs list --status executing --older-than 30d": _runs_of(status="executing", older_than=timedelta(days=30)),
    "delayed list --until 1h": lambda client, _: client.list_delayed(until=_ahead(1 / 24)),
    "delayed list --since 30d": lambda client, _: client.list_delayed(since=_ahead(30)),
    "dead list --job app/nope": lambda client, _: client.list_dead_letters(job="app/nope"),
    "dead list --reason nope": lambda client, _: client.list_dead_letters(reason="nope"),
    "dead list --error nope": lambda client, _: client.list_dead_letters(error="nope"),
    "dead list --until 30d": lambda client, _: client.list_dead_letters(until=_ahead(-30)),
    "audit list --until 30d": lambda client, _: client.list_audit(until=_ahead(-30)),
}
"""The first page of each list with a filter that matches nothing."""

LOOKS: dict[str, Ask] = {
    "queues list": lambda client, _: client.list_queues(),
    "queues show": lambda client, _: client.get_queue("app/default"),
    "jobs list": lambda client, _: client.list_jobs(),
    "jobs show": lambda client, _: client.get_job("app/queued"),
    "workers list": lambda client, _: client.list_workers(),
    "workers show": lambda client, one: client.get_worker(one.worker),
    "app routes": lambda client, _: client.list_apps(),
    "stats": lambda client, _: client.get_stats(3600),
    "stats --since 1d": lambda client, _: client.get_stats(86_400),
    "doctor": lambda client, _: client.diagnose(),
    "events show": lambda client, one: client.get_event(one.event),
    "events show --tree": lambda client, one: client.get_tree(one.event),
    "events explain": lambda client, one: client.explain_event(one.event),
    "send --explain": lambda client, _: client.explain_send(Event("bench", PAYLOAD)),
    "runs show": lambda client, one: client.get_run(one.run),
    "dead show": lambda client, one: client.get_dead_letter(one.letter),
}
"""What else the command line reads: of the whole namespace, or of one thing in it."""


class Cost(msgspec.Struct, frozen=True):
    """What a read took.

    Attributes:
        round_trips: pipelines of commands, each sent at once and answered at once.
        commands: in all of them together.
        seconds: of the fastest of the repeats.
        slowest_ms: the longest command by the server's own clock, of the repeat in which it was shortest: what is slow
            by itself is slow in each, what another program has held up is not.
        median_ms: the longest command in the median of the repeats.
    """

    round_trips: int
    commands: int
    seconds: float
    slowest_ms: float
    median_ms: float

    @property
    def note(self) -> str:
        """The rest, in words."""
        counts = ((self.round_trips, "round trip"), (self.commands, "command"))
        words = [f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts]
        return ", ".join(
            [*words, f"{self.seconds * 1000:.1f} ms in all", f"longest in the median {self.median_ms:.3g} ms"]
        )


def costs(server: Server, asked: dict[str, Ask], filled: Filled) -> dict[str, Cost]:
    """Return what each read costs."""
    with Reader(server.url) as client:
        client.has_workers()
        return {name: _cost(server, client, filled, ask) for name, ask in asked.items()}


def _cost(server: Server, client: Reader, filled: Filled, ask: Ask) -> Cost:
    seconds, slowest = [], []
    for _ in range(REPEATS):
        client.trips.clear()
        with SlowLog(server, over_us=0) as log:
            began = time.perf_counter()
            ask(client, filled)
            seconds.append(time.perf_counter() - began)
        slowest.append(log.slowest_ms)
    return Cost(len(client.trips), sum(client.trips), min(seconds), min(slowest), statistics.median(slowest))
