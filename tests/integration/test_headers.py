"""Headers go with an event to its jobs, and from there on with the events that they send."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Client, Event, EventNotFound, InvalidEvent
from headrace_worker import App, Context, JobIO, SyncJobIO, event_trigger
from tests.support.clients import Kind, open_client
from tests.support.codecs import SCRAMBLER
from tests.support.workers import WorkerHost


@pytest.mark.parametrize("job", ["async", "plain"])
@pytest.mark.parametrize("codec", [None, SCRAMBLER], ids=["plain", "sealed"])
async def test_jobs_see_the_headers_and_pass_them_on(host: WorkerHost, job: str, codec: Any) -> None:
    """What a job gives itself goes first. An event without headers has an empty dict."""
    app = App("app", codec=codec)
    seen: dict[str, dict[str, str]] = {}

    @app.job(id="listener", trigger=event_trigger(["told", "told.own"]))
    async def listen(ctx: Context) -> None:
        seen[ctx.event.name] = ctx.event.headers

    @app.job(id="async", trigger=event_trigger("asked.async"))
    async def coroutine(io: JobIO, ctx: Context) -> None:
        seen[ctx.event.name] = ctx.event.headers
        await io.send_event("one", Event("told"))
        await io.send_events("two", [{"name": "told.own", "headers": {"baggage": "own", "more": "x"}}])

    @app.job(id="plain", trigger=event_trigger("asked.plain"))
    def plain(io: SyncJobIO, ctx: Context) -> None:
        seen[ctx.event.name] = ctx.event.headers
        io.send_event("one", Event("told"))
        io.send_events("two", [{"name": "told.own", "headers": {"baggage": "own", "more": "x"}}])

    headers = {"traceparent": "00-ab-cd-01", "baggage": "é"}
    with Client(host.url, namespace=host.namespace, codec=codec) as client:
        client.send_event(Event(f"asked.{job}", 1, headers=headers))
        await host.settle(app)
        own = {"traceparent": "00-ab-cd-01", "baggage": "own", "more": "x"}
        assert seen == {f"asked.{job}": headers, "told": headers, "told.own": own}
        seen.clear()
        client.send_event(Event(f"asked.{job}"))
        await host.settle(app)
        assert seen == {f"asked.{job}": {}, "told": {}, "told.own": {"baggage": "own", "more": "x"}}


@pytest.mark.leaves_records
def test_a_client_adds_its_headers_to_what_it_sends(kind: Kind, url: str, namespace: str) -> None:
    """A function makes them, once for each call; its events' own go first."""
    made: list[int] = []

    def make() -> dict[str, str]:
        made.append(1)
        return {"call": str(len(made)), "by": "client"}

    with open_client(kind, url, namespace=namespace, headers=make) as client:
        sent = client.send_events([Event("a"), Event("b", headers={"by": "event"})])
        sent += [client.send_event({"name": "c"})]
        assert [client.get_event(each.id).headers for each in sent] == [
            {"call": "1", "by": "client"},
            {"call": "1", "by": "event"},
            {"call": "2", "by": "client"},
        ]
    with open_client(kind, url, namespace=namespace, headers={"by": "client"}) as client:
        assert client.get_event(client.send_event(Event("a")).id).headers == {"by": "client"}
    with open_client(kind, url, namespace=namespace) as client:
        assert client.get_event(client.send_event(Event("a")).id).headers == {}


def test_nothing_is_sent_where_headers_could_not_be_made(kind: Kind, url: str, namespace: str) -> None:
    """The error names the client's headers, and has what the function raised as its cause."""

    def make() -> dict[str, str]:
        raise KeyError("no trace")

    with open_client(kind, url, namespace=namespace, headers=make) as client:
        with pytest.raises(InvalidEvent, match=r"^client\.headers: could not be made: KeyError: 'no trace'") as caught:
            client.send_event(Event("a", id="e1"))
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(EventNotFound):
            client.get_event("e1")


def test_a_delayed_event_that_is_sent_again_has_the_new_headers(kind: Kind, url: str, namespace: str) -> None:
    """Or none."""
    with open_client(kind, url, namespace=namespace) as client:
        for headers in ({"a": "1"}, {"b": "2"}, {}):
            client.send_event(Event("a", id="e1", headers=headers), deliver_after=60)
            assert client.get_event("e1").headers == headers
        client.cancel_event("e1")
