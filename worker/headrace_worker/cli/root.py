"""The command `headrace` itself: its commands by noun; it turns their errors into a line and an exit code.

0: done. 1: the command failed: not found, failed, not settled, not canceled, no server. 2: wrong usage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from headrace import ConfigurationError, HeadraceError, InvalidArgument
from headrace_worker import __version__
from headrace_worker.cli.app import app
from headrace_worker.cli.completion import completion
from headrace_worker.cli.dev import dev
from headrace_worker.cli.send import send
from headrace_worker.cli.worker import worker
from headrace_worker.commands.audit import audit
from headrace_worker.commands.dead import dead
from headrace_worker.commands.delayed import delayed
from headrace_worker.commands.doctor import doctor
from headrace_worker.commands.events import events
from headrace_worker.commands.index import index
from headrace_worker.commands.jobs import jobs
from headrace_worker.commands.queues import queues
from headrace_worker.commands.runs import runs
from headrace_worker.commands.stats import stats, top
from headrace_worker.commands.workers import workers
from headrace_worker.errors import DefinitionError, StartRefused
from headrace_worker.logs.writer import write_last_line
from headrace_worker.process import log_setup
from headrace_worker.terminal.output import is_dumb, printable

_LAST_LINE_S = 2.0
_INTERRUPTED = 130
"""The exit code that shells expect after Ctrl-C: 128 and the number of SIGINT."""
_WRONG_USAGE = (ConfigurationError, InvalidArgument, DefinitionError, StartRefused)


class CommandFailed(click.ClickException):
    """The command failed; one line says why."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))

    def show(self, _file: Any = None) -> None:
        """Print the message, without waiting for a reader of the log that stands still."""
        write_last_line(f"Error: {self.format_message()}\n", _LAST_LINE_S)


class WrongUsage(CommandFailed):
    """The command can't be done as it was given; one line says what to change."""

    exit_code = 2


class Root(click.Group):
    """The command to which all commands belong; its help lists them by what they are for."""

    def format_options(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line a command, under what it is for, and one for the options: together less than a screen."""
        first = max(map(len, COMMANDS)) + 2
        width = formatter.width - first - max(map(len, self.commands)) - 2
        rows = [
            (f"{'' if place else purpose:{first}}{each.name}", each.get_short_help_str(width))
            for purpose, commands in COMMANDS.items()
            for place, each in enumerate(commands)
        ]
        formatter.write_paragraph()
        formatter.write_dl(rows)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments before the command."""
        try:
            context = super().make_context(*args, **kwargs)
        except click.UsageError as exc:
            raise _usage_failure(exc) from exc
        if os.environ.get("NO_COLOR") or is_dumb():  # rich looks by itself, click does not
            context.color = False
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn an error of Headrace into one line."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as exc:
            raise _usage_failure(exc) from exc
        except HeadraceError as exc:
            raise (WrongUsage if isinstance(exc, _WRONG_USAGE) else CommandFailed)(str(exc)) from exc
        except KeyboardInterrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except BrokenPipeError:  # the reader of the output is gone; click ends quietly
            raise
        except (OSError, UnicodeError, RecursionError, MemoryError) as exc:
            raise _own_failure(exc) from exc


def _usage_failure(exc: click.UsageError) -> WrongUsage:
    command = exc.ctx.command_path if exc.ctx is not None else "headrace"
    return WrongUsage(f"{exc.format_message().rstrip('.')}{_variable_of(exc)}; see {command} --help")


def _variable_of(exc: click.UsageError) -> str:
    """Return a hint for an error: the environment variable of a wrong value; empty if the value is from elsewhere."""
    parameter = getattr(exc, "param", None)
    if exc.ctx is None or parameter is None:
        return ""
    if exc.ctx.get_parameter_source(parameter.name) is not ParameterSource.ENVIRONMENT:
        return ""
    return f" (in the environment, as {parameter.envvar})"


def _own_failure(exc: Exception) -> CommandFailed:
    """Return the line about a failure of the system or of this process."""
    if isinstance(exc, FileNotFoundError) and exc.filename is None and not _has_current_folder():
        return WrongUsage("the current folder does not exist any more; change to one that does")
    if isinstance(exc, OSError) and exc.strerror:
        return CommandFailed(f"{exc.filename}: {exc.strerror}" if exc.filename is not None else exc.strerror)
    if isinstance(exc, RecursionError):
        return CommandFailed("a value is nested too deeply to be read or shown")
    return CommandFailed(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__)


def _has_current_folder() -> bool:
    try:
        return Path(os.getcwd()).is_dir()  # noqa: PTH109 - Path.cwd() is what is checked
    except OSError:
        return False


@click.group(
    cls=Root,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="Options: --version, -h, --help. Settings may be in the environment too.",
)
@click.version_option(__version__, message="headrace %(version)s")
def root() -> None:
    """Event-driven jobs on Redis Streams. Try it: `headrace dev jobs:app`."""
    log_setup.configure_by_environment()  # before the code of an app or a codec is imported


COMMANDS: dict[str, list[click.Command]] = {
    "Run": [worker, dev, send, app],
    "Look": [doctor, top, stats, delayed, index, audit],
    "Act": [events, runs, jobs, queues, workers, dead],
    "Shell": [completion],
}
"""Every command, by what it is for."""
for _commands in COMMANDS.values():
    for _command in _commands:
        root.add_command(_command)
