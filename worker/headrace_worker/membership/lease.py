"""Renews the worker's lease, from its own thread and connection, as long as the worker works.

A job that blocks the event loop for a while does not stop the renewals. A dead process, a stopped one, a lost server,
or a worker that does not work (`watch`) does. The renewal is the only periodic command of a worker. The thread must
use objects of the event loop only through the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.connect import AnyTransport, open_transport
from headrace.transport.pool import CONNECT_TIMEOUT_S
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.member import Member
from headrace_worker.membership.reporter import Reporter
from headrace_worker.membership.watch import Verdict, Watch
from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Fenced, Movement, Renewed
from headrace_worker.tasks.guard import describe, own_task

log = get_logger("headrace.lease")

Answer = Renewed | Fenced
_SOONEST_S = 0.02
_LONGEST_DELAY_S = 1.0
"""The longest pause between attempts in an outage: after one, nothing is fetched until the lease is renewed."""
_FEWEST_FAILURES = 3
"""So many failures of the thread's own in a row mean that it can't do its work; fewer are passing trouble."""
_STILL_S = 1.0
"""A wait that takes this much longer than planned means that the whole process stood still."""


class Lease:
    """Renews the lease three times in its length, and sooner if the leader's or a dead worker's lease may end."""

    def __init__(  # noqa: PLR0913, PLR0917 - a lease has these parts
        self,
        member: Member,
        watch: Watch,
        on_answer: Callable[[str, Answer], None],
        dispatchers: Callable[[], int],
        on_fault: Callable[[Verdict, AnyTransport | None], None],
        reporter: Reporter,
        on_turn: Callable[[], None] | None = None,
    ) -> None:
        """Prepare the thread; `start` starts it.

        Args:
            watch: judges whether the worker works.
            on_answer: is called on the event loop with the name that was renewed and the answer.
            dispatchers: how many dispatcher slots there are; 0 while this worker wants none.
            on_fault: is called when the worker has to end, with what is wrong and the connection of the lease's thread,
                for use by the callee; None in another thread.
            reporter: says what to report with a renewal.
            on_turn: is called at each turn of the thread.
        """
        self._config = member.setup.config
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._guard = member.guard
        self._watch = watch
        self._on_answer = on_answer
        self._dispatchers = dispatchers
        self._on_fault = on_fault
        self._reporter = reporter
        self._on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self._interval_s = member.setup.config.lease_s / 3
        self._reply_timeout_s = max(self._interval_s, 0.5)
        self._transport = open_transport(member.server.url, attempts=1, reply_timeout_s=self._reply_timeout_s)
        self._wake = threading.Event()
        self._over = False
        self._ended = asyncio.Event()
        self._renewed_since: float | None = None
        self._failing_since: float | None = None
        self._fault = ""
        self._thread: threading.Thread | None = None
        self._turned_at = self._watched_at = monotonic()

    def start(self) -> None:
        """Renew the lease from now on, the first time at once.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._thread = self._guard.thread("lease", self._run)
        self._watch_thread()

    def renew_now(self) -> None:
        """Renew now, before the next renewal is due."""
        self._wake.set()

    def end(self) -> None:
        """Stop renewing the lease, once a renewal under way has ended."""
        self._over = True
        self._watch.end()
        self._wake.set()

    async def stop(self) -> None:
        """Stop renewing the lease, and close the connection."""
        self.end()
        if self._thread is not None:
            with contextlib.suppress(TimeoutError):  # a thread that stands still must not hold up the stop
                await asyncio.wait_for(
                    own_task(self._ended.wait()), CONNECT_TIMEOUT_S + self._reply_timeout_s + _STILL_S
                )

    def _run(self) -> None:
        try:
            failures = 0
            while not self._over:
                failures = self._turn(failures)
            self._transport.close()
        finally:
            self._guard.from_thread(self._loop, self._ended.set)

    def _turn(self, failures: int) -> int:
        """Judge the worker, renew, and wait; return how many renewals have failed in a row."""
        self._turned_at = asked_at = monotonic()
        failures, wait_s = self._try_to_renew(failures)
        self._note_stillness(asked_at, CONNECT_TIMEOUT_S + self._reply_timeout_s)
        asked_at = monotonic()
        self._wake.wait(wait_s)
        self._wake.clear()
        self._note_stillness(asked_at, wait_s)
        return failures

    def _try_to_renew(self, failures: int) -> tuple[int, float]:
        """Return how many renewals have failed in a row, and the seconds until the next one."""
        wait_s = self._interval_s
        try:
            if self._on_turn is not None:
                self._on_turn()
            wait_s = self._renew(self._look())
            if not self._identity.is_registered.is_set():
                self._renewed_since = None
            elif self._renewed_since is None:
                self._renewed_since = monotonic()
            if failures:
                log.info("lease is renewed again", failures=failures)
            failures = 0
            self._failing_since = None
        except HeadraceError as exc:
            failures += 1
            self._renewed_since = self._failing_since = None
            if failures == 1:
                log.warning("lease can't be renewed, trying again", error=str(exc))
            wait_s = min(0.05 * 2.0 ** min(failures, 10), self._interval_s, _LONGEST_DELAY_S)
        except BaseException as exc:  # not the server's: the loops are still judged
            failures += 1
            log.exception("lease failed in an unforeseen way, trying again", error=describe(exc))
            self._end_if_failing(exc, failures)
        return failures, wait_s

    def _end_if_failing(self, exc: BaseException, failures: int) -> None:
        """End a worker that can't be judged or renewed for a fault that is not the server's."""
        now = monotonic()
        self._failing_since = self._failing_since or now
        is_final = failures >= _FEWEST_FAILURES and now - self._failing_since > self._config.stall_limit_s
        if is_final and not self._over:
            self._on_fault(Verdict(f"the lease can't be renewed: {describe(exc)}", is_final=True), self._transport)
            self._over = True

    def _note_stillness(self, since: float, longest_s: float) -> None:
        """Let the watch ignore a time for which the whole process stood still."""
        if monotonic() - since > longest_s + _STILL_S:
            self._watch.note_stillness()

    def _look(self) -> Verdict:
        """Return whether the worker works; end a worker that has not worked for too long."""
        verdict = self._watch.judge(self._renewed_since)
        if verdict.is_final and not self._over:
            self._on_fault(verdict, self._transport)  # first: a call that fails is repeated at the next turn
            self._over = True
        if verdict.fault and not self._fault:
            stack = {"stack": verdict.stack} if verdict.stack else {}
            log.warning("worker does not work as it should, and leads no more", fault=verdict.fault, **stack)
        elif self._fault and not verdict.fault:
            log.info("worker works again")
        self._fault = verdict.fault
        return verdict

    def _renew(self, verdict: Verdict) -> float:
        name, config = self._identity.name, self._config
        if self._over or not self._identity.is_registered.is_set():  # an unknown name counts as a fenced one
            return self._interval_s
        movement: Movement = "stuck" if verdict.fault else "moves"
        if self._identity.stopping.is_set():
            movement = "resigns"
        call = leases.renew(
            self._server.keys, name, config.lease_ms, movement,
            dispatchers=self._dispatchers(), keep_dead_ms=config.retention.millis()[1],
        )  # fmt: skip
        asked_at = monotonic()
        calls: list[Call[Any]] = [call, *self._reporter.calls(name)]
        renewed, *reported = self._transport.run(calls, partial=True)
        self._reporter.note(reported)
        if isinstance(renewed, HeadraceError):
            raise renewed
        answer: Answer = renewed
        if isinstance(answer, Renewed):
            self._identity.lease_until = asked_at + config.lease_s
        if not self._over:
            self._guard.from_thread(self._loop, self._on_answer, name, answer)
        if isinstance(answer, Fenced):
            return self._interval_s
        server_ahead_s = answer.now_ms / 1000 - asked_at
        self._reporter.note_time(server_ahead_s)
        self._observer.renewed(server_ahead_s)
        return min(self._interval_s, max(answer.next_ms / 1000 + _SOONEST_S, _SOONEST_S))

    def _watch_thread(self) -> None:
        """Watch the lease's thread, which watches everything else; end the worker if the thread stands still."""
        if self._over:
            return
        now = monotonic()
        stood_s = now - self._turned_at
        is_late = now - self._watched_at > self._interval_s + _STILL_S  # the whole process stood still
        self._watched_at = now
        limit_s = self._config.stall_limit_s + CONNECT_TIMEOUT_S + self._reply_timeout_s + self._interval_s
        if stood_s > limit_s and not is_late:
            self._over = True
            fault = f"the thread that renews the lease has stood still for {stood_s:.1f} s"
            self._on_fault(Verdict(fault, is_final=True), None)
            return
        self._guard.later(self._interval_s, self._watch_thread)
