"""Options of several commands: JSON as output, the form of the log, and values that are checked when parsed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_args

import click
import msgspec

from headrace.formats.keys import is_name
from headrace.model.moments import MAX_DURATION_S
from headrace_worker.process.log_setup import LEVELS, LogFormat
from headrace_worker.terminal.output import print_note

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhd]?)")


class _Option(click.Option):
    """An option whose name in an error is what was typed; `cli.root` names a variable if the value is from there."""

    def get_error_hint(self, _ctx: click.Context | None) -> str:
        """Return the names of the option."""
        return " / ".join(f"'{name}'" for name in self.opts)


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Return a click option whose help names its environment variable, if it has one.

    Only settings have one, which hold for all that is called in a shell or a container. An argument of one command must
    not: as HEADRACE_SEND_ID it would make every later send a duplicate.
    """
    return click.option(*names, **{"cls": _Option, "show_envvar": True, **settings})


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return what gives a command these options and arguments, which its help lists in this order."""

    def give(command: Any) -> Any:
        for each in reversed(options):
            command = each(command)
        return command

    return give


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


def timeout_option(command: F) -> F:
    """Give the command the option `timeout`, in seconds."""
    return option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=30,
        show_default=True,
        help="Seconds to wait at most.",
    )(command)


def stop_option(command: F) -> F:
    """Give the command the option `wait_s`: how long to wait for the functions of canceled runs to end."""
    return option(
        "--wait",
        "wait_s",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        help="Wait so long, for each 200, for the functions of runs that execute to end.",
    )(command)


def job_option(text: str) -> Callable[[F], F]:
    """Give the command the option `job`: `<app>/<job id>`, or None."""
    return option("--job", metavar="APP/JOB", type=_parse_job, help=text)


def _parse_job(text: str) -> str:
    if not _is_pair(text):
        raise click.BadParameter(f"{text!r} does not name an app and its job, as in billing/welcome")
    return text


def queue_option(text: str) -> Callable[[F], F]:
    """Give the command the option `queue`: `<app>/<queue>`, or None."""
    return option("--queue", metavar="APP/QUEUE", type=_parse_queue, help=text)


def _parse_queue(text: str) -> str:
    if not _is_pair(text):
        raise click.BadParameter(f"{text!r} does not name an app and its queue, as in billing/default")
    return text


def _is_pair(text: str) -> bool:
    app, _, name = text.partition("/")
    return is_name(app) and is_name(name)


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


def parse_duration(text: str) -> float:
    """Return a duration in seconds: a number of them, or one with its unit, such as 30m, 2h or 3d."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration such as 90, 30m, 2h or 3d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > MAX_DURATION_S:
        raise click.BadParameter(f"{text!r} is longer than 100 years")
    return seconds


def parse_ago(text: str) -> datetime:
    """Return the point in time: as `parse_time` does, or so long ago, as in 2h."""
    return _relative(text, -1)


def parse_ahead(text: str) -> datetime:
    """Return the point in time: as `parse_time` does, or so far ahead, as in 2h."""
    return _relative(text, 1)


def _relative(text: str, sign: int) -> datetime:
    if not _DURATION.fullmatch(text) or text[-1].isdecimal():
        return _moment(text, ", nor a duration such as 30m, 2h or 3d")
    return datetime.now(UTC) + sign * timedelta(seconds=parse_duration(text))


def time_options(happened: str, *, ahead: bool = False) -> Callable[[F], F]:
    """Give the command the options `since` and `until`, of which the first is not later than the second.

    Args:
        happened: what the times are compared with, as in `was sent`.
        ahead: times such as `2h` are in the future.
    """
    parse = parse_ahead if ahead else parse_ago
    example = "a time, or how far ahead, such as 2h" if ahead else "a time, or how long ago, such as 2h"

    def check(context: click.Context, parameter: click.Parameter, value: datetime | None) -> datetime | None:
        given = {**context.params, str(parameter.name): value}
        since, until = given.get("since"), given.get("until")
        if since is not None and until is not None and since > until:
            raise click.BadParameter("--since is later than --until, so nothing is between them")
        if parameter.name == "since" and not ahead and value is not None and value > datetime.now(UTC):
            print_note("--since is in the future: nothing has happened since then")
        return value

    later, before = f"Only what {happened} then or later: {example}.", f"Only what {happened} then or before."
    return together(
        option("--since", metavar="TIME", type=parse, callback=check, help=later),
        option("--until", metavar="TIME", type=parse, callback=check, help=before),
    )


def parse_header(text: str) -> tuple[str, str]:
    """Return name and text of a header, which is written as in HTTP."""
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise click.BadParameter(f"{text!r} is no header such as 'traceparent: 00-4bf9…-01'")
    return name.strip(), value.strip()


def parse_time(text: str) -> datetime:
    """Return the point in time, which must have an offset from UTC."""
    return _moment(text)


def _moment(text: str, or_else: str = "") -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is no time such as 2026-01-31T09:00:00Z{or_else}") from exc
    if moment.utcoffset() is None:
        raise click.BadParameter(f"{text!r} does not say in which zone; end it with Z for UTC, or with an offset")
    return moment
