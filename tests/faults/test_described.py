"""A run comes to an outcome whatever its code raises, even while the outcome is described; its slot is free then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace import Client, Event, RunRecord
from tests.apps.described import FAULTS
from tests.faults.deployment import Deployment
from tests.support.codecs import SCRAMBLER
from tests.support.processes import Process, Processes

APP = "tests.apps.described:app"


@pytest.fixture
def worker(processes: Processes) -> Process:
    """A worker of one slot: a run that keeps the slot would block the next run."""
    worker = processes.worker(APP, "--lease", "2", "--concurrency", "1")
    worker.wait_for_line("worker started")
    return worker


def come_to(
    deployment: Deployment, name: str, kinds: list[str], payload: Callable[[str], object] = str
) -> dict[str, tuple[str, str]]:
    """Return status and error type of a run of each kind; the worker executes one after the other."""
    found: dict[str, tuple[str, str]] = {}
    for kind in kinds:
        run = deployment.see_through(name, payload(kind))
        found[kind] = (run.status, error_of(run))
    assert deployment.see_through("ok", 1).output == 1
    return found


def error_of(run: RunRecord) -> str:
    return "" if run.error is None else run.error.type.rpartition(".")[2]


TYPES = {kind: type(make()).__name__ for kind, make in FAULTS.items() if kind != "without name"}
TYPES |= {"without name": "_WithoutName", "damaged retry": "RetryAfter", "stop": "RuntimeError"}


def test_every_exception_of_an_async_job_fails_its_run(deployment: Deployment, worker: Process) -> None:
    """The error has the exception's name, whatever the exception's own code does when it is described."""
    found = come_to(deployment, "raises", list(FAULTS))
    assert found == {kind: ("failed", name) for kind, name in TYPES.items()}
    assert worker.is_running


def test_every_exception_of_a_plain_job_fails_its_run(deployment: Deployment, worker: Process) -> None:
    """A RuntimeError stands for what asyncio can't carry out of a thread."""
    found = come_to(deployment, "plain", list(FAULTS))
    uncarried = dict.fromkeys(("keyboard", "generator", "stop"), "RuntimeError")
    assert found == {kind: ("failed", name) for kind, name in (TYPES | uncarried).items()}
    assert worker.is_running


def test_an_exception_that_can_t_be_described_is_retried(deployment: Deployment, worker: Process) -> None:
    """The run has all the attempts that its job allows."""
    for kind in ("silent: keyboard", "without name", "without parts", "panic"):
        run = deployment.see_through("again", kind)
        assert (run.status, run.attempt) == ("failed", 2), kind
    assert worker.is_running


def test_an_abort_that_can_t_be_described_is_one(deployment: Deployment, worker: Process) -> None:
    """The run has no further attempt."""
    run = deployment.see_through("aborts")
    assert (run.status, run.attempt) == ("failed", 1)
    assert worker.is_running


def test_what_can_be_had_of_a_description_is_recorded(deployment: Deployment, worker: Process) -> None:
    """The message if the traceback can't be read, and the traceback if the message can't."""
    parser, silent = (
        deployment.see_through("raises", "parser").error,
        deployment.see_through("raises", "silent: exit").error,
    )
    assert parser is not None
    assert parser.message.startswith("bad (f.py")
    assert silent is not None
    assert "its message can't be read: SystemExit(3)" in silent.message
    assert "described.py" in (silent.traceback or "")
    assert worker.is_running


def test_what_a_schema_s_code_raises_is_an_outcome(deployment: Deployment, worker: Process) -> None:
    """A failed attempt; or an invalid payload, if msgspec reports it as one."""
    found = come_to(deployment, "schema", list(FAULTS), lambda kind: {"fault": kind})
    misfits = {kind for kind, (status, _) in found.items() if status == "invalid_payload"}
    assert misfits == {"cycle", "chain", "surrogates", "large"}, "what msgspec itself makes of a ValueError"
    stop = {"stop": ("failed", "StopIteration")}
    expected = {kind: ("failed", name) for kind, name in TYPES.items() if kind not in misfits} | stop
    assert {kind: end for kind, end in found.items() if kind not in misfits} == expected
    assert worker.is_running


@pytest.mark.parametrize("output", ["dict", "object", "set"])
def test_what_an_output_s_code_raises_is_an_outcome(deployment: Deployment, worker: Process, output: str) -> None:
    """The function has returned by then; the worker works on."""
    found = come_to(deployment, "output", [f"{output} {kind}" for kind in FAULTS if kind != "large"])
    assert {status for status, _ in found.values()} <= {"failed", "succeeded"}
    assert worker.is_running


@pytest.mark.parametrize(("verb", "statuses"), [("open", {"failed"}), ("seal", {"succeeded"})])
def test_what_a_codec_raises_is_an_outcome(
    deployment: Deployment, processes: Processes, verb: str, statuses: set[str]
) -> None:
    """An event that can't be opened fails its run; an output that can't be sealed is left out."""
    worker = processes.worker("tests.apps.described:sealed_app", "--lease", "2", "--concurrency", "1")
    with Client(deployment.url, namespace=deployment.namespace, codec=SCRAMBLER) as client:
        payloads = [f"{verb} {kind}!" for kind in FAULTS if kind != "large"] + ["in order"]
        ids = {payload: client.send_event(Event("sealed", payload=payload)).id for payload in payloads}
        found = {payload: client.wait_for_event(event, 20).runs[0].status for payload, event in ids.items()}
    assert found.pop("in order") == "succeeded"
    assert set(found.values()) == statuses
    assert worker.is_running
