"""Checks a history against what is promised, and counts what there was. Pure.

Each rule is a function that yields what breaks it. What a power loss may take with `appendfsync everysec`, all that the
server did in the last second before it, is excused and counted. A call whose delivery was lost may begin after it: what
a worker had been given it calls, as soon as its event loop turns.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import inf

import msgspec

from tests.faults.chaos.agreement import Agreement
from tests.faults.chaos.calls import ROLLED_BACK, Call, Causes, Repeat, calls_in
from tests.faults.chaos.controls import Entry, entries, may_meet, meets
from tests.faults.chaos.history import (
    Acknowledged,
    AnyLine,
    CancelAnswered,
    CancelAsked,
    Canceled,
    Closed,
    Died,
    Disabled,
    FinalEvent,
    FinalRun,
    History,
    Injected,
    Named,
    Repeated,
    RolledBack,
    Routed,
    Sending,
    Settled,
)
from tests.faults.chaos.ordering import Turn, overlapping, overtaken

_BY_JOBS = frozenset({"poisoned", "exited", "broken"})
"""How workers are lost without a fault of that length."""
_ROUNDED_S = 0.002
"""An event may be due so long before its time, as the server counts in milliseconds."""
DEAD = frozenset({"failed", "timed_out", "invalid_payload"})


class Rules(msgspec.Struct, frozen=True):
    """What the history is checked against.

    Attributes:
        ends: the status in which each job's runs end; `succeeded` where it is not named.
        lease_s: the workers' lease.
        grace_s: how long their runs have after a SIGTERM.
        blocking: jobs that block the event loop for good.
        holding: jobs that block it for a while.
        max_lost: how many workers a run may cost.
        slack_s: what anything may take longer than it should, on a machine that is slow.
        rollback_s: the most that a power loss may take.
    """

    ends: dict[str, str]
    lease_s: float
    grace_s: float
    blocking: tuple[str, ...] = ()
    holding: tuple[str, ...] = ()
    max_lost: int = 3
    slack_s: float = 20.0
    rollback_s: float = 2.0


class Violation(msgspec.Struct, frozen=True):
    """A rule was broken, by what, and how."""

    rule: str
    subject: str
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """What came out.

    Attributes:
        counts: how many events, runs and calls there were.
        faults: how many of each kind were injected.
        repeats: calls beyond one, by their cause.
        excused: what a power loss took.
        lateness_ms: of delayed events: p50, p99, worst.
        recovery_s: from the loss of a worker until its run was called again: p50, p99, worst.
    """

    violations: tuple[Violation, ...]
    counts: dict[str, int]
    faults: dict[str, int]
    repeats: dict[str, int]
    excused: dict[str, int]
    lateness_ms: dict[str, float]
    recovery_s: dict[str, float]

    def broken(self, rule: str) -> int:
        """Return how often a rule was broken."""
        return sum(violation.rule == rule for violation in self.violations)


def check(history: History, rules: Rules) -> Report:
    """Return what breaks a rule, and the counts."""
    return _Checker(history, rules).report()


class _Sent(msgspec.Struct):
    """All that its sender knows of an event."""

    sending: Sending
    acknowledged: Acknowledged | None = None
    canceled: Canceled | None = None

    @property
    def due_ms(self) -> int:
        """Before this the event must not be delivered."""
        if self.acknowledged is not None and self.acknowledged.due_ms:
            return self.acknowledged.due_ms
        return self.sending.ms + self.sending.delay_ms if self.sending.delay_ms else 0

    @property
    def carried_out_ms(self) -> int:
        """When the server did what the send asked for."""
        if self.acknowledged is None:
            return 0
        due_ms = self.acknowledged.due_ms
        return due_ms - self.sending.delay_ms if due_ms else self.acknowledged.delivered_ms


class _Cancel(msgspec.Struct):
    """All that is known of the cancellation of a run."""

    asked: CancelAsked
    answered: CancelAnswered | None = None


class _Checker:
    def __init__(self, history: History, rules: Rules) -> None:
        self._rules = rules
        self._lines = history.lines
        self._causes = Causes(history.lines, rules.grace_s, (*rules.blocking, *rules.holding))
        self._sent = _sends_in(history.lines)
        self._calls = calls_in(history.lines)
        self._calls_of_event: dict[str, list[Call]] = defaultdict(list)
        self._calls_of_job: dict[str, list[Call]] = defaultdict(list)
        for (event, job), calls in self._calls.items():
            self._calls_of_event[event] += calls
            self._calls_of_job[job] += calls
        self._cancels = _cancels_in(history.lines)
        self._routes = [line for line in history.lines if isinstance(line, Routed)]
        self._closed = [line for line in history.lines if isinstance(line, Closed)]
        self._disabled = [line for line in history.lines if isinstance(line, Disabled)]
        self._faults = [line for line in history.lines if isinstance(line, Injected)]
        self._losses = self._causes.losses()
        self._repeats = [repeat for calls in self._calls.values() for repeat in self._causes.repeats(calls)]
        self._settles: dict[str, list[Settled]] = defaultdict(list)
        for line in history.lines:
            if isinstance(line, Settled):
                self._settles[line.run].append(line)
        self._excused: Counter[str] = Counter()
        self._remains = msgspec.structs.replace(history.remains, dead=self._dead_of_this_release(history.remains.dead))
        counted = history.remains.counted
        self._agreement = Agreement(counted, self._remains, self._calls, history.lines) if counted else None

    def _dead_of_this_release(self, dead: Sequence[str]) -> tuple[str, ...]:
        """Return the dead letters but for those of runs that were canceled while a worker of the last release had them.

        It knows of no entry that is deleted and stays pending, and takes that for a foreign one.
        """
        foreign = [each for each in dead if each.startswith("foreign ")][: self._canceled_under_last_release()]
        self._excused["canceled under the last release"] += len(foreign)
        return tuple(each for each in dead if each not in foreign)

    def _canceled_under_last_release(self) -> int:
        """Return how many canceled runs such a worker may have had."""
        if not self._causes.has_last_release(0, inf):
            return 0
        asked = [run for run, each in self._cancels.items() if each.answered and each.answered.answer == "asked"]
        calls = [self._calls.get((run.rpartition(":")[0], run.rpartition(":")[2]), []) for run in asked]
        return sum(not each or any(self._causes.is_of_last_release(call.pid) for call in each) for each in calls)

    def report(self) -> Report:
        rules = (
            self._lost, self._runs, self._settled_once, self._called, self._repeated, self._early, self._canceled,
            self._duplicates, self._dead, self._died, self._in_time, self._recovered, self._rolled_back,
            self._at_baseline, self._in_order, self._closed_to, self._disabled_for, self._canceled_runs, self._metrics,
        )  # fmt: skip
        violations = tuple(violation for rule in rules for violation in rule())
        return Report(
            violations,
            self._counts(),
            dict(sorted(Counter(fault.kind for fault in self._faults).items())),
            dict(sorted(Counter(repeat.cause or "no cause" for repeat in self._repeats).items())),
            dict(sorted(self._excused.items())),
            _spread(self._lateness()),
            _spread([repeat.call.at - repeat.since for repeat in self._repeats if repeat.cause]),
        )

    # the rules

    def _lost(self) -> Iterator[Violation]:
        """An event whose send returned is known."""
        for event_id, sent in self._sent.items():
            if sent.acknowledged is None or event_id in self._remains.events:
                continue
            if self._causes.is_rolled_back(sent.carried_out_ms):
                self._excused["events lost"] += 1
            else:
                yield Violation("lost", event_id, f"acknowledged at {sent.acknowledged.ms}, and no record of it")

    def _runs(self) -> Iterator[Violation]:
        """An event that is known has one run for each job that matches, and each has ended as it should."""
        for event in self._remains.events.values():
            if not event.is_settled:
                yield Violation("not settled", event.id, f"{event.status}, {event.runs}")
            elif event.status == "settled":
                yield from self._runs_of(event)

    def _runs_of(self, event: FinalEvent) -> Iterator[Violation]:
        sent = self._sent.get(event.id)
        if sent is None:
            yield Violation("unknown", event.id, "a record of an event that was not sent")
            return
        must, may = self._jobs_of(sent)
        jobs = [run.job for run in event.runs]
        for job in sorted(must - set(jobs)):
            yield Violation("not delivered", f"{event.id}:{job}", "the job has no run of it")
        for job in sorted(set(jobs) - may):
            yield Violation("delivered wrongly", f"{event.id}:{job}", "the event does not match the job")
        for run in event.runs:
            name = f"{event.id}:{run.job}"
            expected = "canceled" if self._is_canceled(name) else self._rules.ends.get(run.job, "succeeded")
            is_excused = self._may_be_canceled(name) if run.status == "canceled" else self._is_out_of_lives(sent, run)
            if run.status != expected and not is_excused:
                yield Violation("ended wrongly", name, f"{run.status}, not {expected}")

    def _jobs_of(self, sent: _Sent) -> tuple[set[str], set[str]]:
        """Return the jobs that must have a run of the event, and those that may."""
        must = set(sent.sending.jobs)
        may = set(must)
        for route in self._routes:
            if route.name == sent.sending.name:
                may.add(route.job)
                if sent.sending.at >= route.until:
                    must.add(route.job)
        dispatched = self._dispatched(sent)
        return must - {line.job for line in self._disabled if may_meet(line, *dispatched)}, may

    def _dispatched(self, sent: _Sent) -> tuple[float, float]:
        """Return since when and until when the event may have been dispatched."""
        since = sent.sending.at + sent.sending.delay_ms / 1000 - _ROUNDED_S * bool(sent.sending.delay_ms)
        calls = self._calls_of_event.get(sent.sending.id, [])
        may_be_again = any(map(self._causes.touches_rollback, calls))
        return since, inf if may_be_again else min((call.at for call in calls), default=inf)

    def _may_be_canceled(self, run: str) -> bool:
        cancel = self._cancels.get(run)
        return cancel is not None and (cancel.answered is None or cancel.answered.answer != "already_finished")

    def _is_canceled(self, run: str) -> bool:
        """Return whether the server has answered so, and remembers it."""
        cancel = self._cancels.get(run)
        if cancel is None or cancel.answered is None or cancel.answered.answer == "already_finished":
            return False
        return not any(self._causes.is_rolled_back(line.ms) for line in (cancel.asked, cancel.answered))

    def _is_out_of_lives(self, sent: _Sent, run: FinalRun) -> bool:
        """Return whether so many workers were lost since the send that the run may be dead for that."""
        lost = sum(at >= sent.sending.at for at, _ in self._losses)
        is_excused = run.status == "failed" and run.lost >= self._rules.max_lost and lost >= self._rules.max_lost
        self._excused["runs that had lost too many workers"] += is_excused
        return is_excused

    def _settled_once(self) -> Iterator[Violation]:
        """A run has settled once, and as its record says."""
        for event in self._remains.events.values():
            for run in event.runs:
                name = f"{event.id}:{run.job}"
                settles = self._settles.get(name, [])
                kept = [settle for settle in settles if not self._causes.is_rolled_back(settle.ms)]
                self._excused["settled again"] += len(settles) > 1 and len(kept) < len(settles)
                if len(kept) > 1:
                    times = ", ".join(f"{settle.status} at {settle.ms}" for settle in kept)
                    yield Violation("settled twice", name, times)
                elif not settles and event.is_settled:
                    yield Violation("not settled", name, f"its record says {run.status}, the listing of runs nothing")
                elif settles and settles[-1].status != run.status:
                    yield Violation("settled twice", name, f"{settles[-1].status} in the listing, {run.status} now")

    def _called(self) -> Iterator[Violation]:
        """Check that functions are called for sent events and their jobs only, and for each of them."""
        for event_id, job in self._calls:
            sent = self._sent.get(event_id)
            if sent is None:
                yield Violation("unknown", f"{event_id}:{job}", "called for an event that was not sent")
            elif job not in self._jobs_of(sent)[1]:
                yield Violation("delivered wrongly", f"{event_id}:{job}", "called, and the event does not match")
        for event in self._remains.events.values():
            for run in event.runs:
                is_called = (event.id, run.job) in self._calls
                if not is_called and run.status != "canceled" and run.lost < self._rules.max_lost:
                    yield Violation("not called", f"{event.id}:{run.job}", f"it is {run.status} all the same")

    def _repeated(self) -> Iterator[Violation]:
        """A second call has a cause."""
        for repeat in self._repeats:
            if not repeat.cause:
                before, call = repeat.before, repeat.call
                detail = f"by {before.pid} at {before.at:.3f} until {before.until}, by {call.pid} at {call.at:.3f}"
                yield Violation("called twice", f"{call.event}:{call.job}", detail)
            elif repeat.cause == ROLLED_BACK:
                self._excused["called again"] += 1

    def _early(self) -> Iterator[Violation]:
        """Nothing delayed is delivered or called before its time, by the server's clock."""
        for event_id, sent in self._sent.items():
            event = self._remains.events.get(event_id)
            if not sent.due_ms:
                continue
            if event is not None and 0 < event.delivered_ms < sent.due_ms:
                yield Violation("early", event_id, f"delivered {sent.due_ms - event.delivered_ms} ms before its time")
            for job in sorted(self._jobs_of(sent)[1]):
                first = next(iter(self._calls.get((event_id, job), ())), None)
                if first is not None and first.ms < sent.due_ms:
                    yield Violation("early", f"{event_id}:{job}", f"called {sent.due_ms - first.ms} ms before its time")

    def _canceled(self) -> Iterator[Violation]:
        """An event that is canceled is never called."""
        for event_id, sent in self._sent.items():
            if sent.canceled is None or self._causes.is_rolled_back(sent.canceled.ms):
                continue
            event = self._remains.events.get(event_id)
            jobs = {job: self._calls.get((event_id, job), []) for job in self._jobs_of(sent)[1]}
            called = sorted(job for job, calls in jobs.items() if not all(map(self._causes.touches_rollback, calls)))
            self._excused["canceled and called before"] += any(jobs.values()) and not called
            if called or (event is not None and event.status != "canceled"):
                yield Violation("canceled and delivered", event_id, f"{event and event.status}, called {called}")

    def _duplicates(self) -> Iterator[Violation]:
        """Check that a repeated send of a delivered event's id is answered as a duplicate."""
        for line in self._lines:
            if isinstance(line, Repeated) and not line.duplicate:
                if self._causes.is_rolled_back(self._sent[line.id].carried_out_ms):
                    self._excused["sent anew"] += 1
                else:
                    yield Violation("sent twice", line.id, "it was known, and the answer says that it was not")

    def _dead(self) -> Iterator[Violation]:
        """Each run that ended without success is in `dead` once, and nothing else is."""
        found = Counter(self._remains.dead)
        expected = Counter(
            f"{event.id}:{run.job}"
            for event in self._remains.events.values()
            for run in event.runs
            if run.status in DEAD
        )
        for run in sorted((found - expected).keys()):
            yield Violation("dead letters", run, f"{found[run]} times in dead, {expected[run]} expected")
        for run in sorted((expected - found).keys()):
            yield Violation("dead letters", run, "failed, and not in dead")

    def _died(self) -> Iterator[Violation]:
        """No worker ends by itself, but one that does not work for a cause that is in the history."""
        for line in self._lines:
            if isinstance(line, Died) and line.how == "by itself":
                yield Violation("ended by itself", str(line.pid), f"a worker process {line.last}")
            elif isinstance(line, Died) and line.how == "broken" and not self._is_broken_for_a_cause(line):
                yield Violation("ended by itself", str(line.pid), "a worker that took itself for broken")

    def _is_broken_for_a_cause(self, death: Died) -> bool:
        return self._causes.is_broken_by(death, self._rules.blocking)

    def _in_time(self) -> Iterator[Violation]:
        """What is acknowledged is called soon, but for the time that faults took."""
        for (event_id, job), calls in self._calls.items():
            sent = self._sent.get(event_id)
            if sent is None or sent.acknowledged is None or job not in sent.sending.jobs:
                continue
            since = sent.acknowledged.at + sent.sending.delay_ms / 1000
            if calls[0].at - since > self._allowed_s(since, calls[0].at):
                yield Violation("too late", f"{event_id}:{job}", f"first called after {calls[0].at - since:.1f} s")

    def _recovered(self) -> Iterator[Violation]:
        """Check that a lost worker's runs are called again soon, apart from the time that other faults took."""
        for repeat in self._repeats:
            took_s = repeat.call.at - repeat.since
            if repeat.cause and took_s > self._allowed_s(repeat.since, repeat.call.at):
                subject = f"{repeat.call.event}:{repeat.call.job}"
                yield Violation("too late", subject, f"called again after {took_s:.1f} s: {repeat.cause}")

    def _allowed_s(self, since: float, until: float) -> float:
        """Return the time that faults may take: each its own, and two leases: to be noticed, and the quiet time."""
        leases_s = 2 * self._rules.lease_s
        faults = [fault for fault in self._faults if fault.at <= until and fault.until + leases_s >= since]
        deaths = sum(since - leases_s <= at <= until for at, how in self._losses if how in _BY_JOBS)
        faults_s = sum(fault.until - fault.at + leases_s for fault in faults)
        return self._rules.slack_s + faults_s + deaths * leases_s

    def _rolled_back(self) -> Iterator[Violation]:
        """A power loss takes no more than it may."""
        for line in self._lines:
            if isinstance(line, RolledBack) and line.ms - line.since_ms > self._rules.rollback_s * 1000:
                yield Violation("rolled back too far", str(line.ms), f"by {line.ms - line.since_ms} ms")

    def _at_baseline(self) -> Iterator[Violation]:
        """When all has drained, nothing is left."""
        for name, count in sorted(self._remains.open.items()):
            if count:
                yield Violation("left over", name, str(count))

    def _metrics(self) -> Iterator[Violation]:
        """What workers have counted is what the records say."""
        if self._agreement is not None:
            for what, detail in self._agreement.breaches():
                yield Violation("metrics", what, detail)

    def _in_order(self) -> Iterator[Violation]:
        """Run of an ordering key begin in the order of the sends, each when the one before it has settled."""
        for turns in self._turns().values():
            for before, turn in overlapping(turns):
                if not self._causes.touches_rollback(turn.call):
                    detail = f"began at {turn.call.ms}, and {before.call.event} settled at {before.settled_ms}"
                    yield Violation("two at once", f"{turn.call.event}:{turn.call.job}", detail)
            for after, turn in overtaken(turns):
                detail = f"began at {turn.call.ms}, after {after.call.event}, which was sent later"
                yield Violation("out of order", f"{turn.call.event}:{turn.call.job}", detail)

    def _closed_to(self) -> Iterator[Violation]:
        """A paused queue begins nothing, and a limit is not exceeded, but for what workers had already."""
        for closed in self._closed:
            for entry in self._entries(closed):
                if entry.in_flight > closed.limit:
                    rule = "over the limit" if closed.limit else "begun while paused"
                    detail = f"{entry.in_flight} of {closed.limit} at {entry.call.ms}, by {entry.call.worker}"
                    yield Violation(rule, f"{entry.call.event}:{entry.call.job}", detail)

    def _entries(self, closed: Closed) -> Iterator[Entry]:
        calls = [call for job in closed.jobs for call in self._calls_of_job[job]]
        found = entries(closed, calls, self._causes.held_until)
        return (entry for entry in found if not self._causes.was_begun_late(entry.call))

    def _disabled_for(self) -> Iterator[Violation]:
        """An event makes no run of a job that was disabled when it was dispatched."""
        for line, event in self._kept_from():
            record = self._remains.events.get(event)
            has_run = record is not None and any(run.job == line.job for run in record.runs)
            if has_run or (event, line.job) in self._calls:
                yield Violation("run while disabled", f"{event}:{line.job}", f"disabled from {line.at} to {line.until}")

    def _kept_from(self) -> Iterator[tuple[Disabled, str]]:
        """Yield each event that a job did not get as it was disabled; the last release knows nothing of that."""
        for line in self._disabled:
            for event, sent in self._sent.items():
                dispatched = self._dispatched(sent)
                is_kept = line.job in sent.sending.jobs and meets(line, *dispatched)
                if is_kept and not self._causes.has_last_release(*dispatched):
                    yield line, event

    def _canceled_runs(self) -> Iterator[Violation]:
        """A canceled run is not called any more, but once by a worker that had it and had not begun it."""
        for run, cancel in self._cancels.items():
            answered = cancel.answered
            if answered is None or not self._is_canceled(run):
                continue
            event, _, job = run.rpartition(":")
            calls = self._calls.get((event, job), [])
            later = [call for call in calls if call.at > answered.at and not self._causes.was_begun_late(call)]
            is_begun = any(call.at <= answered.at < self._causes.open_until(call) for call in calls)
            if answered.answer == "asked" and not is_begun:
                later = later[1:]
            for call in later:
                yield Violation("called when canceled", run, f"by {call.worker} at {call.ms}: {answered.answer}")

    def _turns(self) -> dict[tuple[str, str], list[Turn]]:
        """Return the runs of each ordering key and job that were called and have settled.

        A run that the server has forgotten begins anew, maybe behind others: an event with a delay is in turn when it
        is due, and what makes it due comes back with the server.
        """
        found: dict[tuple[str, str], list[Turn]] = defaultdict(list)
        places = {event_id: place for place, event_id in enumerate(self._sent)}
        for (event_id, job), calls in self._calls.items():
            sent, settles = self._sent.get(event_id), self._settles.get(f"{event_id}:{job}")
            is_open = not settles or f"{event_id}:{job}" in self._cancels  # a canceled function may go on
            if sent is not None and sent.sending.key and settles and not is_open:
                place = places[event_id] if sent.acknowledged and not sent.sending.delay_ms else -1
                begun = next((each for each in calls if not self._causes.is_rolled_back(each.ms)), calls[0])
                settled_ms = next((each.ms for each in settles if each.ms >= begun.ms), settles[-1].ms)
                found[sent.sending.key, job].append(Turn(begun, settled_ms, place))
        return found

    # the counts

    def _counts(self) -> dict[str, int]:
        sent = self._sent.values()
        runs = [run for event in self._remains.events.values() for run in event.runs]
        acknowledged = sum(each.acknowledged is not None for each in sent)
        answers = Counter(cancel.answered.answer for cancel in self._cancels.values() if cancel.answered)
        known = sum(each.acknowledged is None and each.sending.id in self._remains.events for each in sent)
        return {
            "events": len(self._sent),
            "acknowledged": acknowledged,
            "not acknowledged": len(self._sent) - acknowledged,
            "not acknowledged, and there": known,
            "delayed": sum(each.sending.delay_ms > 0 for each in sent),
            "canceled": sum(each.canceled is not None for each in sent),
            "runs canceled": answers["canceled"],
            "… that a worker had": answers["asked"],
            "… that had ended before": answers["already_finished"],
            "replays": sum(event.endswith("~r1") for event in self._sent),
            "with an ordering key": sum(bool(each.sending.key) for each in sent),
            "calls begun under a limit": sum(len(list(self._entries(line))) for line in self._closed if line.limit),
            "… that reached it": sum(
                entry.in_flight == line.limit for line in self._closed for entry in self._entries(line)
            ),
            "runs that a pause let end": sum(len(line.held) for line in self._closed if not line.limit),
            "runs that waited in a paused queue": sum(len(line.waited) for line in self._closed if not line.limit),
            "events without a disabled job": len(list(self._kept_from())),
            "sent again": sum(isinstance(line, Repeated) for line in self._lines),
            "runs": len(runs),
            "runs dead": sum(run.status in DEAD for run in runs),
            "calls": sum(map(len, self._calls.values())),
            "calls beyond one": len(self._repeats),
            "workers": len({line.pid for line in self._lines if isinstance(line, Named)}),
            "workers lost": len(self._losses),
            "losses of power": sum(isinstance(line, RolledBack) for line in self._lines),
            "fenced without a fault": self._causes.fenced_without_fault(),
            **(self._agreement.counts() if self._agreement else {}),
        }

    def _lateness(self) -> list[float]:
        found = []
        for event in self._remains.events.values():
            sent = self._sent.get(event.id)
            if sent is not None and sent.acknowledged and sent.acknowledged.due_ms and event.delivered_ms:
                found.append(float(event.delivered_ms - sent.acknowledged.due_ms))
        return found


def _sends_in(lines: Sequence[AnyLine]) -> dict[str, _Sent]:
    found: dict[str, _Sent] = {}
    for line in lines:
        if isinstance(line, Sending):
            found.setdefault(line.id, _Sent(line))
        elif isinstance(line, Acknowledged) and found[line.id].acknowledged is None:
            found[line.id].acknowledged = line
        elif isinstance(line, Canceled):
            found[line.id].canceled = line
    return found


def _cancels_in(lines: Sequence[AnyLine]) -> dict[str, _Cancel]:
    found: dict[str, _Cancel] = {}
    for line in lines:
        if isinstance(line, CancelAsked):
            found[line.run] = _Cancel(line)
        elif isinstance(line, CancelAnswered):
            found[line.run].answered = line
    return found


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    at = [min(int(len(ordered) * share), len(ordered) - 1) for share in (0.5, 0.99)]
    return {"p50": round(ordered[at[0]], 3), "p99": round(ordered[at[1]], 3), "worst": round(ordered[-1], 3)}


__all__ = ["Call", "Repeat", "Report", "Rules", "Violation", "check"]
