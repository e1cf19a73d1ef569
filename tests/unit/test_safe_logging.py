"""What the application has configured in structlog can neither raise into what logs nor keep it waiting."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace_worker.logs import logger
from headrace_worker.logs.guarded_logger import guarded_logger
from headrace_worker.logs.logger import get_logger, lost_lines
from headrace_worker.logs.writer import LOST
from headrace_worker.process import log_setup
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.reading import queue_stream
from headrace_worker.run.io import JobIO
from headrace_worker.run.port import RunPort

log = get_logger("headrace.test")


class Recorder:
    """An application's last processor: keeps each line, once it is let go on."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.threads: set[int] = set()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_called = threading.Event()

    def __call__(self, _logger: Any, method: str, line: Any) -> Any:
        self.is_called.set()
        self.goes_on.wait(20)
        self.threads.add(threading.get_ident())
        self.lines.append({**line, "method": method})
        raise structlog.DropEvent


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """That of an application which has configured structlog itself."""
    recorder = Recorder()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, recorder])
    yield recorder
    recorder.goes_on.set()


def _io() -> JobIO:
    delivery = Delivery(queue_stream(Keys("test"), "app", "default"), "1-0", "e", "job", RunState(), b"", 0)
    return JobIO(delivery, RunPort("redis://localhost:1"))


def _raise_for_warnings(_logger: Any, method: str, line: Any) -> Any:
    if method == "warning":
        raise SystemExit(3)
    return line


def test_lines_go_through_what_the_application_has_configured(recorder: Recorder) -> None:
    """In their order, with its context variables and the exception that was handled, in another thread."""
    with structlog.contextvars.bound_contextvars(tenant="t1"):
        log.info("first", number=1)
    error = ValueError("x")
    try:
        raise error
    except ValueError:
        log.exception("second")
    assert logger.flush(5)
    first, second = recorder.lines
    assert first == {"event": "first", "number": 1, "tenant": "t1", "method": "info"}
    assert (second["event"], second["exc_info"], second["method"]) == ("second", error, "error")
    assert threading.get_ident() not in recorder.threads


def test_a_processor_may_raise_anything(recorder: Recorder) -> None:
    """The line is lost, and the next one that can be logged is followed by one that says so."""
    structlog.configure(processors=[_raise_for_warnings, recorder])
    before = lost_lines()
    log.warning("lost")
    log.warning("lost")
    log.info("seen")
    assert logger.flush(5)
    assert lost_lines() == before + 2
    structlog.configure(processors=[recorder])
    log.info("seen")
    assert logger.flush(5)
    *seen, told = recorder.lines
    assert [line["event"] for line in seen] == ["seen", "seen"]
    assert (told["event"], told["lines"]) == (LOST, 2)


def test_a_factory_may_raise_anything() -> None:
    """There is no logger at all then."""

    def factory(*_names: Any) -> Any:
        raise KeyboardInterrupt

    structlog.configure(logger_factory=factory)
    before = lost_lines()
    log.info("lost")
    assert logger.flush(5)
    assert lost_lines() == before + 1


def test_a_processor_that_waits_keeps_nothing_waiting(recorder: Recorder) -> None:
    """Lines wait for it, a thousand at most; the others are lost and counted."""
    recorder.goes_on.clear()
    before = lost_lines()
    started = time.monotonic()
    log.info("line", number=0)
    assert recorder.is_called.wait(5)
    for number in range(1, 3000):
        log.info("line", number=number)
    assert time.monotonic() - started < 5
    assert not logger.flush(0.05)
    recorder.goes_on.set()
    assert logger.flush(5)
    lost = lost_lines() - before
    assert lost == 1999
    numbers = [line["number"] for line in recorder.lines if "number" in line]
    assert numbers == list(range(3000 - lost))
    assert sum(line["lines"] for line in recorder.lines if "lines" in line) == lost


def test_our_own_configuration_needs_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is written before the call returns."""
    log_setup.configure("json")
    log.info("hello")
    assert '"hello"' in capsys.readouterr().err


def test_what_changes_our_configuration_is_no_longer_trusted(recorder: Recorder) -> None:
    """Wherever the change is made, also in the list that structlog has."""
    log_setup.configure("json")
    structlog.get_config()["processors"][:] = [recorder]
    recorder.goes_on.clear()
    log.info("hello")
    recorder.goes_on.set()
    assert logger.flush(5)
    assert [line["event"] for line in recorder.lines] == ["hello"]


def test_captured_lines_are_there_at_once() -> None:
    """With `structlog.testing.capture_logs`, as tests of an application have it."""
    with capture_logs() as lines:
        log.warning("hello", number=1)
    assert lines == [{"event": "hello", "number": 1, "log_level": "warning"}]


def test_no_thread_to_log_from_loses_the_line(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line tries again."""

    def start(*_args: Any) -> int:
        raise RuntimeError("can't start new thread")

    logger._handed_over.start_afresh()
    before = lost_lines()
    with monkeypatch.context() as patch:
        patch.setattr("_thread.start_new_thread", start)
        log.info("lost")
    assert lost_lines() == before + 1
    log.info("seen")
    assert logger.flush(5)
    assert recorder.lines[0]["event"] == "seen"


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_log_call_needs_no_more_stack_than_any_call(monkeypatch: pytest.MonkeyPatch, *, is_ours: bool) -> None:
    """A job may set a recursion limit that is far too low; the line is lost, and what logs goes on."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    if is_ours:
        log_setup.configure("json")

    def nothing(*_args: Any) -> None:
        pass

    def fits(call: Any, room: int) -> bool:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(room)
        try:
            call("hello")
        except RecursionError:
            return False
        finally:
            sys.setrecursionlimit(limit)
        return True

    depth = next(room for room in range(1, 1000) if _can_set(room)) + 1
    rooms = range(depth, depth + 60)
    assert [fits(log.info, room) for room in rooms] == [fits(nothing, room) for room in rooms]


def _can_set(room: int) -> bool:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(room)
    except RecursionError:
        return False
    sys.setrecursionlimit(limit)
    return True


def _raise(_logger: Any, _method: str, _line: Any) -> Any:
    raise KeyError("tenant")


@pytest.mark.parametrize(
    "wrapper",
    [
        structlog.BoundLogger,
        structlog.make_filtering_bound_logger(0),
        structlog.stdlib.BoundLogger,
    ],
)
def test_a_jobs_logger_is_the_one_that_its_app_configured(recorder: Recorder, wrapper: Any) -> None:
    """An instance of its class, to bind to and to call with arguments by position."""
    structlog.configure(wrapper_class=wrapper)
    logger = _io().logger
    assert isinstance(logger, wrapper)
    ids = {"run": "e:app/job", "job": "app/job", "event_id": "e"}
    assert structlog.get_context(logger) == ids
    logger.bind(a=1).info("hello", b=2)
    assert recorder.lines == [{"event": "hello", **ids, "a": 1, "b": 2, "method": "info"}]


@pytest.mark.parametrize(
    "wrapper",
    [structlog.BoundLogger, structlog.make_filtering_bound_logger(0), structlog.stdlib.BoundLogger],
)
def test_the_logger_of_a_job_raises_nothing(wrapper: Any) -> None:
    """Whatever the application's processors do; the lines are counted."""
    structlog.configure(processors=[_raise], wrapper_class=wrapper)
    logger = _io().logger
    before = lost_lines()
    for each in (logger, logger.bind(a=1), logger.new(b=2), logger.try_unbind("a")):
        each.info("hello")
        each.error("hello", a=3)
        each.exception("hello")
    assert lost_lines() == before + 12


def test_a_factory_that_raises_leaves_a_job_a_logger() -> None:
    """It loses each line."""

    def factory(*_names: Any) -> Any:
        raise KeyboardInterrupt

    structlog.configure(logger_factory=factory)
    before = lost_lines()
    guarded_logger("headrace.job", {"run": "r"}).bind(a=1).info("hello %d", 1)
    assert lost_lines() == before + 1


def _fail_with_secret() -> None:
    secret = f"hunter{1 + 1}"
    raise ValueError(len(secret))


def test_without_a_configuration_no_traceback_shows_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """Structlog's own form would, with rich installed: secrets among them."""
    try:
        _fail_with_secret()
    except ValueError as exc:
        log.exception("handled")
        log.debug("given", exc_info=exc)
    assert logger.flush(5)
    shown = capsys.readouterr().out
    assert shown.count("ValueError: 7") == 2
    assert "_fail_with_secret" in shown
    assert "hunter2" not in shown


@pytest.mark.usefixtures("recorder")
def test_debug_is_shown_where_it_is_configured() -> None:
    """By the application, or for a worker; not by default, nor where a test captures lines."""
    assert logger.shows_debug()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    assert not logger.shows_debug()
    log_setup.configure(level="debug")
    assert logger.shows_debug()
    log_setup.configure(level="info")
    assert not logger.shows_debug()
    structlog.reset_defaults()
    assert not logger.shows_debug()
    with capture_logs():
        assert not logger.shows_debug()
