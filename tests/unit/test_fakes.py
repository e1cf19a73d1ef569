"""A job's function can be called in a test with stand-ins that refuse what a server would."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace import Event, InvalidEvent, SendOptions
from headrace.model.ids import derived_event_id
from headrace_worker import Context, JobIO, Retry, SyncJobIO
from headrace_worker.testing import FakeIO, SyncFakeIO, a_context, a_run


async def _welcome(payload: dict[str, Any], io: JobIO, ctx: Context) -> int:
    await io.send_event("welcomed", Event("user.welcomed", {"id": payload["id"]}))
    await io.send_events("mails", [Event("mail", number) for number in range(2)], deliver_after=60)
    return ctx.run.attempt


async def test_a_function_is_called_with_stand_ins() -> None:
    """What it has sent is there by its key, and in its order."""
    io = FakeIO()
    assert await _welcome({"id": "u_1"}, io, a_context(attempt=2)) == 2
    assert io.sent["welcomed"] == {"id": "u_1"}
    assert [(each.key, each.name, each.payload) for each in io.sent] == [
        ("welcomed", "user.welcomed", {"id": "u_1"}),
        ("mails", "mail", 0),
        (None, "mail", 1),
    ]
    assert io.sent[1].options.deliver_after == 60


async def test_stand_ins_have_headers() -> None:
    """The context has those of the event, and what is sent has them, too."""
    headers = {"traceparent": "00-ab-cd-01"}
    assert a_context(headers=headers).event.headers == headers
    assert a_context().event.headers == {}
    io = FakeIO(headers=headers)
    await io.send_event("a", Event("x"))
    await io.send_event("b", Event("x", headers={"own": "1"}))
    assert [each.headers for each in io.sent] == [headers, headers | {"own": "1"}]
    with pytest.raises(InvalidEvent, match=r"headers\.own: must be a string"):
        await io.send_event("c", {"name": "x", "headers": {"own": 1}})
    assert SyncFakeIO().send_event("a", Event("x")).status == "pending"


async def test_an_event_may_have_options_of_its_own() -> None:
    """They go before those of the call, as in a real send."""
    io = FakeIO()
    own = (Event("mail", 1), SendOptions(ordering_key="own", deliver_after=0))
    first, second = await io.send_events("mails", [Event("mail", 0), own], ordering_key="all", deliver_after=60)
    assert [each.options.ordering_key for each in io.sent] == ["all", "own"]
    assert (first.status, second.status) == ("delayed", "pending")
    assert io.sent["mails"] == 0


def test_a_plain_function_has_stand_ins_too() -> None:
    """Without await."""
    io = SyncFakeIO()
    sent = io.send_event("a", Event("x"), deliver_after=timedelta(hours=1))
    assert sent.status == "delayed"
    assert sent.deliver_at is not None
    assert timedelta(minutes=59) < sent.deliver_at - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_stand_in_refuses_what_can_t_be_sent() -> None:
    """With the path, as the real one; a test that passes says something of production."""
    io = FakeIO()
    with pytest.raises(InvalidEvent, match=r"payload\.a"):
        await io.send_event("k", Event("x", {"a": object()}))
    with pytest.raises(InvalidEvent, match=r"key: .* as in io\.send_event") as refused:
        await io.send_event(Event("x", "a payload"), "k")  # type: ignore[arg-type]
    assert "a payload" not in str(refused.value)
    with pytest.raises(InvalidEvent, match="deliver_after"):
        await io.send_event("k", Event("x"), deliver_after=-1)
    assert len(io.sent) == 0


async def test_a_key_sends_once() -> None:
    """The same again is a duplicate of the first; another event is refused."""
    io = FakeIO(run_id="e1:shop/charge")
    first = await io.send_event("paid", Event("order.paid", 1))
    again = await io.send_event("paid", Event("order.paid", 1))
    assert (first.duplicate, again.duplicate, first.id == again.id, len(io.sent)) == (False, True, True, 1)
    assert first.id == derived_event_id("e1:shop/charge", "paid")
    with pytest.raises(InvalidEvent, match=r"^key: 'paid' has another event in this attempt already; each send needs"):
        await io.send_event("paid", Event("order.lost", 2))
    assert len(io.sent) == 1


async def test_a_failed_send_frees_its_key_only_if_nothing_was_sent_under_it() -> None:
    """A repeat that fails changes nothing: the first event stands, and another one would be lost."""
    io = FakeIO()
    with pytest.raises(InvalidEvent, match="deliver_after"):
        await io.send_event("paid", Event("order.wrong"), deliver_after=-1)
    await io.send_event("paid", Event("order.paid"))
    with pytest.raises(InvalidEvent, match="deliver_after"):
        await io.send_event("paid", Event("order.paid"), deliver_after=-1)
    with pytest.raises(InvalidEvent, match="has another event in this attempt"):
        await io.send_event("paid", Event("order.lost"))


async def test_a_payload_is_received_as_it_comes_off_the_wire() -> None:
    """A tuple is a list there."""
    io = FakeIO()
    await io.send_event("k", Event("x", {"pair": (1, 2)}))
    assert io.sent[0].payload == {"pair": (1, 2)}
    assert io.sent[0].received == {"pair": [1, 2]}


def test_what_was_not_sent_is_missed_with_what_was() -> None:
    """The error is read by whoever wrote the test."""
    io = SyncFakeIO()
    with pytest.raises(KeyError, match="nothing was sent"):
        io.sent["welcome"]
    io.send_event("welcomed", Event("user.welcomed", 7))
    with pytest.raises(KeyError, match=r"'welcomed': user\.welcomed 7"):
        io.sent["welcome"]


def test_a_context_has_what_a_worker_gives() -> None:
    """Each of its values can be given."""
    ctx = a_context(run_id="e1:shop/charge", attempt=3, event="order.placed", context={"a": (1,)}, account_id="a_1")
    assert (ctx.run.id, ctx.run.attempt, ctx.run.is_retry) == ("e1:shop/charge", 3, True)
    assert (ctx.job.app, ctx.job.id, ctx.event.id, ctx.event.name) == ("shop", "charge", "e1", "order.placed")
    assert ctx.event.context == {"a": [1]}
    assert ctx.account is not None
    assert ctx.account.id == "a_1"
    with pytest.raises(ValueError, match="run_id must be"):
        a_context(run_id="charge")
    assert a_context().run.max_attempts == Retry().max_attempts


def test_a_run_has_what_a_client_reads() -> None:
    """Its output is what came off the wire, an exception what is recorded of it."""
    run = a_run(run_id="e1:shop/charge", output={"pair": (1, 2)})
    assert (run.event_id, run.job, run.status, run.output) == ("e1", "shop/charge", "succeeded", {"pair": [1, 2]})
    assert run.finished_at is not None
    failed = a_run(status="failed", attempt=5, error=ValueError("no such card"))
    assert failed.error is not None
    assert (failed.error.type, failed.error.message, failed.attempt) == ("ValueError", "no such card", 5)
    waiting = a_run(status="queued")
    assert (waiting.is_settled, waiting.started_at, waiting.worker) == (False, None, None)


@pytest.mark.parametrize(("fake", "real"), [(FakeIO, JobIO), (SyncFakeIO, SyncJobIO)])
def test_a_stand_in_has_the_methods_of_the_real_one(fake: type, real: type) -> None:
    """With the same parameters, as they are the same methods."""
    for name, method in inspect.getmembers(real, inspect.isfunction):
        if not name.startswith("_"):
            assert getattr(fake, name) is method
