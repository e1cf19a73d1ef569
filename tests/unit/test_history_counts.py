"""The checker of chaos compares what the processes counted with the records."""

from __future__ import annotations

import pytest

from tests.faults.chaos.history import Began, Counted, Died, Ended, FinalRun, Named, RolledBack, Settled
from tests.support.story import ONE, TWO, Story, at, ms


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
    """Return the metrics that disagree with the records when the workers have counted so."""
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


def test_a_killed_process_lacks_at_most_its_last_batch() -> None:
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


def test_a_killed_process_may_lack_dispatched_events() -> None:
    """Those between their sends and the first calls of their runs at that time."""
    story = Story()
    story.lines.append(Died(**at(1.005), pid=TWO, how="killed"))
    assert metrics_of(story, dispatched=4) == []  # `now` and `bad`
    assert metrics_of(story, dispatched=3) == ["events dispatched"]


@pytest.mark.parametrize("died", [Died(**at(4.0), pid=TWO, how="killed"), Died(**at(20.0), pid=ONE, how="killed")])
def test_only_a_death_just_then_excuses_a_missing_count(died: Died) -> None:
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
    """The run is recorded, and the answer to a second outcome said so."""
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


def test_an_event_that_a_loss_of_power_took_may_have_been_dispatched() -> None:
    """Its dispatch was counted, and no function was called before it was lost."""
    story = Story()
    story.send("lost", 19.9)
    del story.events["lost"]
    story.lines.append(RolledBack(**at(20.0), since_ms=ms(19.8)))
    assert metrics_of(story, dispatched=7) == []
    assert metrics_of(story, dispatched=8) == ["events dispatched"]


def test_a_delayed_event_may_have_been_dispatched_before_a_loss_of_power_and_after_it() -> None:
    """Its record knows only of the second delivery."""
    story = Story()
    for kind in (Began, Ended, Settled):
        story.drop(kind, "later")
    story.change("later", delivered_ms=ms(3.6))
    story.call("later", 3.7)
    story.settle("later", 3.71)
    story.lines.append(RolledBack(**at(3.5), since_ms=ms(3.2)))
    assert metrics_of(story, dispatched=7) == []
    assert metrics_of(story, dispatched=8) == ["events dispatched"]
