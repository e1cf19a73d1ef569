"""An event that a job sends names the run that sent it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Client, Event
from headrace_worker import App, JobIO, SyncJobIO, event_trigger
from tests.support.codecs import SCRAMBLER
from tests.support.workers import WorkerHost


@pytest.mark.parametrize("job", ["async", "plain"])
@pytest.mark.parametrize("codec", [None, SCRAMBLER], ids=["open", "sealed"])
async def test_an_event_of_a_run_names_it(host: WorkerHost, job: str, codec: Any) -> None:
    """Both kinds of job, with both of their sends; an event that a client sent names none."""
    app = App("app", codec=codec)

    @app.job(id="async", trigger=event_trigger("asked.async"))
    async def coroutine(io: JobIO) -> None:
        await io.send_event("one", Event("told", id="one"))
        await io.send_events("two", [Event("told", {"n": 2}, id="two")])

    @app.job(id="plain", trigger=event_trigger("asked.plain"))
    def plain(io: SyncJobIO) -> None:
        io.send_event("one", Event("told", id="one"))
        io.send_events("two", [Event("told", {"n": 2}, id="two")])

    with Client(host.url, namespace=host.namespace, codec=codec) as client:
        client.send_event(Event(f"asked.{job}", id="root"))
        await host.settle(app)
        assert client.get_event("root").parent_run is None
        records = [client.get_event(each) for each in ("one", "two")]
        assert [record.parent_run for record in records] == [f"root:app/{job}"] * 2
        assert records[1].payload == {"n": 2}
