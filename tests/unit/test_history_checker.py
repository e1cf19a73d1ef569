"""The checker of chaos finds what breaks each rule, and nothing where nothing does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tests.faults.chaos.checker import Report, Rules, check
from tests.faults.chaos.history import (
    Acknowledged,
    AnyLine,
    Began,
    Canceled,
    Counted,
    Diary,
    Died,
    Ended,
    FinalEvent,
    FinalRun,
    History,
    Injected,
    Named,
    Remains,
    Repeated,
    RolledBack,
    Routed,
    Sending,
    Settled,
    in_order,
    read,
)

RULES = Rules({"app/doomed": "failed"}, lease_s=2, grace_s=3, slack_s=5, blocking=("app/blocking",))
ONE, TWO = 101, 102
"""The pids of two workers."""


def at(seconds: float) -> Any:
    """Returns a moment so many seconds after the start, by both clocks."""
    return {"at": float(seconds), "ms": 1_000_000 + round(seconds * 1000)}


def ms(seconds: float) -> int:
    moment: int = at(seconds)["ms"]
    return moment


class Story:
    """A history in which everything went well, until a test changes it.

    `now` was sent for now, `later` at 1 s for 3 s, `dropped` at 1 s for 9 s and canceled at 2 s; each has a run of
    `app/job`. `bad` ends in failure. `step 1` to `step 3` have an ordering key. ONE executed everything.
    """

    def __init__(self) -> None:
        self.lines: list[AnyLine] = [Named(**at(0), pid=ONE, name="one"), Named(**at(0), pid=TWO, name="two")]
        self.events: dict[str, FinalEvent] = {}
        self.dead: list[str] = []
        self.open: dict[str, int] = {"events": 0}
        self.send("now", 1.0)
        self.run("now", 1.01)
        self.send("later", 1.0, delay_s=2.0)
        self.run("later", 3.01)
        self.send("dropped", 1.0, delay_s=8.0)
        self.lines.append(Canceled(**at(2.0), id="dropped"))
        self.events["dropped"] = FinalEvent("dropped", "canceled", due_ms=ms(9.0))
        self.send("bad", 1.0, job="app/doomed")
        self.run("bad", 1.02, job="app/doomed", status="failed")
        for number in (1, 2, 3):
            self.send(f"step {number}", 1.0 + number / 10, key="key")
            self.run(f"step {number}", 1.0 + number / 10 + 0.05)

    def send(
        self, event: str, when: float, *, delay_s: float = 0.0, job: str = "app/job", key: str = ""
    ) -> None:  # fmt: skip
        """An event was sent and acknowledged 10 ms later, and its record says delivered."""
        delay_ms = round(delay_s * 1000)
        due_ms = ms(when) + delay_ms if delay_ms else 0
        self.lines.append(Sending(**at(when), id=event, name="asked", jobs=(job,), delay_ms=delay_ms, key=key))
        delivered_ms = 0 if delay_ms else ms(when)
        self.lines.append(Acknowledged(**at(when + 0.01), id=event, due_ms=due_ms, delivered_ms=delivered_ms))
        self.events[event] = FinalEvent(event, "settled", (), due_ms, due_ms + 2 if due_ms else delivered_ms)

    def call(self, event: str, when: float, *, pid: int = ONE, job: str = "app/job", until: float | None = 0.0) -> None:
        """A function was called, and returned 5 ms later unless something else is said."""
        worker = {ONE: "one", TWO: "two"}[pid]
        began = Began(**at(when), event=event, job=job, attempt=1, pid=pid, worker=worker)
        self.lines.append(began)
        if until is not None:
            end = at(until or when + 0.005)
            self.lines.append(Ended(**end, event=event, job=job, pid=pid, began=began.at, how="returned"))

    def settle(self, event: str, when: float, *, job: str = "app/job", status: str = "succeeded") -> None:
        """The listing of runs has the run."""
        self.lines.append(Settled(**at(when), run=f"{event}:{job}", status=status))

    def run(self, event: str, when: float, *, job: str = "app/job", status: str = "succeeded") -> None:
        """The run was called and settled, and its record says so."""
        self.call(event, when, job=job)
        self.settle(event, when + 0.01, job=job, status=status)
        record = self.events[event]
        self.events[event] = msgspec.structs.replace(record, runs=(*record.runs, FinalRun(job, status)))
        if status == "failed":
            self.dead.append(f"{event}:{job}")

    def drop(self, kind: type, event: str) -> None:
        """No line of that kind tells of the event."""
        names = {event, f"{event}:app/job"}
        self.lines = [
            line
            for line in self.lines
            if not (isinstance(line, kind) and names & {getattr(line, name, "") for name in ("id", "event", "run")})
        ]

    def change(self, event: str, **changes: Any) -> None:
        """The record of the event says something else."""
        self.events[event] = msgspec.structs.replace(self.events[event], **changes)

    def checked(self, counted: Counted | None = None) -> Report:
        """Returns what the checker says."""
        remains = Remains(self.events, tuple(self.dead), self.open, counted)
        return check(History(in_order(self.lines), remains), RULES)


def broken(report: Report) -> Sequence[tuple[str, str]]:
    return sorted((violation.rule, violation.subject) for violation in report.violations)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """And what there was is counted."""
    report = Story().checked()
    assert broken(report) == []
    expected = {"events": 7, "acknowledged": 7, "delayed": 2, "canceled": 1, "runs": 6, "calls": 6}
    expected |= {"with an ordering key": 3}
    assert {name: report.counts[name] for name in expected} == expected
    assert report.lateness_ms == {"p50": 2.0, "p99": 2.0, "worst": 2.0}
    assert report.repeats == {}


def lose(story: Story) -> None:
    del story.events["now"]


def leave_out_a_run(story: Story) -> None:
    story.change("now", runs=())
    story.drop(Began, "now")


def leave_open(story: Story) -> None:
    story.change("now", is_settled=False)
    story.drop(Settled, "now")


def settle_twice(story: Story) -> None:
    story.settle("now", 4.0)


def settle_in_two_ways(story: Story) -> None:
    story.change("now", runs=(FinalRun("app/job", "failed", 3),))
    story.dead.append("now:app/job")


def never_list(story: Story) -> None:
    story.drop(Settled, "now")


def call_twice(story: Story) -> None:
    story.call("now", 2.0, pid=TWO)


def never_call(story: Story) -> None:
    story.drop(Began, "now")


def call_early(story: Story) -> None:
    story.drop(Began, "later")
    story.call("later", 2.999)


def deliver_early(story: Story) -> None:
    story.change("later", delivered_ms=ms(2.999))


def call_canceled(story: Story) -> None:
    story.call("dropped", 9.0)


def deliver_canceled(story: Story) -> None:
    story.change("dropped", status="settled")


def call_what_nobody_sent(story: Story) -> None:
    story.call("unheard-of", 2.0)


def call_another_job(story: Story) -> None:
    story.call("now", 2.0, job="app/other")


def run_another_job(story: Story) -> None:
    story.run("now", 2.0, job="app/other")


def fail(story: Story) -> None:
    story.change("now", runs=(FinalRun("app/job", "failed"),))
    story.drop(Settled, "now")
    story.settle("now", 1.02, status="failed")
    story.dead.append("now:app/job")


def forget_a_dead_letter(story: Story) -> None:
    story.dead.clear()


def bury_twice(story: Story) -> None:
    story.dead.append("bad:app/doomed")


def bury_what_succeeded(story: Story) -> None:
    story.dead.append("now:app/job")


def send_twice(story: Story) -> None:
    story.lines.append(Repeated(**at(3.0), id="now", duplicate=False))


def come_too_late(story: Story) -> None:
    story.drop(Began, "now")
    story.call("now", 7.0)


def come_back_too_late(story: Story) -> None:
    story.lines.append(Died(**at(1.012), pid=ONE, how="killed"))
    story.call("now", 10.0, pid=TWO)


def miss_a_route(story: Story) -> None:
    story.lines.append(Routed(**at(0.1), job="app/late", name="asked", until=1.0))
    for event in ("later", "bad"):
        story.run(event, 3.5, job="app/late")


def leave_an_entry(story: Story) -> None:
    story.open["queue app/default"] = 1


def end_by_itself(story: Story) -> None:
    story.lines.append(Died(**at(5.0), pid=TWO, how="by itself"))


def roll_back_too_far(story: Story) -> None:
    story.lines.append(RolledBack(**at(9.0), since_ms=ms(6.0)))


def move(story: Story, event: str, when: float) -> None:
    """The run of the event is called and settled at another time."""
    story.drop(Began, event)
    story.drop(Ended, event)
    story.drop(Settled, event)
    story.call(event, when)
    story.settle(event, when + 0.01)


def overtake(story: Story) -> None:
    move(story, "step 2", 1.4)


def begin_before_the_end(story: Story) -> None:
    move(story, "step 2", 1.159)


def begin_beside_an_earlier_one(story: Story) -> None:
    story.drop(Settled, "step 1")
    story.settle("step 1", 1.36)


BREAKS: dict[Callable[[Story], None], tuple[str, str]] = {
    lose: ("lost", "now"),
    leave_out_a_run: ("not delivered", "now:app/job"),
    leave_open: ("not settled", "now"),
    settle_twice: ("settled twice", "now:app/job"),
    settle_in_two_ways: ("settled twice", "now:app/job"),
    never_list: ("not settled", "now:app/job"),
    call_twice: ("called twice", "now:app/job"),
    never_call: ("not called", "now:app/job"),
    call_early: ("early", "later:app/job"),
    deliver_early: ("early", "later"),
    call_canceled: ("canceled and delivered", "dropped"),
    deliver_canceled: ("canceled and delivered", "dropped"),
    call_what_nobody_sent: ("unknown", "unheard-of:app/job"),
    call_another_job: ("delivered wrongly", "now:app/other"),
    run_another_job: ("delivered wrongly", "now:app/other"),
    fail: ("ended wrongly", "now:app/job"),
    forget_a_dead_letter: ("dead letters", "bad:app/doomed"),
    bury_twice: ("dead letters", "bad:app/doomed"),
    bury_what_succeeded: ("dead letters", "now:app/job"),
    send_twice: ("sent twice", "now"),
    come_too_late: ("too late", "now:app/job"),
    come_back_too_late: ("too late", "now:app/job"),
    miss_a_route: ("not delivered", "now:app/late"),
    leave_an_entry: ("left over", "queue app/default"),
    end_by_itself: ("ended by itself", str(TWO)),
    overtake: ("out of order", "step 2:app/job"),
    begin_before_the_end: ("two at once", "step 2:app/job"),
    begin_beside_an_earlier_one: ("two at once", "step 3:app/job"),
    roll_back_too_far: ("rolled back too far", str(ms(9.0))),
}  # fmt: skip


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda breaks: breaks.__name__)
def test_what_breaks_a_rule_is_found(breaks: Callable[[Story], None]) -> None:
    """Whatever else it may break, the rule that it is about is named with its subject."""
    story = Story()
    breaks(story)
    assert BREAKS[breaks] in broken(story.checked())


def call_again(story: Story) -> None:
    """ONE began a call at 5 s whose end is not known, TWO called again at 6 s."""
    story.send("again", 5.0)
    story.call("again", 5.01, until=None)
    story.call("again", 6.0, pid=TWO)
    story.settle("again", 6.01)
    story.change("again", runs=(FinalRun("app/job", "succeeded", 1),))


CAUSES: dict[str, list[AnyLine]] = {
    "worker killed": [Died(**at(5.5), pid=ONE, how="killed")],
    "worker poisoned": [Died(**at(5.5), pid=ONE, how="poisoned")],
    "worker stopped past its lease": [
        Injected(**at(5.1), kind="worker stopped", until=6.5, pids=(ONE,)),
        Named(**at(6.6), pid=ONE, name="one-anew"),
    ],
    "worker cut off past its lease": [
        Injected(**at(5.1), kind="line half open", until=6.5, pids=(ONE,)),
        Named(**at(6.6), pid=ONE, name="one-anew"),
    ],
    "worker exited": [Died(**at(5.5), pid=ONE, how="exited")],
    "worker broken": [  # its end is seen a little after it has let go
        Injected(**at(5.2), kind="loop ended", until=5.3, pids=(ONE,)),
        Died(**at(7.0), pid=ONE, how="broken"),
    ],
    "worker fenced": [Named(**at(6.6), pid=ONE, name="one-anew")],
    "worker stopped before the run's end": [Injected(**at(2.5), kind="worker terminated", until=2.5, pids=(ONE,))],
    "begun by a worker that was fenced": [
        Injected(**at(2.0), kind="worker stopped", until=5.999, pids=(TWO,)),
        Named(**at(6.1), pid=TWO, name="two-anew"),
    ],
    "groups destroyed": [Injected(**at(5.5), kind="groups destroyed", until=5.5)],
    "rolled back": [RolledBack(**at(5.6), since_ms=ms(5.005))],
}


def test_a_call_whose_delivery_was_rolled_back_may_come_again() -> None:
    """It was delivered just before the loss of power, and began just after."""
    story = Story()
    call_again(story)
    story.lines.append(RolledBack(**at(5.0), since_ms=ms(4.8)))
    report = story.checked()
    assert broken(report) == []
    assert report.excused["called again"] == 1


@pytest.mark.parametrize("cause", CAUSES)
def test_a_second_call_with_a_cause_is_counted_under_it(cause: str) -> None:
    """It breaks no rule."""
    story = Story()
    call_again(story)
    story.lines += CAUSES[cause]
    report = story.checked()
    assert broken(report) == []
    assert report.repeats == {cause: 1}


@pytest.mark.parametrize(
    "line",
    [
        Died(**at(5.005), pid=ONE, how="killed"),
        Died(**at(6.5), pid=ONE, how="killed"),
        Died(**at(5.5), pid=TWO, how="killed"),
        Died(**at(5.5), pid=ONE, how="stopped"),
        Died(**at(9.5), pid=ONE, how="broken"),
        Named(**at(4.9), pid=ONE, name="one-anew"),
        Named(**at(5.5), pid=ONE, name="one"),
        Injected(**at(5.1), kind="worker stopped", until=6.5, pids=(ONE,)),
        Injected(**at(5.1), kind="line half open", until=6.5, pids=(ONE,)),
        Injected(**at(2.0), kind="worker stopped", until=5.999, pids=(TWO,)),
        Named(**at(6.1), pid=TWO, name="two-anew"),
        Injected(**at(5.9), kind="worker terminated", until=5.9, pids=(TWO,)),
        Injected(**at(6.1), kind="groups destroyed", until=6.1),
        Injected(**at(5.1), kind="server killed", until=5.9),
        RolledBack(**at(3.9), since_ms=ms(3.5)),
    ],
    ids=lambda line: f"{type(line).__name__} {getattr(line, 'kind', '')} {line.at}",
)
def test_what_is_no_cause_excuses_no_second_call(line: AnyLine) -> None:
    """Another worker's death, one before the call or after the next, a fault that cost no lease: nothing of it."""
    story = Story()
    call_again(story)
    story.lines.append(line)
    assert ("called twice", "again:app/job") in broken(story.checked())


def test_a_call_at_the_next_attempt_is_no_repetition() -> None:
    """A retry is what its job has asked for."""
    story = Story()
    story.lines.append(Began(**at(1.5), event="bad", job="app/doomed", attempt=2, pid=TWO, worker="two"))
    report = story.checked()
    assert broken(report) == []
    assert report.counts["calls beyond one"] == 0


def test_what_a_loss_of_power_took_is_excused_and_counted() -> None:
    """An event of the last second is gone, a run has settled again, an id was taken as new."""
    story = Story()
    lose(story)
    story.settle("bad", 1.5, job="app/doomed", status="failed")
    story.lines.append(Repeated(**at(1.4), id="bad", duplicate=False))
    story.lines.append(RolledBack(**at(1.3), since_ms=ms(0.9)))
    report = story.checked()
    assert broken(report) == []
    assert {name: count for name, count in report.excused.items() if count} == {
        "events lost": 1, "settled again": 1, "sent anew": 1,
    }  # fmt: skip


@pytest.mark.parametrize("since", [1.0005, 1.1])
def test_a_loss_of_power_excuses_nothing_that_was_done_before_it(since: float) -> None:
    """What the server did before the last moment it still knows must be there."""
    story = Story()
    story.send("kept", 1.0)
    del story.events["kept"]
    story.lines.append(RolledBack(**at(1.3), since_ms=ms(since) + 1))
    assert ("lost", "kept") in broken(story.checked())


def test_what_was_canceled_after_a_loss_of_power_may_have_been_called_before() -> None:
    """The server had forgotten that it was delivered; a call that it had not forgotten is none of those."""
    story = Story()
    story.call("dropped", 1.9)
    story.lines.append(RolledBack(**at(1.95), since_ms=ms(1.85)))
    report = story.checked()
    assert ("canceled and delivered", "dropped") not in broken(report)
    assert report.excused["canceled and called before"] == 1
    story.call("dropped", 7.0)
    assert ("canceled and delivered", "dropped") in broken(story.checked())


def test_an_event_whose_send_did_not_return_may_be_there_or_not() -> None:
    """If it is, it has its run as all have."""
    story = Story()
    for event in ("there", "gone", "half"):
        story.send(event, 5.0)
        story.drop(Acknowledged, event)
    story.run("there", 5.1)
    del story.events["gone"]
    report = story.checked()
    assert broken(report) == [("not delivered", "half:app/job")]
    assert report.counts["not acknowledged"] == 3
    assert report.counts["not acknowledged, and there"] == 2


def test_a_run_that_cost_three_workers_their_lives_may_be_dead() -> None:
    """Only if so many were lost, and its record says so."""
    story = Story()
    fail(story)
    story.change("now", runs=(FinalRun("app/job", "failed", 3),))
    assert ("ended wrongly", "now:app/job") in broken(story.checked())
    story.lines += [Died(**at(2.0 + pid), pid=pid, how="killed") for pid in (7, 8, 9)]
    report = story.checked()
    assert broken(report) == []
    assert report.excused["runs that had lost too many workers"] == 1


@pytest.mark.parametrize("kind", ["loop ended", "event loop blocked", "memory refused"])
def test_a_worker_may_end_that_a_fault_has_broken(kind: str) -> None:
    """It is a loss with a cause."""
    story = Story()
    story.lines.append(Died(**at(6.0), pid=TWO, how="broken"))
    assert broken(story.checked()) == [("ended by itself", str(TWO))]
    story.lines.append(Injected(**at(4.0), kind=kind, until=5.0, pids=(TWO,)))
    report = story.checked()
    assert broken(report) == []
    assert report.counts["workers lost"] == 1


@pytest.mark.parametrize(
    "line",
    [
        Injected(**at(4.0), kind="loop ended", until=5.0, pids=(ONE,)),
        Injected(**at(6.5), kind="loop ended", until=7.0, pids=(TWO,)),
        Injected(**at(4.0), kind="line half open", until=6.0, pids=(TWO,)),
        Injected(**at(4.0), kind="log standing", until=6.0, pids=(TWO,)),
        Injected(**at(4.0), kind="threads refused", until=6.0, pids=(TWO,)),
    ],
    ids=lambda line: f"{line.kind} {line.at}",
)
def test_no_other_fault_lets_a_worker_end(line: AnyLine) -> None:
    """Another worker's, one that came later, an outage, a log or a thread that is not there."""
    story = Story()
    story.lines += [Died(**at(6.0), pid=TWO, how="broken"), line]
    assert ("ended by itself", str(TWO)) in broken(story.checked())


@pytest.mark.parametrize(("job", "until", "is_a_cause"), [("app/blocking", None, True), ("app/blocking", 5.0, False)])
def test_a_job_that_blocks_for_good_may_end_its_worker(job: str, until: float | None, is_a_cause: bool) -> None:  # noqa: FBT001
    """Only a call that was never over."""
    story = Story()
    story.send("block", 4.0, job=job)
    story.call("block", 4.1, pid=TWO, job=job, until=until)
    story.settle("block", 5.9, job=job)
    story.change("block", runs=(FinalRun(job, "succeeded"),))
    story.lines.append(Died(**at(6.0), pid=TWO, how="broken"))
    assert broken(story.checked()) == ([] if is_a_cause else [("ended by itself", str(TWO))])


def test_a_fault_gives_what_it_holds_up_its_time() -> None:
    """And two leases, but no more."""
    story = Story()
    come_too_late(story)  # called after 6 s, and 5 s are allowed
    story.lines.append(Injected(**at(1.5), kind="server killed", until=2.0))
    assert broken(story.checked()) == []
    story = Story()
    come_too_late(story)
    story.lines.append(Injected(**at(7.5), kind="server killed", until=8.0))
    assert ("too late", "now:app/job") in broken(story.checked())


def test_what_was_registered_later_may_have_earlier_events() -> None:
    """Between the asking and the registration an event may match or not."""
    story = Story()
    story.lines.append(Routed(**at(0.5), job="app/late", name="asked", until=2.0))
    story.run("now", 2.0, job="app/late")
    assert broken(story.checked()) == []


def test_a_worker_that_was_fenced_without_a_fault_is_counted() -> None:
    """It breaks no rule, as a machine may be slow; but it is to be seen."""
    story = Story()
    story.lines.append(Named(**at(4.0), pid=ONE, name="one-anew"))
    story.lines += [
        Injected(**at(3.0), kind="worker stopped", until=6.0, pids=(TWO,)),
        Named(**at(6.1), pid=TWO, name="two-anew"),
    ]
    assert story.checked().counts["fenced without a fault"] == 1


def test_what_is_written_down_is_read_again(tmp_path: Any) -> None:
    """In the order of time, from all diaries of a folder."""
    story = Story()
    diary = Diary(tmp_path)
    diary.add(*reversed(in_order(story.lines)))
    diary.close()
    assert sorted(map(repr, read(tmp_path))) == sorted(map(repr, story.lines))
    assert [line.at for line in read(tmp_path)] == [line.at for line in in_order(story.lines)]


def test_an_order_is_promised_of_sends_that_returned_for_now() -> None:
    """An event that is delayed, or whose send did not return, may come at any time, but beside no other."""
    for is_delayed in (True, False):
        story = Story()
        if is_delayed:
            story.drop(Sending, "step 2")
            story.send("step 2", 1.2, delay_s=0.2, key="key")
            story.change("step 2", runs=(FinalRun("app/job", "succeeded"),))
        else:
            story.drop(Acknowledged, "step 2")
        move(story, "step 2", 1.5)
        assert broken(story.checked()) == []
        move(story, "step 2", 1.359)
        assert ("two at once", "step 2:app/job") in broken(story.checked())


def test_a_loss_of_power_excuses_a_run_that_began_while_it_was_forgotten() -> None:
    """The settling of the one before it was never listed; the order of the first calls is kept all the same."""
    story = Story()
    story.drop(Settled, "step 1")
    story.call("step 1", 4.0, pid=TWO)
    story.settle("step 1", 4.01)
    story.drop(Settled, "step 2")
    story.call("step 2", 4.1, pid=TWO)
    story.settle("step 2", 4.11)
    story.drop(Settled, "step 3")
    story.call("step 3", 4.2, pid=TWO)
    story.settle("step 3", 4.21)
    assert ("two at once", "step 2:app/job") in broken(story.checked())
    story.lines.append(RolledBack(**at(1.4), since_ms=ms(1.1)))
    assert broken(story.checked()) == []


def test_a_late_call_of_a_run_that_has_settled_is_beside_no_other() -> None:
    """A worker that has lost its lease may still be in it; what it does has no effect."""
    story = Story()
    story.lines += [
        Injected(**at(1.0), kind="worker stopped", until=1.3, pids=(TWO,)),
        Named(**at(1.31), pid=TWO, name="two-anew"),
    ]
    story.call("step 1", 1.27, pid=TWO, until=1.4)
    assert broken(story.checked()) == []


def metrics_of(
    story: Story,
    pids: tuple[int, ...] = (ONE, TWO),
    /,
    *,
    succeeded: int = 5,
    failed: int = 1,
    other: int = 0,
    **changes: int,
) -> list[str]:
    """Returns the metrics that disagree with the records when the workers have counted so."""
    settled = {"succeeded": succeeded, "failed": failed, "timed_out": other}
    report = story.checked(Counted(pids, settled, **{"dead": 1, "dispatched": 6, **changes}))
    assert {violation.rule for violation in report.violations} <= {"metrics"}
    return [violation.subject for violation in report.violations]


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"succeeded": 4}, "runs succeeded"),
        ({"succeeded": 6}, "runs succeeded"),
        ({"failed": 2}, "runs failed"),
        ({"other": 1}, "runs timed_out"),
        ({"dead": 0}, "dead letters"),
        ({"dead": 2}, "dead letters"),
        ({"dispatched": 5}, "events dispatched"),
        ({"dispatched": 7}, "events dispatched"),
    ],
)
def test_a_count_that_differs_from_the_records_is_found(changes: dict[str, int], metric: str) -> None:
    """Be it too low or too high; where nothing is wrong, nothing is found."""
    assert metrics_of(Story()) == []
    assert metrics_of(Story(), **changes) == [metric]


def test_a_process_that_was_killed_lacks_its_last_batch_and_no_more() -> None:
    """Of runs that it had settled one by one only one may be missing, of two of one batch both."""
    story = Story()
    story.lines.append(Died(**at(4.0), pid=ONE, how="killed"))
    assert metrics_of(story, succeeded=4) == []
    assert metrics_of(story, succeeded=3) == ["runs succeeded"]
    for event in ("x", "y"):
        story.send(event, 3.9)
        story.call(event, 3.91)
        story.settle(event, 3.95)
        story.change(event, runs=(FinalRun("app/job", "succeeded"),))
    assert metrics_of(story, succeeded=5, dispatched=8) == []
    assert metrics_of(story, succeeded=4, dispatched=8) == ["runs succeeded"]


def test_a_process_that_was_killed_may_lack_the_events_that_it_dispatched() -> None:
    """Those between their sends and the first calls of their runs at that time."""
    story = Story()
    story.lines.append(Died(**at(1.005), pid=TWO, how="killed"))
    assert metrics_of(story, dispatched=4) == []  # `now` and `bad`
    assert metrics_of(story, dispatched=3) == ["events dispatched"]


@pytest.mark.parametrize("died", [Died(**at(4.0), pid=TWO, how="killed"), Died(**at(20.0), pid=ONE, how="killed")])
def test_another_process_or_an_earlier_time_excuses_no_missing_count(died: Died) -> None:
    """What had been settled long before a death was counted, and what another had settled too."""
    story = Story()
    story.lines.append(died)
    assert metrics_of(story, succeeded=4) == ["runs succeeded"]


def test_what_a_process_does_that_does_not_count_is_in_no_count() -> None:
    """Its own runs, and the events that it may have dispatched: those of its time."""
    story = Story()
    story.lines[1] = Named(**at(5), pid=TWO, name="two")
    story.send("late", 6.0)
    story.call("late", 6.01, pid=TWO)
    story.settle("late", 6.02)
    story.change("late", runs=(FinalRun("app/job", "succeeded"),))
    assert metrics_of(story, (ONE,)) == []
    assert metrics_of(story, (ONE,), succeeded=4) == ["runs succeeded"]
    assert metrics_of(story, (ONE,), dispatched=5) == ["events dispatched"]
    assert metrics_of(story) == ["runs succeeded", "events dispatched"]


def test_a_stale_count_stands_for_a_reply_that_was_lost() -> None:
    """The run is recorded, and whoever recorded it was told that it was so already."""
    assert metrics_of(Story(), succeeded=4, stale=1) == []
    assert metrics_of(Story(), succeeded=3, stale=1) == ["runs succeeded"]
    assert metrics_of(Story(), dispatched=5, stale_dispatches=1) == []
    assert metrics_of(Story(), dispatched=4, stale_dispatches=1) == ["events dispatched"]


def test_a_loss_of_power_lets_be_counted_twice_what_it_took() -> None:
    """And not what was done long before or after it: that is the run of `later` here."""
    story = Story()
    story.lines.append(RolledBack(**at(1.6), since_ms=ms(0.99)))
    assert metrics_of(story, succeeded=5 + 5, failed=1 + 1, dead=2, dispatched=6 + 5) == []
    assert metrics_of(story, succeeded=5 + 6) == ["runs succeeded"]
    assert metrics_of(story, dispatched=6 + 6) == ["events dispatched"]
