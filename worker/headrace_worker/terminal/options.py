"""Options of several commands: JSON as output, the form of the log, and values that are checked when parsed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, get_args

import click
import msgspec

from headrace.formats.keys import is_name
from headrace_worker.process.log_setup import LEVELS, LogFormat

_SECONDS_OF = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MOST_DIGITS = 9

F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Return a click option whose help names its environment variable, if it has one.

    Only settings have one, which hold for all that is called in a shell or a container. An argument of one command must
    not: as HEADRACE_SEND_ID it would make every later send a duplicate.
    """
    return click.option(*names, **{"show_envvar": True, **settings})


def json_option(command: F) -> F:
    """Give the command the option `as_json`."""
    return option("--json", "as_json", envvar="HEADRACE_JSON", is_flag=True, help="Print JSON, for machines.")(command)


def log_options(command: F) -> F:
    """Give the command the options `log_format` and `log_level`."""
    log_format = option(
        "--log-format",
        envvar="HEADRACE_LOG_FORMAT",
        type=click.Choice(get_args(LogFormat)),
        default="auto",
        show_default=True,
        help="auto: lines for people on a terminal, JSON otherwise.",
    )
    log_level = option(
        "--log-level",
        envvar="HEADRACE_LOG_LEVEL",
        type=click.Choice(LEVELS),
        default="info",
        show_default=True,
        help="The least that is logged.",
    )
    return log_format(log_level(command))


def job_option(text: str) -> Callable[[F], F]:
    """Give the command the option `job`: `<app>/<job id>`, or None."""
    return option("--job", metavar="APP/JOB", type=_parse_job, help=text)


def _parse_job(text: str) -> str:
    app, _, job_id = text.partition("/")
    if not (is_name(app) and is_name(job_id)):
        raise click.BadParameter(f"{text!r} does not name an app and its job, as in billing/welcome")
    return text


def parse_json(text: str | bytes) -> Any:
    """Return the value that is written as JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as exc:
        hint = f"; a string needs its quotes: '\"{text}\"'" if isinstance(text, str) and text.isalnum() else ""
        raise click.BadParameter(f"it is not JSON: {exc}{hint}") from exc


def parse_json_or_stdin(text: str) -> Any:
    """Return the value that is written as JSON, on standard input if the text is `-`."""
    return parse_json(sys.stdin.buffer.read() if text == "-" else text)


def parse_header(text: str) -> tuple[str, str]:
    """Return name and text of a header, which is written as in HTTP."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise click.BadParameter(f"{text!r} is no header such as 'traceparent: 00-4bf9…-01'")
    return name.strip(), value.strip()


def parse_duration(text: str | float) -> float:
    """Return the seconds of a duration such as 90s, 30m, 6h or 1d."""
    if isinstance(text, float):
        return text
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _SECONDS_OF else (text, "s")
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        raise click.BadParameter(f"{text!r} is no duration such as 90s, 30m, 6h or 1d")
    return float(int(number) * _SECONDS_OF[unit])


def parse_time(text: str) -> datetime:
    """Return the point in time, which must have an offset from UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is no time such as 2026-01-31T09:00:00Z") from exc
    if moment.utcoffset() is None:
        raise click.BadParameter(f"{text!r} does not say in which zone; end it with Z for UTC, or with an offset")
    return moment
