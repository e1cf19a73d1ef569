"""What only counts does not stop what works."""

from __future__ import annotations

import asyncio

import pytest

from headrace_worker.membership.observer import Observer, guarded
from headrace_worker.process import log_setup
from headrace_worker.protocol.dispatching import Dispatched


class _Broken(Observer):
    def __init__(self, failure: BaseException) -> None:
        self.failure = failure
        self.received = 0

    def polled(self) -> None:
        self.received += 1
        raise self.failure

    def promoted(self, members: int) -> None:
        self.received += members


@pytest.mark.parametrize("failure", [OSError("disk full"), SystemExit(3), asyncio.CancelledError()])
def test_what_an_observer_raises_is_dropped(failure: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """The observer still receives every fact; the log has the failure once."""
    log_setup.configure("json")
    broken = _Broken(failure)
    observer = guarded(broken)
    for _ in range(3):
        observer.polled()
    observer.promoted(4)
    observer.dispatched(1, Dispatched(1, 1, 0))
    assert broken.received == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert "could not be counted" in line
    assert type(failure).__name__ in line
