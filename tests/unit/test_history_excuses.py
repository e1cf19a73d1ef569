"""The checker of chaos excuses what a fault explains, and counts it under its cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.chaos.history import (
    Acknowledged,
    AnyLine,
    Began,
    Died,
    FinalRun,
    Injected,
    Named,
    Repeated,
    RolledBack,
    Routed,
    Settled,
)
from tests.support.story import ONE, TWO, Story, at, broken, ms


def lose(story: Story) -> None:
    del story.events["now"]


def fail(story: Story) -> None:
    story.change("now", runs=(FinalRun("app/job", "failed"),))
    story.drop(Settled, "now")
    story.settle("now", 1.02, status="failed")
    story.dead.append("now:app/job")


def come_too_late(story: Story) -> None:
    story.drop(Began, "now")
    story.call("now", 7.0)


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


@pytest.mark.parametrize("how", ["poisoned", "exited"])
def test_a_call_may_begin_between_the_begin_of_a_job_and_the_end_of_its_process(how: str) -> None:
    """The job that ends the process says when it begins; others begin beside it until the process is gone."""
    story = Story()
    call_again(story)
    story.lines.append(Died(**at(5.005), pid=ONE, how=how))
    report = story.checked()
    assert broken(report) == []
    assert report.repeats == {f"worker {how}": 1}


def test_a_call_whose_delivery_was_rolled_back_may_come_again() -> None:
    """It was delivered just before the loss of power, and began just after."""
    story = Story()
    call_again(story)
    story.lines.append(RolledBack(**at(5.0), since_ms=ms(4.8)))
    report = story.checked()
    assert broken(report) == []
    assert report.excused["called again"] == 1


def stand_still(story: Story, since: float, until: float, *, pid: int = ONE) -> None:
    """A job blocks the worker's event loop."""
    story.send("hold", since - 0.1, jobs=("app/holding",))
    story.call("hold", since, pid=pid, job="app/holding", until=until)
    story.settle("hold", until + 0.01, job="app/holding")
    story.change("hold", runs=(FinalRun("app/holding", "succeeded"),))


def be_stopped(story: Story, since: float, until: float, *, pid: int = ONE) -> None:
    story.lines.append(Injected(**at(since), kind="worker stopped", until=until, pids=(pid,)))


@pytest.mark.parametrize("stand", [stand_still, be_stopped])
@pytest.mark.parametrize(
    ("since", "until", "pid", "is_excused"),
    [
        (3.8, 5.0, ONE, True),  # the first call is late, of a delivery that was lost
        (2.9, 5.9, TWO, True),  # the second is: the run was delivered anew, and called in the meantime
        (4.9, 5.0, ONE, False),  # it had worked for a second since the loss
        (2.9, 3.95, ONE, False),  # it worked again long before the call
        (2.9, 4.9, TWO, False),
    ],
)
def test_what_was_delivered_before_a_standstill_may_be_called_after_it(
    stand: Callable[..., None], since: float, until: float, pid: int, *, is_excused: bool
) -> None:
    """A loss of power took the delivery, more than a second before the call of a worker that stood still."""
    story = Story()
    call_again(story)
    stand(story, since, until, pid=pid)
    story.lines.append(RolledBack(**at(3.9), since_ms=ms(3.5)))
    assert (("called twice", "again:app/job") not in broken(story.checked())) == is_excused


def test_a_standstill_excuses_no_second_call_of_what_was_called_before_the_loss() -> None:
    """The first call's delivery and its outcome were older than what the loss of power took."""
    story = Story()
    story.send("twice", 4.9)
    story.run("twice", 5.0)
    story.call("twice", 8.5, pid=TWO)
    stand_still(story, 6.55, 8.4, pid=TWO)
    story.lines.append(RolledBack(**at(6.6), since_ms=ms(6.5)))
    assert ("called twice", "twice:app/job") in broken(story.checked())


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


def test_a_loss_of_power_excuses_calls_before_a_cancel() -> None:
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
    story.send("block", 4.0, jobs=(job,))
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


def test_a_loss_of_power_excuses_runs_begun_meanwhile() -> None:
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


def test_a_run_that_a_loss_of_power_took_may_begin_anew_behind_another() -> None:
    """From its first call to its end is no turn: the other began between the two, and settled before the second."""
    story = Story()
    story.drop(Settled, "step 1")
    story.call("step 1", 4.0, pid=TWO)
    story.settle("step 1", 4.01)
    assert ("two at once", "step 2:app/job") in broken(story.checked())
    story.lines.append(RolledBack(**at(1.16), since_ms=ms(1.14)))
    assert broken(story.checked()) == [("out of order", "step 1:app/job")]


def test_a_late_call_of_a_settled_run_overlaps_no_other() -> None:
    """A worker that has lost its lease may still be in it; what it does has no effect."""
    story = Story()
    story.lines += [
        Injected(**at(1.0), kind="worker stopped", until=1.3, pids=(TWO,)),
        Named(**at(1.31), pid=TWO, name="two-anew"),
    ]
    story.call("step 1", 1.27, pid=TWO, until=1.4)
    assert broken(story.checked()) == []
