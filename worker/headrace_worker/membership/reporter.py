"""What a worker reports with the renewals of its lease: what became of its runs, and what it says of itself.

Nothing is reported of a run by itself. A report that fails is repeated with the next renewal; what a process that is
killed had not reported is missing.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headrace import __version__
from headrace.calls.call import Call
from headrace_worker.clock import monotonic
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.member import Member
from headrace_worker.protocol.reporting import report

_FACTS_EVERY = 3
_STATM = Path("/proc/self/statm")


class Reporter:
    """Makes the report of each renewal in one partition, if there is anything to report. It knows no connection."""

    def __init__(self, member: Member, in_flight: InFlight) -> None:
        setup = member.setup
        self._keys = member.server.keys
        self._app = setup.app.name
        self._identity = member.identity
        self._counts = member.counts
        self._in_flight = in_flight
        self._unconfirmed = Counter[str]()
        self._since = monotonic()
        self._renewals = 0
        self._name = ""
        self._state = ""
        self._known_state = ""
        self._ahead_s = 0.0
        self._fixed = {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "version": __version__,
            "app_version": setup.app.version or "",
            "python": platform.python_version(),
            "slots": str(in_flight.slots),
            "limits": " ".join(f"{each.name}={each.concurrency}" for each in setup.definitions if each.concurrency),
        }

    def calls(self, name: str) -> list[Call[int]]:
        """Return the report under a worker's name: with its facts at each third renewal, or if its state is new."""
        if name != self._name:
            self._name, self._renewals, self._known_state = name, 0, ""
        self._state = self._identity.state
        has_facts = self._renewals % _FACTS_EVERY == 0 or self._state != self._known_state
        self._renewals += 1
        return self._report(self._facts() if has_facts else {})

    def last_calls(self) -> list[Call[int]]:
        """Return the report of a worker that is about to leave."""
        return self._report({})

    def _report(self, facts: dict[str, str]) -> list[Call[int]]:
        self._unconfirmed += self._counts.take()
        counts = {f"{self._app}/{field}": count for field, count in self._unconfirmed.items()}
        if not (counts or facts):
            return []
        minute = int((monotonic() + self._ahead_s) // 60)
        age_ms = round((monotonic() - self._since) * 1000)
        return [report(self._keys, self._name, minute=minute, counts=counts, facts=facts, age_ms=age_ms)]

    def note(self, answers: Sequence[object]) -> None:
        """Note the answers to the calls: what was not taken is reported again."""
        if not any(isinstance(answer, Exception) for answer in answers):
            self._unconfirmed.clear()
            self._known_state = self._state

    def note_time(self, server_ahead_s: float) -> None:
        """Note the server's time, less the monotonic clock's."""
        self._ahead_s = server_ahead_s

    def _facts(self) -> dict[str, str]:
        in_flight, rss = str(len(self._in_flight.runs)), str(_resident_bytes())
        return {**self._fixed, "state": self._state, "in_flight": in_flight, "rss": rss}


def _resident_bytes() -> int:
    """Return the memory of this process, in bytes; where the system does not say it, the most that it has had."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
