"""The server of a command: its options, passed to the command as settings or as an open client."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import msgspec
from click.core import ParameterSource

from headrace import ConfigurationError, InvalidArgument, PayloadCodec
from headrace_worker.operate.app_client import AppClient
from headrace_worker.process.loading import load_codec
from headrace_worker.terminal.options import F, option

P = ParamSpec("P")
R = TypeVar("R")


class Server(msgspec.Struct, frozen=True):
    """The settings of a command's server, as given; the library finds a setting that is None."""

    url: str | None
    namespace: str | None
    partitions: int | None

    def open_client(self, codec: PayloadCodec | None = None) -> AppClient:
        """Return the client of a command; to be closed."""
        return AppClient(self.url, namespace=self.namespace, partitions=self.partitions, codec=codec)


def with_server(command: Callable[Concatenate[Server, P], R]) -> Callable[..., R]:
    """Give the command the server's options, and a Server as its first argument."""

    @functools.wraps(command)
    def call(*args: Any, **given: Any) -> R:
        context = click.get_current_context()
        named = {name: given.pop(name) for name in ("url", "namespace", "partitions")}
        for name in named:
            if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
                named[name] = None  # the library finds it there too, and names the variable if the value is wrong
        try:
            return command(Server(**named), *args, **given)
        except InvalidArgument as exc:
            exc.args = (_by_options(exc, context.command),)
            raise

    return _server_options(call)


_NAME = re.compile(r"(?<![\w'\"])[a-z]+(?:_[a-z]+)+(?![\w'\"])")
"""Matches a name of Python's with several words; what was given stands in quotes."""


def _by_options(exc: InvalidArgument, command: click.Command) -> str:
    """Return what is wrong with an argument, with the command's options in the place of Python's names for them."""
    options = {each.name: each.opts[0] for each in command.params if isinstance(each, click.Option)}
    text = str(exc)
    if text.startswith(f"{exc.field}: ") and exc.field in options:
        text = options[exc.field] + text.removeprefix(exc.field)
    return _NAME.sub(lambda found: options.get(found[0], found[0]), text)


def with_client(command: Callable[Concatenate[AppClient, P], R]) -> Callable[..., R]:
    """Give the command the options of the server and of its codec, and a client that is closed afterwards."""

    @with_server
    @_codec_option
    @functools.wraps(command)
    def call(server: Server, /, *args: Any, codec: PayloadCodec | None, **given: Any) -> R:
        with server.open_client(codec) as client:
            return command(client, *args, **given)

    return call


def with_bare_client(command: Callable[Concatenate[AppClient, P], R]) -> Callable[..., R]:
    """Do as `with_client`, without a codec: for a command that has to do with no payload and no error of a run."""

    @with_server
    @functools.wraps(command)
    def call(server: Server, /, *args: Any, **given: Any) -> R:
        with server.open_client() as client:
            return command(client, *args, **given)

    return call


def namespace_option(command: F) -> F:
    """Give the command the option `namespace`."""
    return option(
        "--namespace", envvar="HEADRACE_NAMESPACE", metavar="NAME", help="Whose events and runs.  [default: default]"
    )(command)


def _server_options(command: F) -> F:
    url = option(
        "--url",
        envvar="HEADRACE_URL",
        metavar="URL",
        help="Server: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://.",
    )
    partitions = option(
        "--partitions",
        envvar="HEADRACE_PARTITIONS",
        metavar="N",
        type=int,
        help="Into how many the namespace is divided; the same everywhere.  [default: 1]",
    )
    return url(namespace_option(partitions(command)))


def _codec_option(command: F) -> F:
    return option(
        "--codec",
        envvar="HEADRACE_CODEC",
        metavar="MODULE:OBJECT",
        type=_parse_codec,
        help="What seals and opens payloads; without it sealed ones are shown as such.",
    )(command)


def _parse_codec(target: str) -> PayloadCodec:
    try:
        return load_codec(target)
    except ConfigurationError as exc:  # a ValueError, from which click would only show the given value
        raise click.BadParameter(str(exc)) from exc
