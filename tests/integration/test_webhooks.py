"""GitHub's webhooks go through a real worker process, and every job runs for exactly what its trigger says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from headrace import Client, Event
from headrace_worker import Trigger
from tests.properties.naive_filter import naive_passes
from tests.support.processes import Processes
from tests.support.waiting import wait_until
from tests.support.webhook_jobs import EVENTS, TRIGGERS


def _matches(trigger: Trigger, event: dict[str, Any], context: Any) -> bool:
    return (
        event["name"] in trigger.names
        and (trigger.sources == () or event["source"] in trigger.sources)
        and (trigger.filter is None or naive_passes(trigger.filter, event["payload"]))
        and (trigger.context_filter is None or naive_passes(trigger.context_filter, context))
    )


def test_every_job_runs_for_exactly_the_events_of_its_trigger(
    processes: Processes, client: Client, tmp_path: Path
) -> None:
    """All 327 events, sent in one call; no function is called twice, and records say what ran."""
    calls = tmp_path / "calls"
    worker = processes.worker("tests.support.webhook_jobs:app", env={"HEADRACE_TEST_CALLS": str(calls)})
    contexts = [{"third": place % 3} for place in range(len(EVENTS))]
    sent = client.send_events(
        Event(each["name"], each["payload"], context, f"webhook:{place}", source=each["source"])
        for place, (each, context) in enumerate(zip(EVENTS, contexts, strict=True))
    )
    expected = {
        (job, f"webhook:{place}")
        for place, (event, context) in enumerate(zip(EVENTS, contexts, strict=True))
        for job, trigger in TRIGGERS.items()
        if _matches(trigger, event, context)
    }
    assert len(sent) == 327
    wait_until(lambda: calls.exists() and calls.read_bytes().count(b"\n") >= len(expected), 60, what="the calls")
    records = [wait_until(lambda each=each: _settled(client, each.id), 30) for each in sent]  # type: ignore[misc]
    called = Counter(tuple(line.split(" ")) for line in calls.read_text().splitlines())
    assert set(called) == expected
    assert set(called.values()) == {1}
    runs = {(run.job.removeprefix("webhooks/"), record.id): run for record in records for run in record.runs}
    assert set(runs) == expected
    for (_, event_id), run in runs.items():
        payload = EVENTS[int(event_id.removeprefix("webhook:"))]["payload"]
        assert (run.status, run.attempt, run.output) == ("succeeded", 1, len(payload))
    per_job = Counter(job for job, _ in expected)
    assert all(0 < per_job[job] < 327 for job in TRIGGERS if job not in ("everything", "elsewhere"))
    assert (per_job["everything"], per_job["elsewhere"]) == (327, 0)
    worker.terminate()
    assert worker.wait() == 0


def _settled(client: Client, event_id: str) -> Any:
    record = client.get_event(event_id)
    return record if record.is_settled else None
