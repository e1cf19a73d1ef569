"""Shows what a run of chaos came to, for people as a table and for machines as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.faults.chaos.checker import Report

_MOST_SHOWN = 30
RULES = (
    "lost", "not delivered", "settled twice", "called twice", "early", "too late", "dead letters", "metrics",
    "left over", "out of order", "two at once", "begun while paused", "over the limit", "run while disabled",
    "called when canceled",
)  # fmt: skip
"""The rules that the table names even when nothing breaks them."""


class ChaosResult(msgspec.Struct, frozen=True):
    """A run of chaos: what it was made of, and what it came to."""

    seed: int
    duration_s: float
    server: str
    report: Report

    @property
    def is_sound(self) -> bool:
        """No rule is broken."""
        return not self.report.violations

    @property
    def faults(self) -> int:
        """How many faults were injected, of all kinds."""
        return sum(self.report.faults.values())

    def table(self) -> str:
        """Return the counts, a line each, and what breaks a rule."""
        report = self.report
        sections: dict[str, Mapping[str, object]] = {
            "counts": report.counts,
            f"faults: {self.faults}": report.faults,
            "calls beyond one": report.repeats,
            "excused by losses of power": {name: count for name, count in report.excused.items() if count},
            "lateness of delayed events, ms": report.lateness_ms,
            "from the loss of a worker to the next call, s": report.recovery_s,
            "broken rules": {rule: report.broken(rule) for rule in (*RULES, *self._other_rules())},
        }
        lines = [f"seed {self.seed} · {self.duration_s:g} s · {self.server}"]
        for title, counts in sections.items():
            lines += ["", title, *(f"  {name:<36} {_shown(value)}" for name, value in counts.items())]
        for violation in report.violations[:_MOST_SHOWN]:
            lines.append(f"  {violation.rule}: {violation.subject!r}: {violation.detail}")
        broken = len(report.violations)
        lines += ["", f"{broken} violations: a promise is broken" if broken else "sound: no promise is broken"]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """The file holds all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    def _other_rules(self) -> list[str]:
        return sorted({violation.rule for violation in self.report.violations} - set(RULES))


def _shown(value: object) -> str:
    return f"{value:>10,}" if isinstance(value, int) else f"{value:>10,.2f}" if isinstance(value, float) else str(value)
