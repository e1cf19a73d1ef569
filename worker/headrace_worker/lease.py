"""Holds the worker's lease on, from a thread and a connection of its own.

A job that blocks the event loop does not stop it; only a dead process, a stopped one or a lost server does. Its renewal
is the only periodic command of a worker. It must not touch the event loop's objects but through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from headrace import HeadraceError
from headrace.connect import open_transport
from headrace_worker import protocol
from headrace_worker.protocol import Fenced, Movement, Renewed
from headrace_worker.safe_logging import get_logger
from headrace_worker.state import WorkerState

log = get_logger("headrace.lease")

Answer = Renewed | Fenced
_SOONEST_S = 0.02
_LONGEST_DELAY_S = 1.0
"""Between attempts in an outage: nothing is fetched after one until the lease is renewed."""


class Lease:
    """Renews the lease three times in its length, and sooner where the leader's or a dead worker's may end."""

    def __init__(self, state: WorkerState, on_answer: Callable[[str, Answer], None], seats: Callable[[], int]) -> None:
        """The thread is made, and starts with `start`.

        Args:
            on_answer: is called on the event loop with the name that was renewed and the answer.
            seats: how many seats there are; 0 while this worker wants none.
        """
        self._state = state
        self._on_answer = on_answer
        self._seats = seats
        self._loop = asyncio.get_running_loop()
        self._interval_s = state.config.lease_s / 3
        self._transport = open_transport(state.url, attempts=1, reply_timeout_s=max(self._interval_s, 0.5))
        self._wake = threading.Event()
        self._over = False
        self._moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="headrace-lease", daemon=True)

    def start(self) -> None:
        """The lease is renewed from now on, first at once."""
        self._thread.start()
        self._mark_movement()

    def renew_now(self) -> None:
        """The next renewal does not wait for its time."""
        self._wake.set()

    def end(self) -> None:
        """The lease is not renewed any more, once a renewal that is under way has ended."""
        self._over = True
        self._wake.set()

    async def stop(self) -> None:
        """The lease is not renewed any more, and its connection is closed."""
        self.end()
        await asyncio.to_thread(self._thread.join)

    @property
    def moves(self) -> bool:
        """The event loop has turned within the last third of a lease."""
        return time.monotonic() - self._moved_at < self._interval_s

    def _mark_movement(self) -> None:
        self._moved_at = time.monotonic()
        if not self._over:
            self._loop.call_later(self._interval_s / 4, self._mark_movement)

    def _run(self) -> None:
        failures = 0
        while not self._over:
            try:
                wait_s = self._renew()
                if failures:
                    log.info("lease is renewed again", failures=failures)
                failures = 0
            except HeadraceError as exc:
                failures += 1
                if failures == 1:
                    log.warning("lease can't be renewed, trying again", error=str(exc))
                wait_s = min(0.05 * 2.0 ** min(failures, 10), self._interval_s, _LONGEST_DELAY_S)
            except Exception:
                failures += 1
                log.exception("lease failed in an unforeseen way, trying again")
                wait_s = self._interval_s
            self._wake.wait(wait_s)
            self._wake.clear()
        self._transport.close()

    def _renew(self) -> float:
        name, config = self._state.name, self._state.config
        if not self._state.is_registered.is_set():  # a name that is not known yet would be taken for a fenced one
            return self._interval_s
        movement: Movement = "moves" if self.moves else "stuck"
        if self._state.stopping.is_set():
            movement = "resigns"
        call = protocol.renew(self._state.keys, name, config.lease_ms, movement, seats=self._seats())
        asked_at = time.monotonic()
        answer: Answer = self._transport.run([call])[0]
        if isinstance(answer, Renewed):
            self._state.lease_until = asked_at + config.lease_s
            self._state.server_ahead_s = answer.now_ms / 1000 - asked_at
        if not self._over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_answer, name, answer)
        if isinstance(answer, Renewed):
            self._state.observer.renewed()
        if isinstance(answer, Fenced):
            return self._interval_s
        return min(self._interval_s, max(answer.next_ms / 1000 + _SOONEST_S, _SOONEST_S))
