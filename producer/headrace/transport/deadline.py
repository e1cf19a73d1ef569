"""The time by which a call is answered or given up: one for all its attempts, replies and the waits between them."""

from __future__ import annotations

from time import monotonic

import msgspec

from headrace.errors import CallError, ServerUnreachable


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """The end of the time that a call has; a wait for the server is cut to what is left of it.

    Attributes:
        begun: when the call began, by `monotonic`.
        end: when its time is over; infinite for a call that has no end. What the server is asked to wait before it
            answers stands beside the timeout.
        timeout_s: what the caller has asked for.
    """

    begun: float
    end: float
    timeout_s: float

    def left_s(self) -> float:
        """Return how much time is left; below 0 once it is over."""
        return self.end - monotonic()

    def cut(self, limit_s: float | None) -> float:
        """Return the limit of a wait, or what is left if that is less; raise TimeoutError if nothing is."""
        left_s = self.end - monotonic()
        if left_s <= 0:
            raise TimeoutError("no time is left")
        return left_s if limit_s is None or left_s < limit_s else limit_s

    def share(self, turns: int) -> Deadline:
        """Return the deadline of one of so many that are asked in turn; raise ServerUnreachable if no time is left."""
        now = monotonic()
        if now >= self.end:
            raise ServerUnreachable("the server was not asked: the time was over before its turn")
        return msgspec.structs.replace(self, end=now + (self.end - now) / turns)

    def explain(self, error: CallError, attempts: int) -> None:
        """Say in the last error of a call how often and how long it was tried, as either may have ended it."""
        tried = "once" if attempts == 1 else f"{attempts} times"
        error.add(f"tried {tried} in {monotonic() - self.begun:.1f} s, with a timeout of {self.timeout_s:g} s")
