"""Runs several plans: side by side, or one after the other. A plan that fails holds up none of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from headrace.errors import CallError, HeadraceError
from headrace.plans.plan import Plan

T = TypeVar("T")
AT_ONCE = 25
"""A server carries out in one go what a client has sent, and serves no other meanwhile: so many scripts take a ms."""
CHEAP_AT_ONCE = 500
"""The server takes about as long for so many reads of a run, or deletions."""


def side_by_side(plans: Iterable[Plan[T]], at_once: int = AT_ONCE) -> Plan[list[T | HeadraceError]]:
    """Return the result of each plan in order, or the error that it has raised. To be run with `partial`.

    What so many of them ask for in the same step goes in one round trip, in their order; a plan with more steps falls
    behind. The next begin when these have ended.

    Raises:
        CallError: a round trip failed; what the plans have done so far is done.
    """
    begun = list(plans)
    results: list[T | HeadraceError] = []
    for first in range(0, len(begun), at_once):
        results += yield from _together(begun[first : first + at_once])
    return results


def _together(begun: Sequence[Plan[T]]) -> Plan[list[T | HeadraceError]]:
    results: dict[int, T | HeadraceError] = {}
    answers: dict[int, list[object] | None] = dict.fromkeys(range(len(begun)))
    while answers:
        asked = {}
        for place, answer in answers.items():
            try:
                asked[place] = begun[place].send(answer)  # type: ignore[arg-type]
            except StopIteration as done:
                results[place] = done.value
            except CallError:
                raise
            except HeadraceError as exc:
                results[place] = exc
        if not asked:
            break
        received = iter((yield [call for calls in asked.values() for call in calls]))
        answers = {place: [next(received) for _ in calls] for place, calls in asked.items()}
    return [results[place] for place in range(len(begun))]


def result_of(answer: T | HeadraceError) -> T:
    """Return a result, or raise the error that stands for it."""
    if isinstance(answer, HeadraceError):
        raise answer
    return answer


def one_by_one(plans: Iterable[Plan[T]]) -> Plan[list[T | HeadraceError]]:
    """Return what `side_by_side` does; no plan begins before the one before it has ended."""
    results: list[T | HeadraceError] = []
    for plan in plans:
        results += yield from side_by_side([plan])
    return results
