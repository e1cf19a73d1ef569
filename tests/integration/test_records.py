"""Records of `logging` are log lines like all others, with the ids of the run that logs."""

from __future__ import annotations

import json
from typing import Any

from headrace import Client, Event
from tests.support.processes import Processes


def _lines_of(processes: Processes, client: Client, app: str) -> tuple[str, list[dict[str, Any]]]:
    """Return an event's id, and the lines of a worker that has executed its runs."""
    worker = processes.worker(f"tests.apps.{app}:app", "--log-format", "json")
    sent = client.send_event(Event("asked"))
    client.wait_for_event(sent.id, 30)
    worker.terminate()
    assert worker.wait() == 0
    return sent.id, [json.loads(line) for line in worker.output.splitlines()]


def test_a_record_is_a_line_with_the_ids_of_its_run(processes: Processes, client: Client) -> None:
    """From coroutines and threads, with level, `extra` and traceback; below the level there is none."""
    event_id, lines = _lines_of(processes, client, "records")
    by_job = {line.get("job"): line for line in lines if line.get("logger") == "shop.orders"}
    paid, lost = by_job["records/coroutine"], by_job["records/plain"]
    assert (paid["event"], paid["level"], paid["customer"]) == ("order 7 is paid", "info", "c_1")
    assert (paid["run"], paid["event_id"]) == (f"{event_id}:records/coroutine", event_id)
    assert (lost["event"], lost["level"], lost["run"]) == ("order is lost", "error", f"{event_id}:records/plain")
    assert "KeyError: 'no such order'" in lost["exception"]
    assert not [line for line in lines if line["event"] == "below the level"]


def test_structlog_may_write_through_logging(processes: Processes, client: Client) -> None:
    """A line goes round once: `logging` passes it to standard error, and not back to structlog."""
    _, lines = _lines_of(processes, client, "records_of_structlog")
    assert [line["event"] for line in lines if "order=7" in line["event"]] == [
        "order=7 event='paid' level='info'",
    ]
    assert [line["event"] for line in lines if "worker stopped" in line["event"]] != []
    assert len(lines) < 20
