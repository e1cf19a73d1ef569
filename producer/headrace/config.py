"""Checks the settings of a client, and reads from the environment those that were not given. Pure but for that."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar, overload

from headrace.errors import ConfigurationError, InvalidArgument, InvalidEvent
from headrace.formats.headers import MadeHeaders, merge_headers
from headrace.formats.keys import check_name
from headrace.formats.outgoing import check_text
from headrace.formats.partitions import Partitions, check_partitions
from headrace.model.event import DEFAULT_SOURCE
from headrace.model.moments import seconds_of
from headrace.model.retention import Retention
from headrace.transport.urls import read_url

T = TypeVar("T")


class Lazy(Generic[T]):
    """A setting of an object that is found when it is first asked for; threads that find it at once all get the first.

    It is found once: afterwards it is a plain attribute of the object.
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self.__doc__ = find.__doc__
        self._find = find
        self._name = find.__name__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> Self | T:
        if owner is None:
            return self
        found: T = vars(owner).setdefault(self._name, self._find(owner))
        return found


def resolve_url(url: str | None) -> str:
    """Return the URL given, or HEADRACE_URL; raise ConfigurationError that says what to set, or what is wrong."""
    if url is not None and url != "":
        read_url(url)
        return url
    found = os.environ.get("HEADRACE_URL", "").strip()
    if not found:
        raise ConfigurationError(
            "no server is named: pass url='redis://host:6379/0' (--url to a command), or set HEADRACE_URL; "
            "for one on this machine, `headrace dev` starts its own and prints its URL"
        )
    with _named("HEADRACE_URL"):
        read_url(found)
    return found


def resolve_namespace(namespace: str | None) -> str:
    """Return the namespace given, or HEADRACE_NAMESPACE, or `default`."""
    if namespace is not None and namespace != "":
        return check_name("namespace", namespace)
    with _named("HEADRACE_NAMESPACE"):
        return check_name("namespace", os.environ.get("HEADRACE_NAMESPACE", "") or "default")


def resolve_partitions(partitions: int | None) -> int:
    """Return the number given, or HEADRACE_PARTITIONS, or 1; raise ConfigurationError for what is no number."""
    if partitions is not None:
        return check_partitions(partitions)
    found = os.environ.get("HEADRACE_PARTITIONS", "").strip() or "1"
    with _named("HEADRACE_PARTITIONS"):
        return check_partitions(int(found) if re.fullmatch("[0-9]{1,9}", found) else found)


@contextmanager
def _named(variable: str) -> Iterator[None]:
    """Name the variable of the environment in the error about a setting that was read from it."""
    try:
        yield
    except ConfigurationError as exc:
        raise ConfigurationError(f"{variable} in the environment: {exc}") from None


def resolve(namespace: str | None, partitions: int | None) -> Partitions:
    """Return the partitions of the namespace that the arguments or the environment name."""
    return Partitions(resolve_namespace(namespace), resolve_partitions(partitions))


def check_retention(retention: object) -> Retention:
    """Return the retention, or raise ConfigurationError where it is none."""
    if isinstance(retention, Retention):
        return retention
    raise ConfigurationError(f"retention must be a Retention, not {retention!r}")


def check_source(source: object) -> str:
    """Return the source of events that give none, or raise ConfigurationError that says its rule."""
    if source is None:
        return DEFAULT_SOURCE
    try:
        return check_text("source", source, None)
    except InvalidEvent as exc:
        raise ConfigurationError(f"source {exc.reason}") from None


def check_headers(headers: Mapping[str, str] | MadeHeaders | None) -> dict[str, str] | MadeHeaders | None:
    """Return the headers of a client's events, or what makes them; raise ConfigurationError that says the rule."""
    if headers is None:
        return None
    if callable(headers) and not inspect.iscoroutinefunction(headers):
        return headers
    try:
        return merge_headers(None, headers)
    except InvalidEvent as exc:
        raise ConfigurationError(f"{exc.field} {exc.reason}; or give a function that returns such a mapping") from None


def check_positive(name: str, count: object) -> int:
    """Return the number that a setting is, or raise ConfigurationError that says its rule."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"{name} must be a whole number from 1 on, not {count!r}")
    return count


def call_timeout_s(timeout: object) -> float:
    """Return how long a call may take, possibly for ever, or raise InvalidArgument."""
    given_s = seconds_of(timeout)
    if given_s is None or not given_s > 0:  # as NaN is not
        raise InvalidArgument("timeout", f"must be seconds above 0 or a timedelta, not {timeout!r}")
    return given_s


def check_timeout(timeout: float | timedelta | None) -> float | None:
    """Return how long each call may take, None where its attempts alone end it, or raise ConfigurationError."""
    try:
        return None if timeout is None else call_timeout_s(timeout)
    except InvalidArgument as exc:
        raise ConfigurationError(f"timeout {exc.reason}") from None
