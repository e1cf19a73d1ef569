"""A real server for a test, and what a test does on it: run jobs, let time pass, look at what was sent.

`run` executes jobs in the test's own process, with a real worker. Time passes by moving what waits on the server:
clocks stay as they are.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

import msgspec

from headrace import Client, EventRecord, HeadraceError, InvalidArgument, PayloadCodec, RunRecord, TypedEvent
from headrace.calls.call import Call, as_fields
from headrace.calls.indexing import read_index
from headrace.config import resolve
from headrace.connect import AnyTransport, open_transport
from headrace.formats.keys import Keys
from headrace.model.event import FAILED_STATUSES
from headrace.model.moments import seconds_of
from headrace.model.typed import event_name_of
from headrace_worker.app.app import App
from headrace_worker.app.overrides import overridden
from headrace_worker.clock import monotonic
from headrace_worker.config import WorkerConfig
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.observer import Observer
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.due import event_of
from headrace_worker.protocol.settling import Retried, Settled
from headrace_worker.tasks.guard import own_task
from headrace_worker.testing.expected import Expected
from headrace_worker.testing.left_work import DEAD, DELAYED, UNDISPATCHED, WAITING, Left, in_words, streams_of
from headrace_worker.testing.settling import NotSettled, flush_log, moving_time
from headrace_worker.worker import Worker, import_modules

R = TypeVar("R")

_LOOK_S = 0.01
_QUIET_LOOKS = 2
"""Looks that must find nothing: work may move between the parts of one look."""
_MOST_NAMED = 3
_CONFIG = WorkerConfig(block=0.5, grace=1)


class RunFailed(HeadraceError):
    """A run failed, and the exception itself is not at hand: its payload did not fit, say. `run` is its record."""

    def __init__(self, run: RunRecord) -> None:
        self.run = run
        error = run.error
        super().__init__(f"run {run.id} is {run.status}" + (f": {error.type}: {error.message}" if error else ""))


class Runs(Sequence[RunRecord]):
    """Runs that have ended, in that order. `runs["welcome"]` is the run of that job, if it is the only one."""

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        self._runs = list(runs)

    @overload
    def __getitem__(self, place: int | str) -> RunRecord: ...
    @overload
    def __getitem__(self, place: slice) -> list[RunRecord]: ...
    def __getitem__(self, place: int | slice | str) -> RunRecord | list[RunRecord]:
        if not isinstance(place, str):
            return self._runs[place]
        found = self.of(place)
        if len(found) != 1:
            raise KeyError(f"job {place!r} has {len(found)} runs here, not one; {self}")
        return found[0]

    def __len__(self) -> int:
        return len(self._runs)

    def __str__(self) -> str:
        if not self._runs:
            return "no run has ended"
        return "these have ended:" + "".join(f"\n  {run.id} {run.status}" for run in self._runs)

    __repr__ = __str__

    def of(self, job_id: str) -> list[RunRecord]:
        """Return the runs of a job, by its id or as `<app>/<job id>`."""
        return [run for run in self._runs if job_id in (run.job, run.job.partition("/")[2])]


class Headrace:
    """What a test has of Headrace: the `headrace` fixture of tests that are `async def`.

    Attributes:
        url: of the server.
        namespace: of the test.
        client: a client for the test's own sends and reads.
        codec: opens what the test looks at, if it is sealed; `run` takes that of its app.
    """

    def __init__(self, url: str, namespace: str = "default", *, partitions: int | None = None) -> None:
        """Connect to nothing yet."""
        self.url = url
        self.namespace = namespace
        self.client = Client(url, namespace=namespace, partitions=partitions)
        self.codec: PayloadCodec | None = None
        self._partitions = resolve(namespace, partitions)

    def run(
        self,
        app: App,
        *,
        failures: Literal["raise", "keep"] = "raise",
        timeout: float = 30,
        override: Mapping[Any, Any] | None = None,
        state: Any = msgspec.UNSET,
    ) -> Coroutine[Any, Any, Runs]:
        """Execute runs until nothing is due and every run has ended, those of events that jobs send included.

        Runs that wait for their next attempt get it at once. Delayed events wait: see `travel`.

        Args:
            failures: raise what the functions of failed runs have raised, or keep the failures in the records.
            timeout: seconds.
            override: for functions in `Depends`, the functions to call in their place, or the values themselves.
            state: stands for the value of the app's lifespan, which is not entered then.

        Returns:
            The runs that have ended here.

        Raises:
            InvalidArgument: no job depends on a function that is overridden, or no event loop runs here: a plain test
                takes the fixture `headrace_sync`.
            ExceptionGroup: runs failed for good; it has their exceptions, each with a note that names its run.
            NotSettled: work is left after `timeout` seconds.
        """
        _check_awaited("run")
        return self._run(app, failures, timeout, override, state)

    async def _run(
        self,
        app: App,
        failures: Literal["raise", "keep"],
        timeout: float,
        override: Mapping[Any, Any] | None,
        state: Any,
    ) -> Runs:
        if override is not None or state is not msgspec.UNSET:
            import_modules(app)
            app = overridden(app, override, state)
        seen = _Seen()
        worker = Worker(
            app, self.url, namespace=self.namespace, partitions=len(self._partitions), config=_CONFIG, metrics=seen
        )
        with moving_time(asyncio.get_running_loop()):
            left = await self._run_until_idle(worker, app, monotonic() + timeout)
        await asyncio.to_thread(flush_log)
        if left:
            waiting = await asyncio.to_thread(self._name_waiting, app)
            raise NotSettled(f"not settled after {timeout:g} s: {in_words(left)}{waiting}")
        self.codec = self.codec or app.codec
        runs = await asyncio.to_thread(self._runs, list(seen.ended))
        if failures == "raise":
            _raise_failures(runs, seen.exceptions)
        return runs

    def travel(self, by: float | timedelta | None = None, **parts: float) -> Coroutine[Any, Any, None]:
        """Let time pass for what waits: delayed events, and runs between two attempts. `run` then executes what is due.

        Args:
            by: how far, in seconds or as a timedelta; or give `days=1`, `hours=2` and so on, as to `timedelta`.

        Raises:
            InvalidArgument: that is no time, or would go back; or no event loop runs here, see `run`.
        """
        _check_awaited("travel")
        return asyncio.to_thread(self._travel, _seconds(by, parts))

    def sent(self, event: str | type[TypedEvent] | None = None) -> list[EventRecord]:
        """Return the events of the namespace in the order in which they were sent.

        Args:
            event: only those with this name, or of this class.
        """
        name = event_name_of(event) or event
        transport = open_transport(self.url)
        try:
            pages = transport.run([read_index(keys.recent, None, 10_000) for keys in self._partitions.all])
        finally:
            transport.close()
        entries = sorted((entry for page in pages for entry in page), key=lambda each: _order(each.id))
        pairs = [pair for entry in entries for pair in entry.pairs[::-1]]
        found = dict.fromkeys(event_id for event_id, sent_name in pairs if name in (None, sent_name))
        with self._reader() as reader:
            return [reader.get_event(event_id) for event_id in found]

    def assert_sent(
        self, event: str | type[TypedEvent] | TypedEvent, *, times: int | None = None, **expected: Any
    ) -> list[EventRecord]:
        """Check that events were sent, and return them; the error shows what was sent instead.

        Args:
            event: their name, the class of a typed event, or a typed event itself, which is the payload then.
            times: how many; at least one if None.
            expected: values that the event must have: its own fields `id`, `source`, `context`, `account_id`,
                `ordering_key`, `headers` and `payload`; any other name is a field of the payload, or of the class.
                `payload` may be an instance of the payload's class.

        Raises:
            AssertionError: they were not sent.
            InvalidArgument: `event` is nothing of that, or its class has no such field.
        """
        wanted = Expected.of(event, expected)
        everything = self.sent()
        found = [each for each in everything if wanted.is_met_by(each)]
        if len(found) == times or (times is None and found):
            return found
        count = f"{times} times" if times is not None else "at least once"
        was = f"{wanted} was to be sent {count}, and was {len(found)} times"
        raise AssertionError(f"{was}; {wanted.explain(everything)}")

    def assert_nothing_left(self) -> None:
        """Check that no event is delayed, that no run waits, and that there is no dead letter."""
        left = self._read(lambda keys: {keys.events: UNDISPATCHED, keys.dead: DEAD})
        for members in self._due().values():
            events = sum(map(_is_event, members))
            left.update({DELAYED: events, WAITING: len(members) - events})
        if +left:
            raise AssertionError(f"left are: {in_words(left)}{self._name_left()}")

    def empty(self) -> None:
        """Delete everything in the namespace."""
        transport = open_transport(self.url)
        try:
            for keys in self._partitions.all:
                _delete_keys(transport, f"{keys.prefix}*")
        finally:
            transport.close()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    async def _run_until_idle(self, worker: Worker, app: App, deadline: float) -> Left:
        """Run the worker until nothing is left to do now; return what is left at the deadline."""
        running = own_task(worker.run())
        quiet = 0
        try:
            while True:
                left = await asyncio.to_thread(self._open_work, app)
                quiet = 0 if left else quiet + 1
                if running.done() or quiet == _QUIET_LOOKS or monotonic() >= deadline:
                    return left
                await asyncio.sleep(_LOOK_S)
        finally:
            if quiet == _QUIET_LOOKS:
                worker.stop()
            else:  # runs that still execute would take their grace
                worker.stop_now()
            await running

    def _runs(self, ids: Sequence[str]) -> Runs:
        with self._reader() as reader:
            return Runs([reader.get_run(each) for each in ids])

    def _reader(self) -> Client:
        """Return a client that opens what is sealed."""
        return Client(self.url, namespace=self.namespace, partitions=len(self._partitions), codec=self.codec)

    def _open_work(self, app: App) -> Left:
        """Return what is to be done now; let runs that wait for their next attempt be due."""
        left = self._read(lambda keys: streams_of(keys, app))
        for keys, members in self._due().items():
            waiting = {member: 0.0 for member in members if not _is_event(member)}
            self._move(keys, waiting)
            due_now = sum(score <= self._now_ms() for member, score in members.items() if _is_event(member))
            left.update({WAITING: len(waiting), DELAYED: due_now})
        return +left

    def _name_waiting(self, app: App) -> str:
        """Return which events and runs wait in streams, the first of each."""
        streams = [key for keys in self._partitions.all for key in streams_of(keys, app)]
        found = self._call([Call(("XRANGE", key, "-", "+", "COUNT", _MOST_NAMED), list) for key in streams])
        fields = [as_fields(entry[1]) for entries in found for entry in entries]
        named = [
            f"event {each[b'i'].decode()}" if b"i" in each else f"job {each[b'j'].decode()} of {each[b'e'].decode()}"
            for each in fields
        ]
        return "; of them " + ", ".join(named) if named else ""

    def _name_left(self) -> str:
        """Return which events and runs are delayed or dead, the first of each."""
        due = [member.decode() for members in self._due().values() for member in list(members)[:_MOST_NAMED]]
        waiting = [f"{'event' if each[0] == 'e' else 'a run of'} {self._named(event_of(each))}" for each in due]
        letters = self.client.list_dead_letters(limit=_MOST_NAMED).items
        dead = [f"dead {each.run_id or each.id}: {each.error}" for each in letters]
        return "; of them " + ", ".join([*waiting, *dead]) if waiting or dead else ""

    def _named(self, event_id: str) -> str:
        try:
            return f"{event_id} ({self.client.get_event(event_id).name})"
        except HeadraceError:  # its record can't be read
            return event_id

    def _travel(self, by_s: float) -> None:
        by_ms = by_s * 1000
        for keys, members in self._due().items():
            self._move(keys, {member: max(score - by_ms, 0.0) for member, score in members.items()})

    def _due(self) -> dict[Keys, dict[bytes, float]]:
        every = self._partitions.all
        replies = self._call([Call(("ZRANGE", keys.due, 0, -1, "WITHSCORES"), list) for keys in every])
        return {
            keys: dict(zip(reply[::2], map(float, reply[1::2]), strict=True))
            for keys, reply in zip(every, replies, strict=True)
        }

    def _move(self, keys: Keys, members: Mapping[bytes, float]) -> None:
        """Set when members of `due` are due, unless they are gone, and wake the leader."""
        if members:
            pairs = [part for member, score in members.items() for part in (score, member)]
            self._call([Call(("ZADD", keys.due, "XX", *pairs), int), Call(("RPUSH", keys.wake, "1"), int)])

    def _now_ms(self) -> float:
        ((seconds, micros),) = self._call([Call(("TIME",), list)])
        return float(seconds) * 1000 + float(micros) / 1000

    def _read(self, streams: Callable[[Keys], Mapping[str, str]]) -> Left:
        """Return how many entries there are in streams, by what those are."""
        names = [each for keys in self._partitions.all for each in streams(keys).items()]
        counts = self._call([Call(("XLEN", name), int) for name, _ in names])
        left = Left()
        for (_, noun), count in zip(names, counts, strict=True):
            left[noun] += count
        return left

    def _call(self, calls: Sequence[Call[Any]]) -> list[Any]:
        transport = open_transport(self.url)
        try:
            return transport.run(calls)
        finally:
            transport.close()


class SyncHeadrace(Headrace):
    """What a plain test has of Headrace, the `headrace_sync` fixture: `run` and `travel` are called without await."""

    def run(  # type: ignore[override] # without await
        self,
        app: App,
        *,
        failures: Literal["raise", "keep"] = "raise",
        timeout: float = 30,
        override: Mapping[Any, Any] | None = None,
        state: Any = msgspec.UNSET,
    ) -> Runs:
        """See `Headrace.run`. The worker has an event loop of its own, in a thread."""
        return _in_thread(self._run(app, failures, timeout, override, state))

    def travel(self, by: float | timedelta | None = None, **parts: float) -> None:  # type: ignore[override] # as `run`
        """See `Headrace.travel`."""
        self._travel(_seconds(by, parts))


class _Seen(Observer):
    """Keeps which runs have ended in a worker, and what their functions have raised."""

    def __init__(self) -> None:
        self.ended: dict[str, None] = {}
        self.exceptions: dict[str, BaseException] = {}

    def watch(self, _app: App, _keys: Keys, _in_flight: InFlight) -> Observer:
        """Return the observer of a partition: this one of all."""
        return self

    def failed(self, delivery: Delivery, exc: BaseException) -> None:
        self.exceptions[delivery.run_id] = exc

    def settled(self, records: Sequence[Settled | Retried], missed: Sequence[int]) -> None:
        lost = set(missed)
        for place, record in enumerate(records):
            if isinstance(record, Settled) and place not in lost:
                self.ended[record.delivery.run_id] = None


def _raise_failures(runs: Runs, exceptions: Mapping[str, BaseException]) -> None:
    failed = [run for run in runs if run.status in FAILED_STATUSES]
    if not failed:
        return
    raised: list[Exception] = []
    for run in failed:
        exc = exceptions.get(run.id)
        shown = exc if isinstance(exc, Exception) else RunFailed(run)
        shown.add_note(f"in run {run.id}, attempt {run.attempt}")
        raised.append(shown)
    runs_failed = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
    raise ExceptionGroup(f"{runs_failed} failed", raised)


def _check_awaited(method: str) -> None:
    """Refuse a call that a plain test makes: nothing would come of it but Python's warning."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        reason = "no event loop of asyncio runs here; a plain test takes the fixture headrace_sync"
        raise InvalidArgument(f"headrace.{method}", reason) from None


def _seconds(by: float | timedelta | None, parts: Mapping[str, float]) -> float:
    """Return how far to travel."""
    given = {**({} if by is None else {"by": by}), **parts}
    try:
        seconds = seconds_of(timedelta(**parts) if by is None else by)
    except (TypeError, OverflowError):
        seconds = None
    if seconds is None or not 0 <= seconds < math.inf or not given or (by is not None and parts):
        named = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "nothing"
        rule = "must be 0 seconds or more, or a timedelta, or parts of one such as days=1"
        raise InvalidArgument("travel", f"{rule}; not {named}")
    return seconds


def _is_event(member: bytes) -> bool:
    return member.startswith(b"e:")


def _delete_keys(transport: AnyTransport, pattern: str) -> None:
    cursor: Any = 0
    while True:
        ((cursor, names),) = transport.run([Call(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000), list)])
        if names:
            transport.run([Call(("DEL", *names), int)])
        if int(cursor) == 0:
            return


def _order(entry_id: str) -> tuple[int, int]:
    millis, _, number = entry_id.partition("-")
    return int(millis), int(number)


def _in_thread(work: Coroutine[Any, Any, R]) -> R:
    """Return what a coroutine returns, run in a thread with an event loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
