"""The notes of attempts: what of an error is kept beside its run."""

from __future__ import annotations

from headrace import RunError
from headrace.formats.codec import encode_outcome, seal_outcome
from headrace.formats.seal import Seal
from headrace.formats.trails import decode_attempts, note_of_outcome
from tests.support.codecs import SCRAMBLER

RUN = "e1:app/job"
SEAL = Seal(SCRAMBLER, "test")


def _kept(outcome: bytes, seal: Seal | None) -> RunError | None:
    """Return what is read, with the codec, of the error of an attempt whose note was made of the outcome."""
    line = f"1 failed w1 1 2 {note_of_outcome(outcome, RUN, seal)}"
    (attempt,) = decode_attempts(line.encode(), RUN, SEAL)
    return attempt.error


def test_an_outcome_that_can_not_be_opened_is_kept_as_it_is_stored() -> None:
    """Type and message of its error are read as those of any other attempt."""
    outcome = seal_outcome(encode_outcome(RunError("ValueError", "x" * 300, "trace"), None), RUN, SEAL)
    assert _kept(outcome, None) == _kept(outcome, SEAL) == RunError("ValueError", "x" * 256)


def test_a_long_outcome_that_can_not_be_opened_is_left_out() -> None:
    """The attempt says so; with the codec its error is kept."""
    outcome = seal_outcome(encode_outcome(RunError("ValueError", "wrong", "x" * 13_000), None), RUN, SEAL)
    error = _kept(outcome, None)
    assert error is not None
    assert error.type == "NotKept"
    assert f"its {len(outcome):,} bytes are too many" in error.message
    assert _kept(outcome, SEAL) == RunError("ValueError", "wrong")


def test_an_end_without_an_error_has_no_note() -> None:
    """A dash stands for it, with and without a codec."""
    assert note_of_outcome(b"", RUN, None) == note_of_outcome(b"", RUN, SEAL) == "-"
