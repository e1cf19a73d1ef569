"""Tests of the jobs: their payloads are sealed and opened on the way, as between a client and a worker."""

from jobs import Result, app

from headrace import Client, Event
from headrace_worker.testing import SyncHeadrace, call_job


def test_a_high_value_raises_the_alarm() -> None:
    assert call_job(app, "alarm", Result("p_17", 9.5)).output == "called about p_17"


def test_a_result_is_filed_and_can_t_be_read(headrace_sync: SyncHeadrace) -> None:
    with Client(codec=app.codec) as client:
        client.send_event(Event("lab.result", Result("p_18", 3.2)))
    (unopened,) = headrace_sync.sent("lab.result")
    assert "p_18" not in str(unopened.payload)

    runs = headrace_sync.run(app)
    assert [run.job for run in runs] == ["clinic/file"]
    headrace_sync.assert_sent("lab.result", patient="p_18")
