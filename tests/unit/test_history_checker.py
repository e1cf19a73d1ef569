"""The checker of chaos finds what breaks each rule, and nothing where nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.chaos.history import (
    Acknowledged,
    Began,
    Diary,
    Died,
    Ended,
    FinalRun,
    Repeated,
    RolledBack,
    Routed,
    Sending,
    Settled,
    in_order,
    read,
)
from tests.support.story import ONE, TWO, Story, at, broken, ms


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


def dead_letter_twice(story: Story) -> None:
    story.dead.append("bad:app/doomed")


def dead_letter_what_succeeded(story: Story) -> None:
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
    dead_letter_twice: ("dead letters", "bad:app/doomed"),
    dead_letter_what_succeeded: ("dead letters", "now:app/job"),
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
