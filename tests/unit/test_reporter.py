"""A worker's report has what was counted since the last one that was taken, and now and then the worker's facts."""

from __future__ import annotations

from typing import Any

from headrace import ServerFull
from headrace.calls.call import Call
from headrace.formats.codec import FIRST
from headrace_worker import App, event_trigger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.reporter import Reporter
from headrace_worker.membership.run_counts import ended_of
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.protocol.settling import Retried, Settled, Trail
from tests.support.calls import arguments_of, keys_of
from tests.support.scripted_server import member_over

APP = App("app")


@APP.job(id="job", trigger=event_trigger("asked"))
async def job() -> None: ...


def _delivery(job_id: str = "job") -> Delivery:
    return Delivery(Stream("q", "workers", "w", "app", "default"), "1-0", "e", job_id, FIRST, None, 0)


def _settled(letter: str = "s", job_id: str = "job") -> Settled:
    return Settled(_delivery(job_id), letter, 7, "", b"")


def _counts(reported: list[Any]) -> dict[str, str]:
    (call,) = reported
    flat = arguments_of(call)["counts"]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_facts_come_with_the_first_and_each_third_renewal_of_a_name() -> None:
    """Between them an idle worker reports nothing at all."""
    reporter = Reporter(member_over(app=APP), InFlight(10))
    names = ["w1"] * 7 + ["w2"] * 2
    assert [_taken(reporter, name) for name in names] == [1, 0, 0, 1, 0, 0, 1, 1, 0]


def test_a_new_state_is_reported_until_that_was_taken() -> None:
    """No renewal after that has more to report than before."""
    member = member_over(app=APP)
    reporter = Reporter(member, InFlight(10))
    assert _taken(reporter) == 1
    member.identity.is_quiet = True
    (refused,) = reporter.calls("w1")
    assert _state_of(refused) == "quiet"
    reporter.note([ServerFull("full")])
    (repeated,) = reporter.calls("w1")
    assert _state_of(repeated) == "quiet"
    reporter.note([1])
    assert [_taken(reporter) for _ in range(4)] == [1, 0, 0, 1]
    member.identity.stopping.set()
    (stopping,) = reporter.calls("w1")
    assert _state_of(stopping) == "stopping"


def _taken(reporter: Reporter, name: str = "w1") -> int:
    """Return how many calls a renewal has, whose answers are good."""
    calls = reporter.calls(name)
    reporter.note([1] * len(calls))
    return len(calls)


def _state_of(call: Call[Any]) -> str:
    flat = arguments_of(call)["facts"]
    return str(dict(zip(flat[::2], flat[1::2], strict=True))["state"])


def test_what_was_not_taken_is_reported_again() -> None:
    """Until an answer says that it was; then it is not repeated."""
    member = member_over(app=APP)
    reporter = Reporter(member, InFlight(10))
    reporter.note(reporter.calls("w1"))
    member.counts.add(ended_of([_settled(), _settled("t"), _settled("c")]))
    first = reporter.calls("w1")
    assert _counts(first) == {
        "app/job:s": "1",
        "app/job:f": "1",
        "app/job:c": "1",
        "app/job:ms": "21",
        "app/@default:n": "3",
    }
    assert len(keys_of(first[0])) == 2
    reporter.note([ServerFull("full")])
    member.counts.add(ended_of([_settled()]))
    assert _counts(reporter.last_calls())["app/job:s"] == "2"
    reporter.note([1])
    assert reporter.last_calls() == []


def test_only_attempts_of_known_jobs_are_counted() -> None:
    """A run may also wait, unattempted, for a worker that has its job."""
    member = member_over(app=APP)
    waits = [Retried(_delivery(), "2 0 0 0", 7, 0, b"", Trail(kind, "-", "")) for kind in ("failed", "", "timed_out")]
    member.counts.add(ended_of(waits))
    member.counts.add(ended_of([_settled(job_id="other")]))
    assert member.counts.take() == {"job:r": 2, "job:ms": 14, "@default:n": 2}
    assert member.counts.take() == {}
