"""The demo runs to its end by itself, shows what happens, and fails when something does not come out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from examples.demo import play as playing
from examples.demo.play import EXAMPLE, Progress, play
from examples.demo.view import print_summary
from examples.demo.watch import Change
from examples.demo.worker import DemoFailed
from tests.support.processes import Process, Processes


class NoViewer:
    """Shows nothing."""

    def show(self, changes: Sequence[Change], progress: Progress) -> None: ...


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses that are for a person who watches."""
    monkeypatch.setattr(playing, "_PACE_S", 0)
    monkeypatch.setattr(playing, "DUE_AFTER_S", 0.5)


def has_come_out(process: Process) -> bool:
    assert process.wait(60) == 0, process.output
    summary = "104 events, 100 of them webhooks, became 33 runs; 74 matched no job."
    return summary in process.output and "Everything came out as it should" in process.output


def test_a_person_sees_what_happens(processes: Processes) -> None:
    """On a terminal in a live table with colours, otherwise in plain lines; both end with a summary and exit code 0."""
    terminal = {"TERM": "xterm-256color", "COLUMNS": "100"}
    on_a_terminal = processes.python("-m", "tests.support.terminal", "-m", "examples.demo", env=terminal)
    beside = processes.python("-m", "examples.demo", env={"HEADRACE_WORKER_QUEUE": "one-of-mine"})
    assert has_come_out(on_a_terminal)
    assert has_come_out(beside)
    assert "\x1b[32m" in on_a_terminal.output
    assert "103/103 events sent" in on_a_terminal.output
    assert "\x1b" not in beside.output
    for line in (
        r"  (?:pending|dispatched|settled) +event review\.due: \d+ ms after its time$",
        r"  canceled   event review\.due$",
        r"  waiting    page-on-call for alert\.raised: jobs\.PagerUnavailable: .* attempt 2$",
        r"  succeeded  page-on-call for alert\.raised: in attempt 3$",
        r"^triage-bug +11 +11 +0 +0  ",
        r"^page-on-call +1 +1 +0 +1  ",
    ):
        assert re.search(line, beside.output, re.MULTILINE), line


@pytest.mark.usefixtures("quick")
def test_what_does_not_come_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A job with one event too many and a job that never succeeds each give a line."""
    folder = tmp_path / "github"
    shutil.copytree(EXAMPLE, folder)
    source = (folder / "jobs.py").read_text()
    wrong = source.replace('"README.md"', '"LICENSE"').replace("ctx.run.attempt < 3", "True")
    (folder / "jobs.py").write_text(wrong.replace("max_attempts=5, min_delay=0.5", "max_attempts=2, min_delay=0.05"))
    report = play(folder, NoViewer())
    text = "\n".join(report.faults)
    assert len(re.findall(r"\(github\.push\) should have a run of github/build-docs, and has none", text)) == 2
    assert re.search(r"run \S+:github/page-on-call is failed: jobs\.PagerUnavailable", text)
    assert "github/build-docs has no run at all" in text
    assert len(report.faults) == 4
    print_summary(report)
    assert capsys.readouterr().out.endswith("4 things did not come out as they should.\n")


@pytest.mark.usefixtures("quick")
def test_a_worker_that_can_t_start_is_said(tmp_path: Path) -> None:
    """At once, with the end of its log."""
    shutil.copytree(EXAMPLE, tmp_path / "github")
    (tmp_path / "github" / "jobs.py").write_text("import no_such_library\n")
    with pytest.raises(DemoFailed, match=r"exit code 2: .*no_such_library"):
        play(tmp_path / "github", NoViewer())


def test_ctrl_c_ends_it_with_all_that_it_has_started(processes: Processes) -> None:
    """The exit code is that of a program that SIGINT has ended."""
    process = processes.python("-m", "examples.demo")
    process.wait_for_line("events sent")
    process.interrupt()
    assert process.wait() == 130
