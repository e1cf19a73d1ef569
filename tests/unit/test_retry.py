"""The wait before another attempt is what the formula says, within its bounds, and bad settings name themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace_worker import Abort, DefinitionError, Retry, RetryAfter


def _no_jitter(**settings: Any) -> Retry:
    return Retry(jitter=False, **settings)


def test_the_waits_are_those_of_the_formula() -> None:
    """The first two waits are `min_delay`, then each is `factor` times the one before, up to `max_delay`."""
    retry = _no_jitter()
    waits = [retry.delay_s(failures, lambda: 0.5) for failures in range(1, 10)]
    assert waits == [1, 1, 1.8, 1.8**2, 1.8**3, 1.8**4, 1.8**5, 1.8**6, 60]


@pytest.mark.parametrize(("drawn", "r"), [(0.0, 1.0), (0.25, 1.25), (0.999, 1.999)])
def test_jitter_stretches_a_wait_up_to_twice(drawn: float, r: float) -> None:
    """The factor r is 1 and what was drawn, and the whole is still cut at `max_delay`."""
    retry = Retry(min_delay=2, factor=3, max_delay=30)
    assert [retry.delay_s(n, lambda: drawn) for n in (1, 2, 3, 4)] == [2 * r, 2 * r, 6 * r, min(30, 18 * r)]


def test_without_jitter_nothing_is_drawn() -> None:
    """The wait does not depend on the random source."""
    assert _no_jitter().delay_s(3, lambda: pytest.fail("drew a number")) == 1.8


@pytest.mark.parametrize("failures", [1_000_000, 10**9])
def test_growth_without_end_stops_at_the_longest_wait(failures: int) -> None:
    """What no float can hold is `max_delay`; nothing of nothing stays nothing."""
    assert Retry(factor=2).delay_s(failures, lambda: 0.5) == 60
    assert _no_jitter(factor=1.0001).delay_s(failures, lambda: 0.5) == 60
    assert Retry(min_delay=0).delay_s(failures, lambda: 0.5) == 0
    assert _no_jitter(factor=1).delay_s(failures, lambda: 0.5) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", True),
        ("max_attempts", 2.0),
        ("max_attempts", None),
        ("min_delay", -1),
        ("min_delay", "1"),
        ("max_delay", float("nan")),
        ("max_delay", float("inf")),
        ("max_delay", True),
        ("factor", 0.9),
        ("factor", None),
    ],
)
def test_bad_settings_are_refused_by_name(field: str, value: object) -> None:
    """The error names the field and shows the value."""
    with pytest.raises(DefinitionError, match=rf"Retry\.{field} must be .*, not {value!r}"):
        Retry(**{field: value})  # type: ignore[arg-type]


def test_a_shortest_wait_above_the_longest_is_refused() -> None:
    """It would be the longest, 60 seconds, for one who has given the shortest alone."""
    with pytest.raises(DefinitionError, match=r"Retry.min_delay is 300 s and above Retry.max_delay, 60 s; give both"):
        Retry(min_delay=300)
    with pytest.raises(DefinitionError, match=r"Retry.min_delay is 1 s and above Retry.max_delay, 0.5 s; give both"):
        Retry(max_delay=timedelta(seconds=0.5))
    assert Retry(min_delay=timedelta(minutes=1)).delay_s(1, lambda: 0.5) == 60


def test_a_job_may_ask_for_a_time_of_its_own() -> None:
    """RetryAfter takes seconds or a timedelta, within a year, and says what it asked for."""
    assert RetryAfter(1.5).delay_s == 1.5
    assert RetryAfter(timedelta(minutes=2)).delay_s == 120
    assert str(RetryAfter(90)) == "asked for another attempt in 90 s"
    assert str(RetryAfter(90, "the API says so")) == "the API says so"
    assert str(Abort()) == "aborted by the job"
    for seconds in (-1, float("nan"), 367 * 86_400):
        with pytest.raises(ValueError, match="must be 0 seconds to a year"):
            RetryAfter(seconds)


def test_delays_can_be_timedeltas() -> None:
    """They count as their seconds."""
    retry = Retry(min_delay=timedelta(seconds=3), max_delay=timedelta(minutes=1), jitter=False)
    assert retry == Retry(min_delay=3, max_delay=60, jitter=False)


@pytest.mark.parametrize("field", ["min_delay", "max_delay"])
@pytest.mark.parametrize("value", [1e300, 10**400, float("nan"), timedelta.max, timedelta(-1), "3"], ids=str)
def test_a_delay_past_its_bounds_is_refused(field: str, value: Any) -> None:
    """0 to 100 years, as for all that waits."""
    with pytest.raises(DefinitionError, match=rf"Retry\.{field} must be 0 to 100 years"):
        Retry(**{field: value})
