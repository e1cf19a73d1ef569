"""What the server should hold: one namespace in plain Python, its scripts as methods that return what they answer.

Nothing here knows keys, texts or milliseconds. Time is a number of hours that only `pass_time` changes; what is due or
ends at an hour is so from that hour on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.properties.model.facts import Facts
from tests.properties.model.living import Known, Living

LOOK_AGAIN = 4
UNDISPATCHED = 30 * 24
"""For so many hours a canceled event is remembered that no dispatcher had handled."""
QUEUES = ("default", "other")


@dataclass(frozen=True)
class Policy:
    """How many hours a record is kept at least."""

    success: int
    failure: int
    client: int
    sender: int

    def hours(self, kind: str, *, failed: bool) -> tuple[int, int]:
        """Return how long contents are kept, and how long the id is remembered at least."""
        dedupe = {"c": self.client, "s": self.sender, "d": self.failure}[kind]
        return (self.failure if failed else self.success), dedupe


State = tuple[int, int, int, int]
"""What an entry says of its run: attempt, lost workers, since when its job is unknown, replay."""

FIRST: State = (1, 0, 0, 0)


@dataclass(eq=False)
class Entry:
    """An entry of `events`, whose job is empty, or of a queue; it is pending under `holder`.

    That of a canceled run `is_deleted`, and pending until its function has ended.
    """

    event: str
    job: str = ""
    state: State = FIRST
    holder: str | None = None
    is_deleted: bool = False


Letter = tuple[str, str]
"""A dead letter: its run and the reason."""


@dataclass
class Run:
    """A run as its record tells it; `state` is that of its entry."""

    status: str
    state: State
    queue: str
    entry: Entry | None
    letter: Letter | None = None


@dataclass
class Event:
    """A record. `count` is how many runs it got, None until dispatch; `ends` when it goes."""

    @property
    def public_status(self) -> str:
        """The status as users see it in a header."""
        if self.status != "delivered":
            return self.status
        return "pending" if self.count is None else "dispatched"

    name: str
    kind: str
    payload: Any
    token: tuple[str, int]
    status: Literal["delayed", "delivered", "canceled"]
    count: int | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    open: int | None = None
    failed: bool = False
    ends: int | None = None
    has_body: bool = True
    is_watched: bool = False


class Namespace(Living):
    """One namespace as it should be."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.events: dict[str, Event] = {}
        self.streams: dict[str, list[Entry]] = {"events": [], **{queue: [] for queue in QUEUES}}
        self.due: dict[tuple[str, str], int] = {}
        self.dead: list[Letter] = []
        self.settled: list[tuple[str, str]] = []
        self.sent: list[str] = []
        self.paused: set[str] = set()
        self.limits: dict[str, str] = {}

    # sending

    def send(self, call: str, place: int, event_id: str, event: Event, hours: int) -> str:
        """Return what became of one event of a call: `new`, `again`, `duplicate` or `conflict`."""
        known = self.events.get(event_id)
        if known is not None:
            if known.token[0] == call and known.token[1] >= place:
                return "again"
            if known.status != "delayed" or event.kind == "d":
                return "duplicate"
            if known.name != event.name:
                return "conflict"
            event.is_watched = known.is_watched
        else:
            self.sent.append(event_id)
        event.token = (call, place)
        event.status = "delayed" if hours else "delivered"
        self.due.pop((event_id, ""), None)
        if hours:
            self.due[event_id, ""] = self.now + hours
        else:
            self.streams["events"].append(Entry(event_id))
        self.events[event_id] = event
        return "new"

    def cancel(self, event_id: str, *, pending: bool = False) -> str:
        """Return what the script answers; `pending`: cancel also an event that is not dispatched yet."""
        event = self.events.get(event_id)
        if event is None:
            return "missing"
        if event.status == "delayed":
            event.status, event.count = "canceled", 0
            del self.due[event_id, ""]
            self._close(event_id, failed=False)
        elif pending and event.status == "delivered" and event.count is None:
            event.status, event.count = "canceled", 0
            event.ends = self.now + max(UNDISPATCHED, self.policy.success, self.policy.failure)
        return event.status

    def watch(self, event_id: str) -> bool:
        """Return whether the event is known, so that its end will be published."""
        event = self.events.get(event_id)
        if event is not None:
            event.is_watched = True
        return event is not None

    def promote(self, members: Iterable[tuple[str, str]]) -> None:
        """Those of the members that are due are in their streams."""
        for event_id, job in members:
            if self.due.get((event_id, job), self.now + 1) > self.now:
                continue
            del self.due[event_id, job]
            event = self.events[event_id]
            if job:
                run = event.runs[job]
                self._enqueue(event_id, job, run.queue, run.state)
            else:
                event.status = "delivered"
                self.streams["events"].append(Entry(event_id))

    # the path of a run

    def is_closed(self, queue: str) -> bool:
        """Return whether a plain read gets nothing of the queue."""
        return queue in self.paused or self.limits.get(queue, "").isdecimal()

    def take(self, queue: str, worker: str, count: int) -> list[Entry]:
        """Return what the next take gives of the queue: nothing if it is paused, and no more than its limit leaves."""
        limit = self.limits.get(queue, "")
        if limit.isdecimal():
            in_flight = sum(entry.holder is not None for entry in self.streams[queue])
            count = min(count, max(int(limit) - in_flight, 0))
        return self.deliver(queue, worker, 0 if queue in self.paused else count)

    def deliver(self, stream: str, worker: str, count: int) -> list[Entry]:
        """Return the entries that the next read of the stream gives; they are pending for the worker now."""
        found = [entry for entry in self.streams[stream] if entry.holder is None][:count]
        for entry in found:
            entry.holder = worker
        return found

    def dispatch(self, version: int, entries: Sequence[Entry], *, free_first: bool = False) -> int | None:
        """Return how many events were dispatched; None if the routes have changed since that version."""
        if version != self.version:
            return None
        for entry in entries if free_first else ():  # else the server would have refused it
            event = self.events.get(entry.event)
            assert event is None or not any(self.streams[queue] for _, queue in self.routes(event.name))
        dispatched = 0
        for entry in entries:
            is_held = self._acknowledge("events", entry)
            event = self.events.get(entry.event)
            if not is_held or event is None or event.count is not None:
                continue
            dispatched += 1
            routes = self.routes(event.name)
            event.count = len(routes)
            event.open = len(routes) if len(routes) > 1 else None
            for job, queue in routes:
                self._enqueue(entry.event, job, queue, FIRST)
            if not routes:
                self._close(entry.event, failed=False)
        return dispatched

    def start(self, entries: Iterable[Entry]) -> int:
        """Return how many of the runs say now that they execute."""
        runs = [self.events[entry.event].runs[entry.job] for entry in entries if self._is_open(entry)]
        queued = [run for run in runs if run.status == "q"]
        for run in queued:
            run.status = "x"
        return len(queued)

    def settle(self, ends: Sequence[tuple[Entry, str, str]]) -> list[int]:
        """Records ends, each an entry, a status and why it is dead; returns the places of those that were not ours."""
        missed = []
        for place, (entry, status, reason) in enumerate(ends):
            if not self._is_open(entry):
                missed += [] if self._stop(entry) else [place]
                continue
            self._end(entry, status, reason)
            self.settled.append((f"{entry.event}:app/{entry.job}", status))
        return missed

    def dead_letter(self, entry: Entry) -> bool:
        """Return whether the entry was pending; if so, dead-letter it and fail its run, if it has one."""
        if not entry.job:
            was_held = self._acknowledge("events", entry)
            self.dead += [("", "unreadable")] if was_held else []
            return was_held
        if not self._is_open(entry):
            self._stop(entry)
            return False
        self._end(entry, "f", "unreadable")
        self.settled.append((f"{entry.event}:app/{entry.job}", "f"))
        return True

    def retry(self, entries: Sequence[Entry], hours: int, states: Sequence[State]) -> list[int]:
        """Let runs wait, with these states next; return the places of those that were not ours."""
        missed = []
        for place, entry in enumerate(entries):
            if not self._is_open(entry):
                missed += [] if self._stop(entry) else [place]
                continue
            run = self.events[entry.event].runs[entry.job]
            self._acknowledge(run.queue, entry)
            run.status, run.state, run.entry = "w", states[place], None
            self.due[entry.event, entry.job] = self.now + hours
        return missed

    def put_back(self, stream: str, entries: Iterable[Entry], lost: int = 0) -> int:
        """Re-queue the entries; return how many of them were pending."""
        moved = 0
        for entry in entries:
            if self._stop(entry) or not self._acknowledge(stream, entry):
                continue
            moved += 1
            attempt, lost_before, since, replay = entry.state
            if entry.job:
                self._enqueue(entry.event, entry.job, stream, (attempt, lost_before + lost, since, replay))
            else:
                self.streams[stream].append(Entry(entry.event))
        return moved

    def cancel_run(self, event_id: str, job: str, *, queued: bool) -> str:
        """Return what the script answers; `queued`: cancel only a run that no worker has."""
        event = self.events.get(event_id)
        run = event.runs.get(job) if event else None
        if run is None:
            return "missing"
        if run.status not in "qxw":
            return "asked" if run.entry in self.streams[run.queue] else "ended"
        holder = run.entry and run.entry.holder
        if queued and (run.status != "q" or holder):
            return "changed"
        self.due.pop((event_id, job), None)
        entry = run.entry
        if entry is not None and not holder:
            self.streams[run.queue].remove(entry)
        self._record_end(event_id, job, "c", "")
        if entry is not None and holder:
            run.entry, entry.is_deleted = entry, True
        self.settled.append((f"{event_id}:app/{job}", "c"))
        return "asked" if holder else "canceled"

    def rerun(self, event_id: str, job: str, queue: str, *, canceled: bool = False) -> str:
        """Return what the script answers; `canceled`: queue the run also if it was canceled."""
        event = self.events.get(event_id)
        run = event.runs.get(job) if event else None
        if event is None or run is None:
            return "missing"
        if run.status not in ("ftic" if canceled else "fti") or run.queue != queue:
            return "refused"
        if run.letter is not None:
            self.dead.remove(run.letter)
        self._enqueue(event_id, job, queue, (1, 0, 0, 1))
        if event.open is not None:
            event.open += 1
            event.failed = any(other.status in "fti" for other in event.runs.values())
        event.ends = None
        return "queued"

    def _enqueue(self, event_id: str, job: str, queue: str, state: State) -> None:
        entry = Entry(event_id, job, state)
        self.streams[queue].append(entry)
        self.events[event_id].runs[job] = Run("q", state, queue, entry)

    def _is_open(self, entry: Entry) -> bool:
        event = self.events.get(entry.event)
        run = event.runs.get(entry.job) if event else None
        return run is not None and run.entry is entry and run.status in "qx"

    def _stop(self, entry: Entry) -> bool:
        """Return whether the entry was that of a canceled run whose function went on until now."""
        stream = next((each for each in self.streams.values() if entry in each), [])
        if entry.is_deleted and stream:
            stream.remove(entry)
            return True
        return False

    def _acknowledge(self, stream: str, entry: Entry) -> bool:
        if entry.holder is None or entry not in self.streams[stream]:
            return False
        self.streams[stream].remove(entry)
        return True

    def _end(self, entry: Entry, status: str, reason: str) -> None:
        run = self.events[entry.event].runs[entry.job]
        self._acknowledge(run.queue, entry)
        run.state = entry.state
        self._record_end(entry.event, entry.job, status, reason)

    def _record_end(self, event_id: str, job: str, status: str, reason: str) -> None:
        event = self.events[event_id]
        run = event.runs[job]
        run.status, run.entry = status, None
        if reason:
            run.letter = (f"{event_id}:app/{job}", reason)
            self.dead.append(run.letter)
        if event.open is not None:
            event.open -= 1
            event.failed = event.failed or bool(reason and event.open)
        if not event.open:
            self._close(event_id, failed=event.failed or bool(reason))

    def _close(self, event_id: str, *, failed: bool) -> None:
        event = self.events[event_id]
        contents, dedupe = self.policy.hours(event.kind, failed=failed)
        if not contents:
            event.runs, event.open, event.failed, event.has_body = {}, None, False, False
            event.is_watched = False
        event.ends = self.now + max(contents, dedupe)
        if event.ends == self.now:
            del self.events[event_id]

    # workers that die or leave

    def rescue(self, worker: str, stream: str, entries: Sequence[Entry], *, dead: bool) -> int:
        """Return how many entries were re-queued, or why none was."""
        was_fenced = self.is_fenced(worker)
        if not (dead and was_fenced):
            if (self.leases if dead else self.dispatchers).get(worker, 0) > self.now:
                return -1
            if self.now < self.quiet:
                return -2
        was_there = worker in self.leases or self.known.get(worker, Known(has_app=False)).has_app
        moved = self.put_back(stream, entries, lost=int(dead))
        if dead and (moved or (was_there and not was_fenced)):
            self.known.setdefault(worker, Known(has_app=False)).is_fenced = True
            self.leases[worker] = self.now + LOOK_AGAIN
            self.fall(worker)
        return moved

    def leave(self, worker: str, *, dead: bool) -> bool:
        """Return whether the worker is forgotten."""
        is_known = worker in self.leases or worker in self.known
        if dead and is_known and (not self.is_fenced(worker) or self.leases.get(worker, 0) > self.now):
            return False
        if any(entry.holder == worker for stream in self.streams.values() for entry in stream):
            return False
        self._forget(worker)
        return True

    # time

    def pass_time(self, hours: int) -> None:
        """So many hours later; records whose time has come are gone."""
        self.now += hours
        self.events = {
            event_id: event for event_id, event in self.events.items() if event.ends is None or event.ends > self.now
        }

    # what can be seen

    def facts(self) -> Facts:
        """Return what the server should be found to hold."""
        found: Facts = {
            "due": {f"{event}:{job}": self._left(hour) for (event, job), hour in self.due.items()},
            "dead": sorted(self.dead),
            "settled": sorted(self.settled),
            "sent": sorted(self.sent),
            "leases": {name: self._left(hour) for name, hour in self.leases.items()},
            "workers": {name: (known.has_app, known.is_fenced) for name, known in self.known.items()},
            "dispatchers": {name: self._left(hour) for name, hour in self.dispatchers.items()},
            "leader": (self.leader[0], self._left(self.leader[1])) if self.leader else None,
            "quiet": self._left(self.quiet),
            "version": self.version,
            "controls": {
                queue: (queue in self.paused, self.limits.get(queue, "")) for queue in self.paused | self.limits.keys()
            },
            "disabled": set(self.disabled),
        }
        for name, entries in self.streams.items():
            there = [entry for entry in entries if not entry.is_deleted]
            found[f"stream {name}"] = [(entry.event, entry.job, entry.state, entry.holder) for entry in there]
            found[f"stopping {name}"] = [entry.holder for entry in entries if entry.is_deleted]
        for event_id, event in self.events.items():
            found[f"event {event_id}"] = {
                "status": event.public_status,
                "count": event.count,
                "open": event.open,
                "failed": bool(event.open) and event.failed,
                "left": None if event.ends is None else self._left(event.ends),
                "has_body": event.has_body,
                "watched": event.is_watched,
                "runs": {job: (run.status, run.state, run.queue) for job, run in event.runs.items()},
            }
        return found

    def _left(self, hour: int) -> int:
        return max(hour - self.now, 0)
