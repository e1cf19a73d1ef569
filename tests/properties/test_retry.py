"""A wait between attempts stays within its bounds, whatever the settings."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from headrace.formats.codec import RunState
from headrace_worker import Retry
from headrace_worker.run.outcome import Failed, RetryLater, after_exception, after_unknown_job, unknown_for_ms

DELAYS = st.floats(0, 1e9, allow_subnormal=False) | st.integers(0, 10**9)
BOUNDS = st.tuples(DELAYS, DELAYS).map(sorted)
RETRIES = st.builds(
    lambda bounds, **settings: Retry(min_delay=bounds[0], max_delay=bounds[1], **settings),
    BOUNDS,
    max_attempts=st.integers(1, 100),
    factor=st.floats(1, 1e6) | st.integers(1, 10**6),
    jitter=st.booleans(),
)
DRAWS = st.floats(0, 1, exclude_max=True)
FAILURES = st.integers(1, 50) | st.integers(1, 10**12)


def waits_of(retry: Retry) -> tuple[float, float]:
    """The shortest and the longest, in seconds."""
    assert not isinstance(retry.min_delay, timedelta)
    assert not isinstance(retry.max_delay, timedelta)
    return retry.min_delay, retry.max_delay


@given(RETRIES, FAILURES, DRAWS)
def test_a_wait_is_never_longer_than_the_longest_nor_shorter_than_the_shortest(
    retry: Retry, failures: int, drawn: float
) -> None:
    """It is between `min_delay` and `max_delay`."""
    wait = retry.delay_s(failures, lambda: drawn)
    shortest, longest = waits_of(retry)
    assert shortest <= wait <= longest


@given(RETRIES, FAILURES, st.integers(0, 100), DRAWS)
def test_waits_never_get_shorter(retry: Retry, failures: int, more: int, drawn: float) -> None:
    """The more failures, the longer; with jitter the same draw compares them."""
    assert retry.delay_s(failures, lambda: drawn) <= retry.delay_s(failures + more, lambda: drawn)


@given(RETRIES, st.integers(1, 20), DRAWS)
def test_a_wait_is_what_the_formula_says(retry: Retry, failures: int, drawn: float) -> None:
    """Written down once more, by multiplying; up to rounding."""
    shortest, longest = waits_of(retry)
    wait = shortest * ((1 + drawn) if retry.jitter else 1)
    for _ in range(failures - 2):
        wait *= retry.factor
    expected = min(longest, wait)
    assert abs(retry.delay_s(failures, lambda: drawn) - expected) <= 1e-9 * expected


@given(RETRIES, st.integers(1, 200), st.integers(0, 5), st.integers(0, 1))
def test_attempts_are_as_many_as_allowed(retry: Retry, attempt: int, lost: int, replay: int) -> None:
    """A failure is followed by the next attempt, with everything else as it was, exactly while there are any left."""
    state = RunState(attempt, lost, 0, replay)
    outcome = after_exception(ValueError(), timed_out=False, retry=retry, state=state, draw=lambda: 0.5)
    if attempt < retry.max_attempts:
        assert isinstance(outcome, RetryLater)
        assert outcome.state == RunState(attempt + 1, lost, 0, replay)
        assert outcome.delay_s <= waits_of(retry)[1]
    else:
        assert isinstance(outcome, Failed)


@given(st.integers(1, 2**50), st.lists(st.integers(0, 10**7), max_size=20), st.integers(1, 9))
def test_waits_for_an_unknown_job_are_bounded_and_count_nothing(first_ms: int, gaps: list[int], attempt: int) -> None:
    """One to sixty seconds, and the time since when it is unknown stays, however late its entries come."""
    state, queued_ms = RunState(attempt=attempt, lost=1, replay=1), first_ms
    for gap in gaps:
        outcome = after_unknown_job("a/b", state, queued_ms, give_up=False)
        assert isinstance(outcome, RetryLater)
        assert 1 <= outcome.delay_s <= 60
        state, queued_ms = outcome.state, queued_ms + round(outcome.delay_s * 1000) + gap
        assert state == RunState(attempt, 1, first_ms, 1)
        assert unknown_for_ms(state, queued_ms) == queued_ms - first_ms
