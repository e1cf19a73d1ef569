"""The checker of chaos knows what may become of a run that is canceled, and of an event that is replayed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.chaos.history import (
    CancelAnswered,
    CancelAsked,
    FinalEvent,
    FinalRun,
    Injected,
    Named,
    OfLastRelease,
    RolledBack,
    Settled,
)
from tests.support.story import ONE, TWO, Story, at, broken, ms

RUN = "run:app/job"


def cancel(story: Story, answer: str | None = "canceled") -> None:
    """The run of the event `run`, sent at 4.5 s, is canceled at 5 s, and it has not been called."""
    story.send("run", 4.5)
    story.lines.append(CancelAsked(**at(4.99), run=RUN))
    if answer is not None:
        story.lines.append(CancelAnswered(**at(5.0), run=RUN, answer=answer))
    end(story, "canceled")


def end(story: Story, status: str) -> None:
    story.settle("run", 4.995, status=status)
    story.change("run", runs=(FinalRun("app/job", status),))


def test_a_canceled_run_needs_no_call() -> None:
    """And they are counted by the answer."""
    story = Story()
    cancel(story)
    report = story.checked()
    assert broken(report) == []
    assert report.counts["runs canceled"] == 1
    assert report.counts["… that a worker had"] == 0


def test_a_canceled_run_is_not_called() -> None:
    """Neither for the first time nor at its next attempt; what was before the answer is as it should be."""
    story = Story()
    cancel(story)
    story.call("run", 4.6)
    assert broken(story.checked()) == []
    story.call("run", 5.001, pid=TWO)
    assert ("called when canceled", RUN) in broken(story.checked())


def test_the_worker_that_had_a_canceled_run_may_begin_it_once() -> None:
    """If it had not yet: the answer says that it was asked to end it."""
    story = Story()
    cancel(story, "asked")
    story.call("run", 5.1)
    assert broken(story.checked()) == []
    story.call("run", 5.2)
    assert ("called when canceled", RUN) in broken(story.checked())


def test_a_canceled_run_that_was_called_is_not_called_again() -> None:
    """Its worker had begun it, so no other delivery is left."""
    story = Story()
    cancel(story, "asked")
    story.call("run", 4.9, until=5.5)
    assert broken(story.checked()) == []
    story.call("run", 5.6)
    assert ("called when canceled", RUN) in broken(story.checked())


@pytest.mark.parametrize(
    ("answer", "status", "is_broken"),
    [
        ("canceled", "succeeded", True),
        ("asked", "succeeded", True),
        ("already_finished", "succeeded", False),
        ("already_finished", "canceled", True),
        (None, "canceled", False),
        (None, "succeeded", False),
    ],
)
def test_what_came_first_stays(answer: str | None, status: str, is_broken: bool) -> None:  # noqa: FBT001
    """The record says what the answer said; without an answer it may say either."""
    story = Story()
    cancel(story, answer)
    story.drop(Settled, "run")
    story.call("run", 4.9)
    end(story, status)
    assert broken(story.checked()) == [("ended wrongly", RUN)] * is_broken


def test_a_run_that_nobody_canceled_is_not_canceled() -> None:
    """It ended wrongly."""
    story = Story()
    cancel(story)
    story.lines = [line for line in story.lines if not isinstance(line, CancelAsked | CancelAnswered)]
    assert broken(story.checked()) == [("ended wrongly", RUN)]


@pytest.mark.parametrize(
    "lines",
    [
        [RolledBack(**at(5.5), since_ms=ms(4.98))],
        [Injected(**at(5.05), kind="groups destroyed", until=5.05)],
        [
            Injected(**at(3.0), kind="worker stopped", until=5.05, pids=(ONE,)),
            Named(**at(5.2), pid=ONE, name="one-anew"),
        ],
    ],
    ids=["loss of power", "groups destroyed", "a fenced worker"],
)
def test_a_canceled_run_may_be_called_for_a_cause(lines: list[Any]) -> None:
    """The server has forgotten that it was canceled, or which worker had it."""
    story = Story()
    cancel(story)
    story.call("run", 5.1)
    assert broken(story.checked()) == [("called when canceled", RUN)]
    story.lines += lines
    assert broken(story.checked()) == []


def test_a_canceled_run_of_an_ordering_key_is_in_nobodys_way() -> None:
    """Its function may go on when the next run of its key begins."""
    story = Story()
    story.drop(Settled, "step 1")
    story.lines += [
        CancelAsked(**at(1.16), run="step 1:app/job"),
        CancelAnswered(**at(1.3), run="step 1:app/job", answer="asked"),
    ]
    story.settle("step 1", 1.29, status="canceled")
    story.change("step 1", runs=(FinalRun("app/job", "canceled"),))
    assert broken(story.checked()) == []


def replayed() -> Story:
    """`now~r1` is a replay of `now`."""
    story = Story()
    story.send("now~r1", 5.0)
    story.run("now~r1", 5.1)
    return story


def test_a_replay_runs_once() -> None:
    """For each job of the original."""
    story = replayed()
    assert broken(story.checked()) == []
    assert story.checked().counts["replays"] == 1
    story.call("now~r1", 5.2, pid=TWO)
    assert broken(story.checked()) == [("called twice", "now~r1:app/job")]


def test_a_replay_that_does_not_run_is_found() -> None:
    """It is an event like any other."""
    story = replayed()
    story.change("now~r1", runs=())
    assert ("not delivered", "now~r1:app/job") in broken(story.checked())


def test_an_event_that_is_replayed_twice_for_one_call_is_found() -> None:
    """Nobody has sent the second replay."""
    story = replayed()
    story.events["now~r2"] = FinalEvent("now~r2", "settled", (FinalRun("app/job", "succeeded"),))
    assert ("unknown", "now~r2") in broken(story.checked())


@pytest.mark.parametrize(
    ("of_last_release", "letters", "is_sound"), [(ONE, 1, True), (ONE, 2, False), (TWO, 1, False), (None, 1, False)]
)
def test_a_worker_of_the_last_release_may_leave_a_letter_of_a_canceled_run(
    of_last_release: int | None, letters: int, *, is_sound: bool
) -> None:
    """One for each run that it had, and only it."""
    story = Story()
    cancel(story, "asked")
    story.call("run", 4.6)
    if of_last_release is not None:
        story.lines.append(OfLastRelease(**at(1.0), pid=of_last_release))
    story.dead += [f"foreign {number}-0" for number in range(letters)]
    assert ("dead letters" not in dict(broken(story.checked()))) == is_sound
