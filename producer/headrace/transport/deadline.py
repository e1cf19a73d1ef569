"""The time by which a call is answered or given up: one for all its attempts, replies and the waits between them."""

from __future__ import annotations

from time import monotonic

from headrace.errors import CallError, ServerUnreachable


class Deadline:
    """The end of the time that a call has; a wait for the server is cut to what is left of it."""

    __slots__ = ("_begun", "_end", "_timeout_s")

    def __init__(self, timeout_s: float, beside_s: float = 0.0) -> None:
        """Begin now.

        Args:
            timeout_s: how long the call may take; possibly infinite.
            beside_s: what the server is asked to wait before it answers, which comes on top.
        """
        self._begun = monotonic()
        self._end = self._begun + timeout_s + beside_s
        self._timeout_s = timeout_s

    def left_s(self) -> float:
        """Return how much time is left; below 0 once it is over."""
        return self._end - monotonic()

    def cut(self, limit_s: float | None) -> float:
        """Return the limit of a wait, or what is left if that is less; raise TimeoutError if nothing is."""
        left_s = self._end - monotonic()
        if left_s <= 0:
            raise TimeoutError("no time is left")
        return left_s if limit_s is None or left_s < limit_s else limit_s

    def share(self, turns: int) -> Deadline:
        """Return the deadline of one of so many that are asked in turn; raise ServerUnreachable if no time is left."""
        left_s = self.left_s()
        if left_s <= 0:
            raise ServerUnreachable("the server was not asked: the time was over before its turn")
        return self if turns == 1 else Deadline(left_s / turns)

    def explain(self, error: CallError) -> None:
        """Say in the last error of a call how long it was tried."""
        tried_s = monotonic() - self._begun
        error.add(f"tried for {tried_s:.1f} s, with a timeout of {self._timeout_s:g} s")
