"""What an attempt comes to: another one while there are any, or the end, with an error that can always be recorded."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import RunError
from headrace.formats.codec import RunState, decode_outcome, encode_outcome
from headrace_worker import Abort, Retry, RetryAfter
from headrace_worker.run.outcome import (
    MAX_MESSAGE,
    MAX_TRACEBACK,
    Failed,
    RetryLater,
    TimedOut,
    after_exception,
    after_unknown_job,
    error_of,
    lost,
    unknown_for_ms,
)

TWICE = Retry(max_attempts=2, min_delay=3, jitter=False)


def _after(exc: BaseException, state: RunState, *, retry: Retry = TWICE, timed_out: bool = False) -> Any:
    return after_exception(exc, timed_out=timed_out, retry=retry, state=state, draw=lambda: 0.5)


def test_an_attempt_that_raised_is_followed_by_another_while_there_are_any() -> None:
    """The next attempt is one more, after the wait of `Retry`; replay and lost workers stay, being unknown is over."""
    outcome = _after(ValueError("no"), RunState(attempt=1, lost=2, unknown_since_ms=9, replay=1))
    assert isinstance(outcome, RetryLater)
    assert outcome.delay_s == 3
    assert outcome.state == RunState(attempt=2, lost=2, unknown_since_ms=0, replay=1)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "no")


@pytest.mark.parametrize("attempt", [2, 3, 99])
def test_the_last_attempt_that_raised_ends_the_run(attempt: int) -> None:
    """It has failed, or timed out if that is why; also where fewer attempts are allowed now than were made."""
    assert isinstance(_after(ValueError("no"), RunState(attempt=attempt)), Failed)
    assert isinstance(_after(TimeoutError("slow"), RunState(attempt=attempt), timed_out=True), TimedOut)
    assert isinstance(_after(RetryAfter(1), RunState(attempt=attempt)), Failed)


def test_a_timeout_is_retried_like_a_failure() -> None:
    """Timeouts count as attempts."""
    assert isinstance(_after(TimeoutError("slow"), RunState(attempt=1), timed_out=True), RetryLater)


def test_a_job_can_ask_for_its_own_time_or_for_no_more() -> None:
    """RetryAfter sets the wait, 0 included; Abort ends the run however many attempts are left."""
    assert _after(RetryAfter(77), RunState()).delay_s == 77
    assert _after(RetryAfter(0), RunState()).delay_s == 0
    aborted = _after(Abort("not worth it"), RunState())
    assert isinstance(aborted, Failed)
    assert aborted.reason == "failed"
    assert aborted.error.message == "not worth it"


def test_an_abort_in_a_group_ends_the_run() -> None:
    """However deep it is, and whatever else is in there."""
    group = ExceptionGroup("several", [RetryAfter(9), ExceptionGroup("inner", [ValueError(), Abort("enough")])])
    assert isinstance(_after(group, RunState()), Failed)


def test_of_several_waits_in_a_group_the_longest_counts() -> None:
    """Other exceptions beside them change nothing."""
    group = BaseExceptionGroup("several", [RetryAfter(5), ExceptionGroup("inner", [RetryAfter(9)]), SystemExit()])
    outcome = _after(group, RunState())
    assert isinstance(outcome, RetryLater)
    assert outcome.delay_s == 9


def test_a_group_of_other_exceptions_is_an_exception() -> None:
    """It waits as the job's Retry says."""
    outcome = _after(ExceptionGroup("several", [ValueError()]), RunState())
    assert isinstance(outcome, RetryLater)
    assert outcome.delay_s == 3


def test_a_run_of_an_unknown_job_waits_longer_and_longer() -> None:
    """The waits are 1, 2, 4 … 60 s, at least a second, and nothing is counted."""
    queued_ms, state, waits = 1_700_000_000_000, RunState(attempt=3, lost=1, replay=1), []
    for _ in range(9):
        outcome = after_unknown_job("app/gone", state, queued_ms, give_up=False)
        assert isinstance(outcome, RetryLater)
        assert (outcome.state.attempt, outcome.state.lost, outcome.state.replay) == (3, 1, 1)
        assert outcome.state.unknown_since_ms == 1_700_000_000_000
        waits.append(outcome.delay_s)
        queued_ms, state = queued_ms + round(outcome.delay_s * 1000), outcome.state
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_an_unknown_job_that_is_given_up_is_dead_with_its_reason() -> None:
    """The error says for how long no worker has had it."""
    outcome = after_unknown_job("a/b", RunState(unknown_since_ms=1_000), 6_000, give_up=True)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unknown_job"
    assert outcome.error == RunError("UnknownJob", "no live worker has had job 'a/b' for 5 s")


def test_how_long_a_job_is_unknown_is_told_by_the_times_of_its_entries() -> None:
    """The first time is none; a clock that went back makes it none again."""
    assert unknown_for_ms(RunState(), 5_000) == 0
    assert unknown_for_ms(RunState(unknown_since_ms=1_000), 5_000) == 4_000
    assert unknown_for_ms(RunState(unknown_since_ms=9_000), 5_000) == 0


def test_a_run_that_cost_too_many_workers_says_how_many() -> None:
    """The reason is `lost`."""
    outcome = lost(RunState(lost=3))
    assert outcome.reason == "lost"
    assert outcome.error == RunError("LostWorker", "3 workers died with this run in flight")


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("can't say")


def _raised(exc: BaseException) -> BaseException:
    try:
        raise exc  # noqa: TRY301 - it needs a traceback
    except BaseException as caught:  # noqa: BLE001 - some of the cases are no Exception
        return caught


@pytest.mark.parametrize(
    "exc",
    [
        _Speechless("x"),
        ValueError("lone surrogates \ud800 and \udfff"),
        ValueError("\ud800" * 100_000),
        KeyError(b"\xff\x00"),
        SystemExit(3),
        ExceptionGroup("several", [ValueError("one"), _Speechless()]),
        OSError(2, "gone", "/tmp/\udcff"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_every_exception_can_be_recorded(exc: BaseException) -> None:
    """Whatever a function raises becomes an error that the record carries and gives back."""
    error = error_of(_raised(exc))
    assert decode_outcome(encode_outcome(error, None)) == (error, None)
    assert type(exc).__name__ in error.type
    assert type(exc).__name__ in error.traceback


def test_a_message_that_cant_be_read_does_not_hide_the_failure() -> None:
    """The error says so in its place."""
    assert error_of(_Speechless()).message == """<its message can't be read: RuntimeError("can't say")>"""


@pytest.mark.parametrize("sign", ["x", "é", "\U0001f600", "\ud800"])
def test_errors_are_bounded_in_bytes(sign: str) -> None:
    """A huge message and a huge traceback are cut; both ends of a traceback are kept."""
    error = error_of(_raised(ValueError(sign * 1_000_000)))
    assert len(error.message.encode()) <= MAX_MESSAGE
    assert len(error.traceback.encode()) <= MAX_TRACEBACK + 100
    assert error.traceback.startswith("Traceback (most recent call last)")
    long = error_of(_raised(ValueError(sign * 1_000_000 + "\nthe end")))
    assert long.traceback.rstrip().endswith("the end")
    assert "bytes …" in long.traceback


def test_types_are_named_with_their_module() -> None:
    """Built-in exceptions are named plainly, others with where they are from."""
    assert error_of(KeyError("x")).type == "KeyError"
    assert error_of(_Speechless()).type == f"{__name__}._Speechless"


def test_causes_are_in_the_traceback() -> None:
    """What led to the exception is recorded with it."""
    exc = ValueError("second")
    exc.__cause__ = _raised(KeyError("first"))
    text = error_of(_raised(exc)).traceback
    assert text.index("KeyError: 'first'") < text.index("ValueError: second")
