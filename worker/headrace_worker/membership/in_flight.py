"""The in-flight runs of this worker: fetched, and not yet both recorded and ended. No I/O."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Literal

from headrace_worker.clock import monotonic
from headrace_worker.protocol.delivery import Delivery, Key
from headrace_worker.protocol.settling import Record
from headrace_worker.tasks.job_threads import ThreadCall

Cause = Literal["timed_out", "canceled", "released"]


class Ending:
    """Whether a run was ended from outside, and by what; the executor and the threads of functions share it.

    Attributes:
        cause: None while the run goes on.
    """

    __slots__ = ("cause",)

    def __init__(self) -> None:
        self.cause: Cause | None = None


class Stage(IntEnum):
    """How far an in-flight run has come.

        TAKEN → EXECUTING → REPORTED → ENDED → OVER       the function ends first, as it should
                                     → RECORDED → OVER    the function ignores its cancellation
        TAKEN → EXECUTING → RECORDED → REPORTED → ENDED → OVER    it ignores that of its run, which holds its place

    Attributes:
        TAKEN: its function is not called yet.
        EXECUTING: its function is called, or is about to be.
        REPORTED: the settler has the run's outcome; a function that ignores its cancellation may go on.
        ENDED: its function has ended, and its outcome waits to be recorded.
        RECORDED: the outcome is recorded, or another worker has the run; the function goes on and keeps the slot. The
            outcome of a canceled run is recorded with its cancellation.
        OVER: its slot is free.
    """

    TAKEN = 0
    EXECUTING = 1
    REPORTED = 2
    ENDED = 3
    RECORDED = 4
    OVER = 5


# On the path of each run: until Python 3.12 the look-up of a member in its class costs as much as a call.
TAKEN, EXECUTING, REPORTED, ENDED, RECORDED, OVER = Stage


class InFlightRun:
    """One run that this worker executes or settles.

    Attributes:
        key: the delivery's.
        name: the worker's name under which it was delivered.
        started_at: by the monotonic clock, in seconds.
        stage: how far the run has come.
        record: what is written of the run, from REPORTED on; None if nothing is.
        timeout_s: seconds that the function may take; None without a limit.
        cause: why the function has to end, if it has to.
        ending: tells the function of it, if the function looks; None before it is called, or if it can't look.
        recorded_at: when the run came to RECORDED, by the monotonic clock.
        sent_ids: the events that its function has sent; None if the function can send none.
    """

    __slots__ = (
        "cause", "delivery", "ending", "key", "name", "record", "recorded_at", "sent_ids", "stage", "started_at",
        "task", "thread", "timeout_s", "timer",
    )  # fmt: skip

    def __init__(self, delivery: Delivery, name: str, started_at: float) -> None:
        self.delivery = delivery
        self.key = delivery.key
        self.name = name
        self.started_at = started_at
        self.stage = TAKEN
        self.record: Record | None = None
        self.task: asyncio.Task[None] | None = None
        self.thread: ThreadCall | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.timeout_s: float | None = None
        self.cause: Cause | None = None
        self.ending: Ending | None = None
        self.recorded_at = 0.0
        self.sent_ids: list[str] | None = None

    @property
    def has_thread(self) -> bool:
        """Whether a thread still executes the run's function."""
        return self.thread is not None and not self.thread.is_done

    @property
    def holds_place(self) -> bool:
        """Whether the run was canceled, and its entry is pending until the function ends, which goes on."""
        return self.stage is RECORDED and self.cause == "canceled" and self.record is None

    @property
    def is_lost(self) -> bool:
        """Whether the run's task has ended without an outcome for the settler."""
        return self.stage < REPORTED and self.task is not None and self.task.done()

    def elapsed_ms(self, now: float) -> int:
        """Return the milliseconds since the run started."""
        return round((now - self.started_at) * 1000)


class InFlight:
    """The in-flight runs and the slots that they take: a slot is free when its run is recorded and has ended."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.runs: dict[Key, InFlightRun] = {}
        self._reserved: dict[int, int] = {}
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """The number of slots that are neither taken nor reserved."""
        return self.slots - len(self.runs) - sum(self._reserved.values())

    def reserve(self, partition: int, sharers: int, most: int) -> int:
        """Reserve at most `most` free slots for a read in a partition; return how many.

        Args:
            sharers: partitions that share the slots; each gets an equal part, but at least one if one is free.
        """
        count = min(max(self.free // sharers, 1), max(self.free, 0), most)
        self._reserved[partition] = count
        return count

    def release(self, partition: int) -> None:
        """End the reservation of a partition, if there is one: by now the runs of its read have slots."""
        self._reserved.pop(partition, None)
        self.notify()

    @property
    def has_unrecorded(self) -> bool:
        """Whether the outcome of any in-flight run is not recorded yet."""
        return any(run.stage < RECORDED for run in self.runs.values())

    def is_unrecorded(self, key: Key) -> bool:
        """Return whether the run of this key is in flight and its outcome not recorded yet."""
        run = self.runs.get(key)
        return run is not None and run.stage < RECORDED

    def take(self, run: InFlightRun) -> None:
        """Give the run a slot."""
        self.runs[run.key] = run

    def mark_recorded(self, run: InFlightRun) -> None:
        """Note that the outcome is recorded, or not this worker's to record; the function may go on."""
        if run.stage in (ENDED, OVER):
            run.stage = OVER
            self.drop(run)
        else:
            run.recorded_at = monotonic()  # before the stage: the watch reads both from another thread
            run.stage = RECORDED
            self.notify()

    def mark_ended(self, run: InFlightRun) -> None:
        """Note that the function has ended; the outcome may still wait to be recorded."""
        if run.stage < RECORDED:
            run.stage = ENDED
        else:
            run.stage = OVER
            self.drop(run)

    def drop(self, run: InFlightRun) -> None:
        """Free the run's slot."""
        if self.runs.get(run.key) is run:
            del self.runs[run.key]
        self._changed.set()

    def notify(self) -> None:
        """Wake every loop that waits for a change."""
        self._changed.set()

    async def wait_change(self) -> None:
        """Return after the next change."""
        self._changed.clear()
        await self._changed.wait()
