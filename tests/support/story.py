"""A chaos history in which everything went well, until a test changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.faults.chaos.checker import Report, Rules, check
from tests.faults.chaos.history import (
    Acknowledged,
    AnyLine,
    Began,
    Canceled,
    Counted,
    Ended,
    FinalEvent,
    FinalRun,
    History,
    Named,
    Remains,
    Sending,
    Settled,
    in_order,
)

RULES = Rules(
    {"app/doomed": "failed"}, lease_s=2, grace_s=3, slack_s=5, blocking=("app/blocking",), holding=("app/holding",)
)
ONE, TWO = 101, 102
"""The pids of two workers."""


def at(seconds: float) -> Any:
    """Return a moment so many seconds after the start, by both clocks."""
    return {"at": float(seconds), "ms": 1_000_000 + round(seconds * 1000)}


def ms(seconds: float) -> int:
    """Return that moment by the server's clock."""
    moment: int = at(seconds)["ms"]
    return moment


class Story:
    """A history in which everything went well, until a test changes it.

    `now` was sent for now, `later` at 1 s for 3 s, `dropped` at 1 s for 9 s and canceled at 2 s; each has a run of
    `app/job`. `bad` ends in failure. `step 1` to `step 3` have an ordering key. ONE executed everything.
    """

    def __init__(self) -> None:
        self.lines: list[AnyLine] = [Named(**at(0), pid=ONE, name="one"), Named(**at(0), pid=TWO, name="two")]
        self.events: dict[str, FinalEvent] = {}
        self.dead: list[str] = []
        self.open: dict[str, int] = {"events": 0}
        self.send("now", 1.0)
        self.run("now", 1.01)
        self.send("later", 1.0, delay_s=2.0)
        self.run("later", 3.01)
        self.send("dropped", 1.0, delay_s=8.0)
        self.lines.append(Canceled(**at(2.0), id="dropped"))
        self.events["dropped"] = FinalEvent("dropped", "canceled", due_ms=ms(9.0))
        self.send("bad", 1.0, jobs=("app/doomed",))
        self.run("bad", 1.02, job="app/doomed", status="failed")
        for number in (1, 2, 3):
            self.send(f"step {number}", 1.0 + number / 10, key="key")
            self.run(f"step {number}", 1.0 + number / 10 + 0.05)

    def send(
        self, event: str, when: float, *, delay_s: float = 0.0, jobs: tuple[str, ...] = ("app/job",), key: str = ""
    ) -> None:  # fmt: skip
        """Add an event that was sent and acknowledged 10 ms later, and its record says delivered."""
        delay_ms = round(delay_s * 1000)
        due_ms = ms(when) + delay_ms if delay_ms else 0
        self.lines.append(Sending(**at(when), id=event, name="asked", jobs=jobs, delay_ms=delay_ms, key=key))
        delivered_ms = 0 if delay_ms else ms(when)
        self.lines.append(Acknowledged(**at(when + 0.01), id=event, due_ms=due_ms, delivered_ms=delivered_ms))
        self.events[event] = FinalEvent(event, "settled", (), due_ms, due_ms + 2 if due_ms else delivered_ms)

    def call(self, event: str, when: float, *, pid: int = ONE, job: str = "app/job", until: float | None = 0.0) -> None:
        """Add a call of a function, which returns 5 ms later unless the test says otherwise."""
        worker = {ONE: "one", TWO: "two"}[pid]
        began = Began(**at(when), event=event, job=job, attempt=1, pid=pid, worker=worker)
        self.lines.append(began)
        if until is not None:
            end = at(until or when + 0.005)
            self.lines.append(Ended(**end, event=event, job=job, pid=pid, began=began.at, how="returned"))

    def settle(self, event: str, when: float, *, job: str = "app/job", status: str = "succeeded") -> None:
        """Add the run to the listing of runs."""
        self.lines.append(Settled(**at(when), run=f"{event}:{job}", status=status))

    def run(self, event: str, when: float, *, job: str = "app/job", status: str = "succeeded") -> None:
        """Add the run's call and its settle, and its state in the record."""
        self.call(event, when, job=job)
        self.settle(event, when + 0.01, job=job, status=status)
        record = self.events[event]
        self.events[event] = msgspec.structs.replace(record, runs=(*record.runs, FinalRun(job, status)))
        if status == "failed":
            self.dead.append(f"{event}:{job}")

    def drop(self, kind: type, event: str) -> None:
        """Remove the lines of that kind for the event."""
        names = {event, f"{event}:app/job"}
        self.lines = [
            line
            for line in self.lines
            if not (isinstance(line, kind) and names & {getattr(line, name, "") for name in ("id", "event", "run")})
        ]

    def change(self, event: str, **changes: Any) -> None:
        """Change the event's record."""
        self.events[event] = msgspec.structs.replace(self.events[event], **changes)

    def checked(self, counted: Counted | None = None) -> Report:
        """Return the checker's report."""
        remains = Remains(self.events, tuple(self.dead), self.open, counted)
        return check(History(in_order(self.lines), remains), RULES)


def broken(report: Report) -> Sequence[tuple[str, str]]:
    return sorted((violation.rule, violation.subject) for violation in report.violations)
