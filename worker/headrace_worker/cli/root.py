"""The command `headrace` itself: its commands by noun, and how what they raise becomes a line and an exit code.

0: done. 1: what was asked for is not so: not found, failed, not settled, not canceled, no server. 2: asked wrongly.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from headrace import ConfigurationError, HeadraceError, InvalidArgument
from headrace_worker import __version__
from headrace_worker.cli.dead import dead
from headrace_worker.cli.dev import dev
from headrace_worker.cli.events import events
from headrace_worker.cli.runs import runs
from headrace_worker.cli.send import send
from headrace_worker.cli.worker import worker
from headrace_worker.errors import DefinitionError, StartRefused
from headrace_worker.logs.writer import write_last_line

_LAST_LINE_S = 2.0
_INTERRUPTED = 130
"""The exit code that shells expect of what Ctrl-C has ended: 128 and the number of SIGINT."""
_WRONG_QUESTIONS = (ConfigurationError, InvalidArgument, DefinitionError, StartRefused)


class NotSo(click.ClickException):
    """What was asked for did not come true; one line says why."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, _file: Any = None) -> None:
        """Print the message; a worker that ends does not wait for a reader of its log that stands still."""
        write_last_line(f"Error: {self.format_message()}\n", _LAST_LINE_S)


class AskedWrongly(NotSo):
    """What was asked for can't be done by anyone; one line says what to change."""

    exit_code = 2


class Root(click.Group):
    """The command that all others belong to."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parses what stands before the command."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as exc:
            raise _usage_failure(exc) from exc

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what Headrace raises becomes one line."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as exc:
            raise _usage_failure(exc) from exc
        except HeadraceError as exc:
            raise (AskedWrongly if isinstance(exc, _WRONG_QUESTIONS) else NotSo)(str(exc)) from exc
        except KeyboardInterrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except BrokenPipeError:  # whoever read the output has seen enough; click ends quietly
            raise
        except (OSError, UnicodeError, RecursionError, MemoryError) as exc:
            raise _own_failure(exc) from exc


def _usage_failure(exc: click.UsageError) -> AskedWrongly:
    command = exc.ctx.command_path if exc.ctx is not None else "headrace"
    return AskedWrongly(f"{exc.format_message().rstrip('.')}{_variable_of(exc)}; see {command} --help")


def _variable_of(exc: click.UsageError) -> str:
    """Returns which variable of the environment a wrong value stands in, to be added to an error; empty if in none."""
    parameter = getattr(exc, "param", None)
    if exc.ctx is None or parameter is None:
        return ""
    if exc.ctx.get_parameter_source(parameter.name) is not ParameterSource.ENVIRONMENT:
        return ""
    return f" (in the environment, as {parameter.envvar})"


def _own_failure(exc: Exception) -> NotSo:
    """Returns the line about what the system, or this process, could not do."""
    if isinstance(exc, FileNotFoundError) and exc.filename is None and not _has_current_folder():
        return AskedWrongly("the current folder does not exist any more; change to one that does")
    if isinstance(exc, OSError) and exc.strerror:
        return NotSo(f"{exc.filename}: {exc.strerror}" if exc.filename is not None else exc.strerror)
    if isinstance(exc, RecursionError):
        return NotSo("a value is nested too deeply to be read or shown")
    return NotSo(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__)


def _has_current_folder() -> bool:
    try:
        return Path(os.getcwd()).is_dir()  # noqa: PTH109 - Path.cwd() is what is being judged
    except OSError:
        return False


@click.group(
    cls=Root,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="Settings can be given in the environment too; help texts name the variables.",
)
@click.version_option(__version__, message="headrace %(version)s")
def root() -> None:
    """Headrace: event-driven jobs on Redis Streams.

    \b
    Try it on this machine:
      headrace dev jobs:app
    In production, with HEADRACE_URL set:
      headrace worker jobs:app --processes 4
      headrace send new.user '{"userId": "u_1"}'
    """


for _command in (worker, dev, send, events, runs, dead):
    root.add_command(_command)
