"""Log lines carry the ids of their run, and nothing that came from outside can forge one."""

from __future__ import annotations

import contextvars
import io
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from headrace.keys import Keys
from headrace_worker import logs
from headrace_worker.context import IO, Sender, current_run
from headrace_worker.delivery import decode_delivery
from headrace_worker.protocol import queue_stream

HOSTILE = "line\n2026-01-01 [info] forged \x1b[31m\r\u2028\x85 \ud800 end"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_json_is_one_line_for_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    """With time, level and what was given; values stay what they are."""
    logs.configure("json")
    structlog.get_logger().info("hello", text=HOSTILE, number=1, nested={"a": [HOSTILE]})
    structlog.get_logger().warning(HOSTILE)
    first, second = capsys.readouterr().err.rstrip("\n").split("\n")
    line = json.loads(first)
    assert (line["event"], line["level"], line["number"]) == ("hello", "info", 1)
    assert line["text"] == HOSTILE
    assert line["nested"] == {"a": [HOSTILE]}
    assert line["timestamp"].endswith("Z")
    assert json.loads(second)["event"] == HOSTILE


@pytest.mark.parametrize("given", [{"text": HOSTILE}, {"nested": {HOSTILE: [HOSTILE]}}, {"event_id": HOSTILE, "n": 1}])
def test_no_value_breaks_a_line_for_people(capsys: pytest.CaptureFixture[str], given: dict[str, Any]) -> None:
    """Line breaks and control characters are escaped, in the text and in values, at any depth."""
    logs.configure("console")
    structlog.get_logger().info("hello", **given)
    structlog.get_logger().info(HOSTILE)
    written = capsys.readouterr().err
    assert written.count("\n") == 2
    assert len(written.splitlines()) == 2
    assert "\x1b[31m" not in written
    assert "\\n" in written


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch, log_format: logs.LogFormat) -> None:
    """Its end included, so that lines of processes that write to one place don't mix."""
    writes: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", writes.append)
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(log_format)
    structlog.get_logger().info("hello")
    assert len(writes) == 1
    assert writes[0].endswith("\n")


def test_text_in_any_language_is_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what can't be printed is."""
    logs.configure("console")
    structlog.get_logger().info("Grüße", name="日本語")
    (line,) = _lines(capsys)
    assert "Grüße" in line
    assert "日本語" in line


def test_an_exception_is_part_of_its_line_or_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the traceback as one field, people get it as it is."""
    for log_format in ("json", "console"):
        logs.configure(log_format)
        try:
            raise ValueError("no")  # noqa: TRY301 - it needs a traceback
        except ValueError:
            structlog.get_logger().exception("failed")
        written = capsys.readouterr().err
        assert "ValueError: no" in written
        if log_format == "json":
            assert "Traceback" in json.loads(written)["exception"]


class _Hostile(Exception):
    def __repr__(self) -> str:
        return HOSTILE


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_exception_forges_a_line(capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat) -> None:
    """Its message may hold what looks like a line: for people each line of it stands behind a bar."""
    logs.configure(log_format)
    try:
        raise ValueError(HOSTILE)  # noqa: TRY301 - it needs a traceback
    except ValueError:
        structlog.get_logger().exception("failed", value=_Hostile(), **{HOSTILE: 1})
    first, *others = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "failed" in first
    assert all(line.startswith("  | ") for line in others)
    assert all(part.isprintable() for part in (first, *others))
    assert any("forged" in line for line in others) or log_format == "json"


def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """They may hold payloads; rich, where it is installed, would show them."""
    logs.configure("console")
    payload = {"card": 4_000 + 71}
    try:
        payload["number"]
    except KeyError:
        structlog.get_logger().exception("failed")
    written = capsys.readouterr().err
    assert "KeyError: 'number'" in written
    assert "4071" not in written


def test_the_level_is_a_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines below it are not written."""
    logs.configure("json", "warning")
    logger = structlog.get_logger()
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    assert [json.loads(line)["event"] for line in _lines(capsys)] == ["c", "d"]


def test_off_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless people's lines are asked for."""
    logs.configure()
    structlog.get_logger().info("hello")
    assert json.loads(_lines(capsys)[0])["event"] == "hello"


def _in_run(call: Any) -> None:
    context = contextvars.copy_context()
    queue = queue_stream(Keys("default"), "app", "default")
    context.run(current_run.set, decode_delivery(queue, (b"1-0", [b"e", b"e", b"j", b"job", b"s", b"", b"b", b"."])))
    context.run(call)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_every_line_of_a_run_has_its_ids(capsys: pytest.CaptureFixture[str], log_format: Any) -> None:
    """Of a logger of one's own too, and in a thread that has the run's context; outside there are none."""
    logs.configure(log_format)

    def thread() -> None:
        call = contextvars.copy_context().run
        started = threading.Thread(target=lambda: call(structlog.get_logger().info, "in a thread"))
        started.start()
        started.join()

    sender = Sender("redis://localhost:1", "test")
    _in_run(lambda: structlog.get_logger().info("plain"))
    _in_run(lambda: structlog.get_logger("named").bind(run="another").info("bound"))
    _in_run(lambda: IO("e:app/job", sender).logger.info("through io"))
    _in_run(thread)
    structlog.get_logger().info("outside")
    plain, bound, through_io, threaded, outside = _lines(capsys)
    for line in (plain, through_io, threaded):
        assert "e:app/job" in line
        assert "event_id" in line
    assert "another" in bound
    assert "app/job" not in outside
    if log_format == "json":
        assert json.loads(plain) | {"timestamp": ""} == {
            "event": "plain", "run": "e:app/job", "job": "app/job", "event_id": "e", "level": "info", "timestamp": "",
        }  # fmt: skip
