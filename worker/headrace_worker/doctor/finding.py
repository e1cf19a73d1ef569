"""A finding, and all that were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace import HeadraceError, PermissionMissing
from headrace.plans.read import is_wrong_type

Severity = Literal["error", "warning", "info"]
"""error: events or runs stand still, or may be lost. warning: they may come to that. info: worth knowing."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
_SPARE = frozenset({"server", "appendfsync", "rights", "dead letters", "records"})
"""What a worker's or a viewer's user may not ask, or need not: what runs does not depend on it."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Attributes:
        check: the short name of what was looked at; the same for every finding of its kind.
        says: what is wrong, in one line.
        facts: what was found, for programs; times in seconds.
        mend: the command or the setting that mends it.
    """

    severity: Severity
    check: str
    says: str
    facts: dict[str, Any]
    mend: str


class NotLookedAt(msgspec.Struct, frozen=True):
    """What could not be looked at, and why."""

    check: str
    why: str


class Diagnosis(msgspec.Struct, frozen=True):
    """What was found, the worst first.

    Attributes:
        findings: none if all is well with what was looked at.
        not_looked_at: what the user may not ask, or could not be asked.
    """

    findings: list[Finding]
    not_looked_at: list[NotLookedAt]

    def count(self, severity: Severity) -> int:
        """Return how many findings have this severity."""
        return sum(each.severity == severity for each in self.findings)


class Notes:
    """Collects findings, and answers that are none."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._missed: dict[NotLookedAt, None] = {}
        self._denied: dict[str, None] = {}
        self._failed: dict[str, None] = {}

    @property
    def denied(self) -> list[str]:
        """What has to be looked at, and the user may not ask."""
        return list(self._denied)

    @property
    def failed(self) -> list[str]:
        """What has to be looked at, and could not be asked for another reason."""
        return list(self._failed)

    def has(self, check: str) -> bool:
        """Return whether there is a finding of this kind."""
        return any(each.check == check for each in self._findings)

    def add(self, severity: Severity, check: str, says: str, mend: str, **facts: Any) -> None:
        """Take a finding, once."""
        finding = Finding(severity, check, says, facts, mend)
        if finding not in self._findings:
            self._findings.append(finding)

    def miss(self, check: str, why: str) -> None:
        """Take what could not be looked at, and why, once."""
        self._missed[NotLookedAt(check, why)] = None

    def refused(self, check: str, key: str, error: HeadraceError) -> None:
        """Take an error that came in place of an answer about a key."""
        if is_wrong_type(error):
            self.add(
                "error", "foreign", f"something else than Headrace has written {key}, which has a foreign type",
                f"find the program that writes there; then DEL '{key}'", key=key,
            )  # fmt: skip
        else:
            self.left_out(check, error)

    def left_out(self, check: str, error: HeadraceError) -> None:
        """Take the error for which something could not be looked at."""
        is_denied = isinstance(error, PermissionMissing)
        why = f"the user may not ask: {str(error).partition('; deploy/acl')[0]}" if is_denied else str(error)
        self.miss(check, why)
        if check not in _SPARE and not is_wrong_type(error):  # what is foreign is a finding already
            (self._denied if is_denied else self._failed)[check] = None

    def diagnosis(self) -> Diagnosis:
        """Return all of it, the worst first, otherwise in the order in which it was found."""
        found = sorted(self._findings, key=lambda each: SEVERITIES.index(each.severity))
        return Diagnosis(found, list(self._missed))


def runs_are(count: int) -> str:
    """Return how many runs there are, to go on with where they are."""
    return "1 run is" if count == 1 else f"{count:,} runs are"


def runs(count: int, one: str, several: str) -> str:
    """Return how many runs do something, which is said of one and of several."""
    return f"1 run {one}" if count == 1 else f"{count:,} runs {several}"


def named(names: Sequence[str], most: int = 3) -> str:
    """Return a few of several names, as text."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
