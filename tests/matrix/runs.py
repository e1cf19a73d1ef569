"""Runs the tests on one server with one Python, and reads how it went."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from tests.matrix import pythons, servers
from tests.matrix.home import HOME, ROOT, NotToBeHad
from tests.matrix.plan import Meeting
from tests.support.versions import version_of

_MARKS = {"all": "not slow", "core": "uses_server and not slow"}


class Result(msgspec.Struct, frozen=True):
    """How the tests went on one server with one Python."""

    meeting: Meeting
    version: str = ""
    passed: int = 0
    failed: tuple[str, ...] = ()
    """The tests that failed."""
    skipped: Counter[str] = Counter()
    """Why tests were skipped, and how many for each reason."""
    seconds: float = 0.0
    trouble: str = ""
    """Why the tests did not run to their end, if they did not."""

    @property
    def is_good(self) -> bool:
        """Whether tests have run, and all that did have passed."""
        return self.passed > 0 and not self.failed and not self.trouble


def run(meeting: Meeting, options: Sequence[str]) -> Result:
    """Run the tests, whose output goes where this process's does, and returns how they went."""
    try:
        python = pythons.provide(meeting.python)
        binary = servers.provide(servers.SERVERS[meeting.server])
    except NotToBeHad as exc:
        return Result(meeting, trouble=str(exc))
    version = version_of(binary)[1]
    print(f"\n{meeting.server} ({version}) with Python {meeting.python}: {meeting.scope}", flush=True)
    report = HOME / "reports" / f"{meeting.server}-python-{meeting.python}.xml"
    report.unlink(missing_ok=True)
    began = time.monotonic()
    code = subprocess.run(
        [python, "-m", "pytest", "-q", "-n", "3", "-m", _MARKS[meeting.scope], f"--junitxml={report}", *options],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_TEST_SERVER": str(binary)},
        check=False,
    ).returncode
    seconds = time.monotonic() - began
    if not report.is_file():
        return Result(meeting, version, seconds=seconds, trouble=f"pytest ended with {code}, without a report")
    passed, failed, skipped = read_report(report)
    trouble = f"pytest ended with {code}" if code and not failed else ""
    return Result(meeting, version, passed, failed, skipped, seconds, trouble)


def read_report(report: Path) -> tuple[int, tuple[str, ...], Counter[str]]:
    """Return how many tests passed, the names of those that failed, and how many were skipped for each reason."""
    passed: set[str] = set()
    failed: dict[str, None] = {}
    skipped: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed[name] = None
        elif (skip := case.find("skipped")) is not None:
            skipped[skip.get("message") or "no reason"] += 1
        else:
            passed.add(name)
    # A test that passed and whose clean-up failed is there twice.
    return len(passed - failed.keys()), tuple(failed), skipped
