"""Log lines carry what they are about, and nobody can forge one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from headrace_worker import logs
from headrace_worker.context import current_run


@pytest.fixture(autouse=True)
def _own_configuration() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    current_run.set(None)


def test_a_line_of_a_run_names_run_job_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside its text, under names of their own."""
    logs.configure("json")
    current_run.set({"run": "e1:a/j", "job": "a/j", "event_id": "e1"})
    structlog.get_logger("test").info("text", more=1)
    line = json.loads(capsys.readouterr().err)
    assert {name: line[name] for name in ("event", "run", "job", "event_id", "more", "level")} == {
        "event": "text", "run": "e1:a/j", "job": "a/j", "event_id": "e1", "more": 1, "level": "info",
    }  # fmt: skip


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_can_t_begin_a_line(log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks and control characters in values are escaped."""
    logs.configure(log_format)
    structlog.get_logger("test").info("text", name="a\nworker started\x1b[31m")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b[31m" not in text


def test_less_than_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """From the level named on."""
    logs.configure("json", "warning")
    structlog.get_logger("test").info("text")
    assert capsys.readouterr().err == ""
