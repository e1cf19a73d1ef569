"""Waiting for a condition ends with its first true value, or with an error that shows the last one."""

from __future__ import annotations

import pytest

from tests.support.waiting import WaitedInVain, await_until, wait_until


def test_the_first_true_value_is_returned() -> None:
    """False values are waited through."""
    values = iter([None, 0, "", "yes"])
    assert wait_until(lambda: next(values)) == "yes"


def test_a_condition_that_stays_false_fails_with_its_last_value() -> None:
    """The error says what was waited for, how long, and what it last was."""
    with pytest.raises(WaitedInVain, match=r"waited 0\.02 s in vain for the moon; the last value was \[\]"):
        wait_until(list, 0.02, what="the moon")


def test_without_words_the_condition_speaks_for_itself() -> None:
    """The error holds the source of the condition."""
    nothing = ""
    with pytest.raises(WaitedInVain, match="lambda: nothing"):
        wait_until(lambda: nothing, 0)


def test_only_named_errors_are_waited_through() -> None:
    """An error of a type in `ignoring` counts as not yet true; any other is raised at once."""
    answers = {"second": "yes"}
    asked = iter(["first", "second"])

    def ask() -> str:
        return answers[next(asked)]

    assert wait_until(ask, ignoring=(KeyError,)) == "yes"
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, ignoring=(KeyError,))
    with pytest.raises(WaitedInVain, match="ZeroDivisionError"):
        wait_until(lambda: 1 / 0, 0, ignoring=(ZeroDivisionError,))


async def test_conditions_may_be_async() -> None:
    """A plain and an async condition are awaited alike."""
    values = iter([0, 1, 0, 2])

    async def ask() -> int:
        return next(values)

    assert await await_until(ask) == 1
    assert await await_until(lambda: next(values)) == 2
    with pytest.raises(WaitedInVain, match="the last value was 0"):
        await await_until(lambda: 0, 0.02)
