"""The checker of chaos knows what a paused queue, a limit and a disabled job keep back, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.chaos.history import (
    AnyLine,
    Closed,
    Died,
    Disabled,
    FinalRun,
    Injected,
    Named,
    OfLastRelease,
    RolledBack,
)
from tests.support.story import ONE, TWO, Story, at, broken, ms

OTHER = "app/other"


def close(story: Story, limit: int, **changes: Any) -> None:
    """The queue of `app/job` is closed from 4 s to 6 s, but for so many runs."""
    story.lines.append(Closed(**{**at(4.0), "jobs": ("app/job",), "limit": limit, "until": 6.0, **changes}))


def execute(story: Story, event: str, since: float, until: float, *, pid: int = ONE, settled: float = 0.0) -> None:
    """A run is called and settles."""
    story.send(event, since - 0.01)
    story.call(event, since, pid=pid, until=until)
    story.settle(event, settled or until + 0.001)
    story.change(event, runs=(FinalRun("app/job", "succeeded"),))


@pytest.mark.parametrize(("since", "is_broken"), [(3.999, False), (4.001, True), (5.999, True), (6.001, False)])
def test_a_paused_queue_begins_nothing(since: float, is_broken: bool) -> None:  # noqa: FBT001
    """From the answer to the pause until it is asked to go on."""
    story = Story()
    close(story, 0)
    execute(story, "waits", since, since + 0.1)
    assert broken(story.checked()) == [("begun while paused", "waits:app/job")] * is_broken


def test_what_came_into_a_paused_queue_is_counted() -> None:
    """And not what came into one with a limit."""
    story = Story()
    close(story, 0, waited=("waits:app/job",))
    close(story, 1, waited=("waits, too:app/job",))
    execute(story, "waits", 6.1, 6.2)
    execute(story, "waits, too", 6.3, 6.4)
    report = story.checked()
    assert broken(report) == []
    assert report.counts["runs that waited in a paused queue"] == 1


def test_another_queue_goes_on() -> None:
    """A pause of one queue is none of others."""
    story = Story()
    close(story, 0, jobs=(OTHER,))
    execute(story, "goes on", 5.0, 5.1)
    assert broken(story.checked()) == []


def test_a_worker_begins_what_it_had_already() -> None:
    """Once: not another worker, nor what comes after."""
    story = Story()
    close(story, 0, held=(("had:app/job", "one"), ("begun:app/job", "one")))
    execute(story, "had", 4.5, 4.6)
    execute(story, "begun", 3.9, 4.1)
    assert broken(story.checked()) == []
    assert story.checked().counts["runs that a pause let end"] == 2
    story.call("had", 5.0)
    assert ("begun while paused", "had:app/job") in broken(story.checked())
    story = Story()
    close(story, 0, held=(("had:app/job", "one"),))
    execute(story, "had", 4.5, 4.6, pid=TWO)
    assert broken(story.checked()) == [("begun while paused", "had:app/job")]


def test_a_run_that_was_called_when_its_queue_was_paused_is_not_called_again() -> None:
    """Its delivery is used up, and its retry waits."""
    story = Story()
    close(story, 0, held=(("begun:app/job", "one"),))
    execute(story, "begun", 3.9, 4.1)
    story.call("begun", 4.5)
    assert ("begun while paused", "begun:app/job") in broken(story.checked())


def test_a_limit_is_not_exceeded() -> None:
    """Two at once are none too many, a third is; and nothing is when the limit is over."""
    story = Story()
    close(story, 2)
    execute(story, "first", 4.1, 4.5)
    execute(story, "second", 4.2, 4.6)
    execute(story, "third", 4.51, 6.5)
    execute(story, "after", 6.1, 6.2)
    execute(story, "after, too", 6.1, 6.2)
    report = story.checked()
    assert broken(report) == []
    assert report.counts["calls begun under a limit"] == 3
    assert report.counts["… that reached it"] == 2
    execute(story, "fourth", 4.55, 4.6)
    assert broken(story.checked()) == [("over the limit", "fourth:app/job")]


def test_what_was_in_flight_before_counts() -> None:
    """It goes on, however many they are, and nothing begins beside them."""
    story = Story()
    names = ("one", "two", "three")
    for name in names:
        execute(story, name, 3.9, 5.0)
    close(story, 2, held=tuple((f"{name}:app/job", "one") for name in names))
    assert broken(story.checked()) == []
    execute(story, "next", 4.5, 5.5)
    assert broken(story.checked()) == [("over the limit", "next:app/job")]


NOT_IN_FLIGHT: dict[str, list[AnyLine]] = {
    "killed": [Died(**at(4.3), pid=ONE, how="killed")],
    "ended itself": [
        Injected(**at(4.15), kind="loop ended", until=4.2, pids=(ONE,)),
        Died(**at(5.0), pid=ONE, how="broken"),
    ],
    "stopped": [
        Injected(**at(4.2), kind="worker stopped", until=6.2, pids=(ONE,)),
        Named(**at(6.3), pid=ONE, name="one-anew"),
    ],
    "cut off": [Injected(**at(4.3), kind="line half open", until=6.2, pids=(ONE,))],
    "fenced": [Named(**at(6.3), pid=ONE, name="one-anew")],
    "terminated": [Injected(**at(1.6), kind="worker terminated", until=1.6, pids=(ONE,))],
    "not known to the server": [Injected(**at(4.3), kind="groups destroyed", until=4.3)],
    "forgotten": [RolledBack(**at(4.3), since_ms=ms(4.15))],
}


@pytest.mark.parametrize("how", NOT_IN_FLIGHT)
def test_a_call_whose_worker_has_lost_its_run_does_not_count(how: str) -> None:
    """The function may go on, and the server has given the run to another."""
    story = Story()
    close(story, 1)
    execute(story, "lost", 4.1, 5.0)
    execute(story, "next", 4.5, 4.6, pid=TWO)
    assert broken(story.checked()) == [("over the limit", "next:app/job")]
    story.lines += NOT_IN_FLIGHT[how]
    assert broken(story.checked()) == []


def test_a_function_that_goes_on_after_its_run_has_ended_does_not_count() -> None:
    """It has not heard of its timeout."""
    story = Story()
    close(story, 1)
    execute(story, "deaf", 4.1, 5.0, settled=4.4)
    execute(story, "next", 4.5, 4.6, pid=TWO)
    assert broken(story.checked()) == []


LATE: dict[str, list[AnyLine]] = {
    "by a worker that is fenced": [
        Injected(**at(2.0), kind="worker stopped", until=4.499, pids=(ONE,)),
        Named(**at(4.7), pid=ONE, name="one-anew"),
    ],
    "after the groups were gone": [Injected(**at(3.9), kind="groups destroyed", until=3.9)],
    "after a loss of power": [RolledBack(**at(3.9), since_ms=ms(3.5))],
}


@pytest.mark.parametrize("why", LATE)
def test_what_was_delivered_before_may_begin_late(why: str) -> None:
    """The server does not know any more that a worker has it."""
    story = Story()
    close(story, 0)
    execute(story, "late", 4.5, 4.6)
    assert broken(story.checked()) == [("begun while paused", "late:app/job")]
    story.lines += LATE[why]
    assert broken(story.checked()) == []


def disable(story: Story) -> None:
    """`app/other` is disabled from 4 s to 6 s."""
    story.lines.append(Disabled(**at(4.0), job=OTHER, asked=3.99, until=6.0, over=6.01))


def send_to_both(story: Story, sent: float, called: float) -> None:
    story.send("event", sent, jobs=("app/job", OTHER))
    story.run("event", called)


def test_an_event_makes_no_run_of_a_disabled_job() -> None:
    """It was sent and called by another job in that time; its not having that run is as it should be."""
    story = Story()
    disable(story)
    send_to_both(story, 4.1, 4.2)
    report = story.checked()
    assert broken(report) == []
    assert report.counts["events without a disabled job"] == 1
    story.run("event", 4.3, job=OTHER)
    assert broken(story.checked()) == [("run while disabled", f"event:{OTHER}")]


@pytest.mark.parametrize(("sent", "called"), [(3.5, 3.6), (6.1, 6.2)])
def test_an_event_makes_a_run_of_a_job_that_is_enabled(sent: float, called: float) -> None:
    """It was dispatched before the job was to be disabled, or sent after it was enabled."""
    story = Story()
    disable(story)
    send_to_both(story, sent, called)
    assert broken(story.checked()) == [("not delivered", f"event:{OTHER}")]
    story.run("event", called, job=OTHER)
    assert broken(story.checked()) == []


@pytest.mark.parametrize(("sent", "called"), [(3.9, 4.1), (3.5, 3.995), (5.9, 6.1), (6.005, 6.1)])
def test_an_event_in_between_may_make_a_run_or_not(sent: float, called: float) -> None:
    """The history does not tell when it was dispatched."""
    story = Story()
    disable(story)
    send_to_both(story, sent, called)
    assert broken(story.checked()) == []
    story.run("event", called, job=OTHER)
    assert broken(story.checked()) == []


@pytest.mark.parametrize(
    "lines",
    [
        [OfLastRelease(**at(3.0), pid=TWO)],
        [OfLastRelease(**at(1.0), pid=TWO), Died(**at(4.1), pid=TWO, how="stopped")],
        [RolledBack(**at(4.5), since_ms=ms(4.15))],
    ],
    ids=["last release", "last release that stops", "loss of power"],
)
def test_a_disabled_job_may_have_a_run_all_the_same(lines: list[AnyLine]) -> None:
    """From a dispatcher that knows nothing of it, or as the server has forgotten that the event was dispatched."""
    story = Story()
    disable(story)
    send_to_both(story, 4.1, 4.2)
    story.run("event", 4.3, job=OTHER)
    assert broken(story.checked()) == [("run while disabled", f"event:{OTHER}")]
    story.lines += lines
    assert broken(story.checked()) == []
