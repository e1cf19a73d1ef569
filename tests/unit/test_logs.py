"""Log lines carry the ids of their run, and nothing that came from outside can forge one."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog

from headrace.formats.keys import Keys
from headrace_worker.current_run import current_run
from headrace_worker.logs import logger
from headrace_worker.process import log_setup
from headrace_worker.protocol.delivery import Delivery, decode_delivery
from headrace_worker.protocol.reading import queue_stream
from headrace_worker.run.io import JobIO
from headrace_worker.run.port import RunPort

HOSTILE = "line\n2026-01-01 [info] forged \x1b[31m\r\u2028\x85 \ud800 end"


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_json_is_one_line_for_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    """With time, level and what was given; values stay what they are."""
    log_setup.configure("json")
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
    log_setup.configure("console")
    structlog.get_logger().info("hello", **given)
    structlog.get_logger().info(HOSTILE)
    written = capsys.readouterr().err
    assert written.count("\n") == 2
    assert len(written.splitlines()) == 2
    assert "\x1b[31m" not in written
    assert "\\n" in written


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch, log_format: log_setup.LogFormat) -> None:
    """Its end included, so that lines of processes that write to one place don't mix."""
    writes: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", writes.append)
    monkeypatch.setattr(sys, "stderr", stream)
    log_setup.configure(log_format)
    structlog.get_logger().info("hello")
    assert len(writes) == 1
    assert writes[0].endswith("\n")


def test_text_in_any_language_is_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what can't be printed is."""
    log_setup.configure("console")
    structlog.get_logger().info("Grüße", name="日本語")
    (line,) = _lines(capsys)
    assert "Grüße" in line
    assert "日本語" in line


def test_an_exception_is_part_of_its_line_or_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the traceback as one field, people get it as it is."""
    for log_format in ("json", "console"):
        log_setup.configure(log_format)
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
def test_no_exception_forges_a_line(capsys: pytest.CaptureFixture[str], log_format: log_setup.LogFormat) -> None:
    """Its message may hold what looks like a line: for people each line of it stands behind a bar."""
    log_setup.configure(log_format)
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
    log_setup.configure("console")
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
    log_setup.configure("json", "warning")
    logger = structlog.get_logger()
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    assert [json.loads(line)["event"] for line in _lines(capsys)] == ["c", "d"]


def test_off_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless people's lines are asked for."""
    log_setup.configure()
    structlog.get_logger().info("hello")
    assert json.loads(_lines(capsys)[0])["event"] == "hello"


def _delivery() -> Delivery:
    queue = queue_stream(Keys("default"), "app", "default")
    return decode_delivery(queue, (b"1-0", [b"e", b"e", b"j", b"job", b"s", b"", b"b", b"."]))


def _in_run(call: Any) -> None:
    context = contextvars.copy_context()
    context.run(current_run.set, _delivery())
    context.run(call)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_every_line_of_a_run_has_its_ids(capsys: pytest.CaptureFixture[str], log_format: Any) -> None:
    """Of a logger of one's own too, and in a thread that has the run's context; outside there are none."""
    log_setup.configure(log_format)

    def thread() -> None:
        call = contextvars.copy_context().run
        started = threading.Thread(target=lambda: call(structlog.get_logger().info, "in a thread"))
        started.start()
        started.join()

    port = RunPort("redis://localhost:1")
    _in_run(lambda: structlog.get_logger().info("plain"))
    _in_run(lambda: structlog.get_logger("named").bind(run="another").info("bound"))
    _in_run(lambda: JobIO(_delivery(), port).logger.info("through io"))
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


class _Unshowable:
    def __repr__(self) -> str:
        raise SystemExit


class _UnshowableError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class _Unlistable(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


class _Unreadable(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        raise RuntimeError("len")


def _circle() -> list[Any]:
    circle: list[Any] = [1]
    circle.append(circle)
    return circle


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


VALUES: dict[str, Any] = {
    "keys": {(1, 2): 3, b"b": 4, None: 5, float("nan"): 6, _Unshowable(): 7},
    "circle": _circle(),
    "deep": _deep(),
    "unshowable": _Unshowable(),
    "inside": [{"a": _Unshowable()}, {1: _UnshowableError()}],
    "unlistable": _Unlistable(a=1),
    "unreadable": _Unreadable(),
    "surrogate": "\udc80 \ud800",
    "long": 10**10_000,
    "long inside": {10**10_000: [10**10_000]},
    "bytes": b"\xff\n",
    "set": {1},
    "datetime": dt.datetime(2026, 1, 31, tzinfo=dt.UTC),
    "nan": [float("nan"), float("inf"), 1.5],
    "class": _Unshowable,
}


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_is_shown_as_far_as_it_can_be(
    capsys: pytest.CaptureFixture[str], log_format: log_setup.LogFormat, value: Any
) -> None:
    """The line is there, with its other fields; it is one line, and in JSON such as any reader takes."""
    log_setup.configure(log_format)
    structlog.get_logger().info("seen", value=value, other=17)
    (line,) = _lines(capsys)
    assert "seen" in line
    assert "17" in line
    assert "value" in line
    if log_format == "json":
        assert json.loads(line, parse_constant=pytest.fail)["other"] == 17


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("event", [None, 3, b"x", {"a": 1}, _Unshowable(), _UnshowableError(), _circle()])
def test_any_value_can_be_the_text_of_a_line(
    capsys: pytest.CaptureFixture[str], log_format: log_setup.LogFormat, event: Any
) -> None:
    """It is shown like that of a field."""
    log_setup.configure(log_format)
    structlog.get_logger().info(event, other=17)
    (line,) = _lines(capsys)
    assert "17" in line


def test_what_json_can_hold_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what it can't."""
    log_setup.configure("json")
    value = {"a": [1, 1.5, None, True, "x", (1, 2)], 7: b"\xff", "not a number": float("nan"), "circle": _circle()}
    structlog.get_logger().info("seen", value=value)
    assert json.loads(_lines(capsys)[0])["value"] == {
        "a": [1, 1.5, None, True, "x", [1, 2]],
        "7": "b'\\xff'",
        "not a number": "NaN",
        "circle": [1, "…"],
    }


def _chain() -> BaseException:
    try:
        try:
            raise _UnshowableError  # noqa: TRY301 - it needs a traceback
        except _UnshowableError as exc:
            raise SyntaxError("bad", ("f.py", 1, 2, 3)) from exc  # type: ignore[arg-type]
    except SyntaxError as exc:
        return exc


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_any_exception_is_shown_as_far_as_it_can_be(
    capsys: pytest.CaptureFixture[str], log_format: log_setup.LogFormat
) -> None:
    """Its type and frames at least, and those of its cause."""
    log_setup.configure(log_format)
    structlog.get_logger().error("failed", exc_info=_chain())
    try:
        raise _UnshowableError  # noqa: TRY301 - it needs a traceback
    except _UnshowableError:
        structlog.get_logger().exception("failed")
    written = capsys.readouterr().err
    assert written.count("SyntaxError: bad") == 1
    assert written.count("_UnshowableError: <") == 2
    assert written.count("in _chain") == 2


@pytest.mark.parametrize("exc_info", [True, (1, 2), (None, None, None), "yes", _Unshowable()])
def test_exc_info_may_be_anything(capsys: pytest.CaptureFixture[str], exc_info: Any) -> None:
    """The line is there."""
    log_setup.configure("json")
    structlog.get_logger().error("failed", exc_info=exc_info)
    assert json.loads(_lines(capsys)[0])["event"] == "failed"


def test_a_call_whose_arguments_do_not_fit_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Text and arguments stand side by side; a field of a name that structlog needs gets an underscore."""
    log_setup.configure("json")
    logger = structlog.get_logger()
    logger.info("n is %d", 5)
    logger.info("n is %d", "five")
    logger.info("%s", _Unshowable())
    logger.log(30, "n is %d", "five")
    logger.info("seen", event={"id": 1}, self=2, level="mine")
    fine, unfit, unshowable, by_level, named = (json.loads(line) for line in _lines(capsys))
    assert fine["event"] == "n is 5"
    assert unfit["event"] == "n is %d ('five',)"
    assert "that can't be shown" in unshowable["event"]
    assert (by_level["event"], by_level["level"]) == ("n is %d ('five',)", "warning")
    assert (named["event"], named["event_"], named["self_"], named["level"]) == ("seen", {"id": 1}, 2, "info")


async def test_awaited_log_calls_raise_nothing_either(capsys: pytest.CaptureFixture[str]) -> None:
    """`ainfo` and its like."""
    log_setup.configure("json")
    await structlog.get_logger().ainfo("n is %d", "five", value=_Unshowable())
    assert json.loads(_lines(capsys)[0])["event"] == "n is %d ('five',)"


@pytest.mark.parametrize("stderr", [None, io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
def test_logging_needs_no_standard_error(monkeypatch: pytest.MonkeyPatch, stderr: Any) -> None:
    """A process may be started without, and a stream may not know the characters of a line."""
    monkeypatch.setattr(sys, "stderr", stderr)
    log_setup.configure("console")
    before = logger.lost_lines()
    structlog.get_logger().info("日本語")
    assert (logger.lost_lines() > before) == (stderr is None)


def test_records_without_a_handler_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Python itself would write asyncio's to standard error, and wait there for a reader that stands still."""
    log_setup.configure("json")
    record = logging.LogRecord(
        "asyncio", logging.ERROR, "f.py", 1, "lost %s", ("task",), (ValueError, ValueError("x"), None)
    )
    unfit = logging.LogRecord("other", logging.WARNING, "f.py", 1, "%d", ("x",), None)
    assert logging.lastResort is not None
    logging.lastResort.handle(record)
    logging.lastResort.handle(unfit)
    unfit.msg = _Unshowable()
    logging.lastResort.handle(unfit)
    first, second, third = (json.loads(line) for line in _lines(capsys))
    assert (first["event"], first["level"], first["logger"]) == ("lost task", "error", "asyncio")
    assert "ValueError: x" in first["exception"]
    assert (second["event"], second["level"]) == ("%d ('x',)", "warning")
    assert "that can't be shown" in third["event"]


class _Finalized:
    def __del__(self) -> None:
        raise ValueError("in a finalizer")


def _raise() -> None:
    raise ValueError("in a thread")


def test_what_python_reports_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings, and exceptions of finalizers and threads: it would wait for the reader of standard error with them."""
    log_setup.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    _Finalized()
    thread = threading.Thread(target=_raise)
    thread.start()
    thread.join()
    warned, finalized, ended = (json.loads(line) for line in _lines(capsys))
    assert (warned["event"], warned["level"], warned["category"]) == ("old", "warning", "UserWarning")
    assert "test_logs.py" in warned["place"]
    assert "in a finalizer" in finalized["exception"]
    assert "in a thread" in ended["exception"]


def test_a_stack_is_a_block_below_its_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """As an exception is; as JSON it is a part of the one line."""
    log_setup.configure("console")
    structlog.get_logger().warning("stands still", fault="blocked", stack="  File a\n    b()")
    line, *stack = _lines(capsys)
    assert "fault=blocked" in line
    assert stack == ["  |   File a", "  |     b()"]
    log_setup.configure("json")
    structlog.get_logger().warning("stands still", stack="  File a\n    b()")
    (line,) = _lines(capsys)
    assert json.loads(line)["stack"] == "  File a\n    b()"


def test_a_list_of_texts_is_plain_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """And a list in JSON."""
    log_setup.configure("console")
    structlog.get_logger().info("started", queues=["default"], counts=[1])
    assert "counts=[1] queues=default" in capsys.readouterr().err
    log_setup.configure("json")
    structlog.get_logger().info("started", queues=["default"])
    assert json.loads(capsys.readouterr().err)["queues"] == ["default"]


@contextlib.contextmanager
def _bare_root() -> Iterator[None]:
    """Take the handlers from the root logger, as it has none in a worker's process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


def test_debug_is_not_that_of_all_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    """It comes of those whose logger has the level itself."""
    library, wanted = logging.getLogger("library.of_others"), logging.getLogger("library.wanted")
    wanted.setLevel(logging.DEBUG)
    with _bare_root():
        log_setup.configure("json", "debug")
        for logs in (library, wanted):
            logs.debug("detail")
            logs.info("news")
    structlog.get_logger().debug("ours")
    lines = [json.loads(line) for line in _lines(capsys)]
    assert [(line.get("logger"), line["event"]) for line in lines] == [
        ("library.of_others", "news"), ("library.wanted", "detail"), ("library.wanted", "news"), (None, "ours"),
    ]  # fmt: skip
    wanted.setLevel(logging.NOTSET)
