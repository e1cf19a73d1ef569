"""`headrace dev` runs the newest state of the files, and keeps what was sent."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from headrace import Client, Event
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

SOURCE = """
from headrace_worker import App, event_trigger

app = App("shop")

@app.job(id="greet", trigger=event_trigger("greet"))
async def greet():
    return {output!r}
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A module of its own in an empty folder."""
    path = tmp_path / "code" / f"jobs_{os.getpid()}.py"
    path.parent.mkdir()
    path.write_text(SOURCE.format(output="first"))
    return path


def dev(processes: Processes, jobs: Path, *options: str) -> Process:
    folders = ("--watch", str(jobs.parent), "--data-dir", str(jobs.parents[1] / "data"))
    path = os.pathsep.join([str(jobs.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return processes.cli("dev", f"{jobs.stem}:app", *folders, *options, env={"PYTHONPATH": path})


def client_of(process: Process) -> Client:
    """A client of the server and namespace that the process says to use."""
    url, namespace = (process.wait_for_line(rf"^  export HEADRACE_{name}=(\S+)$")[1] for name in ("URL", "NAMESPACE"))
    return Client(url, namespace=namespace)


def output_of_run(client: Client, event_id: str) -> object:
    client.send_event(Event("greet", id=event_id))
    return client.wait_for_event(event_id, 20).runs[0].output


def wait_for_starts(process: Process, count: int) -> None:
    wait_until(lambda: process.output.count("worker started") >= count, 20, what=f"start {count} of {process.name}")


def test_the_worker_runs_the_newest_code(processes: Processes, jobs: Path) -> None:
    """Through a change, a mistake and its mending; a signal stops the server too, and the exit code is 0."""
    process = dev(processes, jobs)
    with client_of(process) as client:
        wait_for_starts(process, 1)
        assert output_of_run(client, "e1") == "first"

        jobs.write_text(SOURCE.format(output="second"))
        wait_for_starts(process, 2)
        assert output_of_run(client, "e2") == "second"

        jobs.write_text("def broken(:\n")
        process.wait_for_line(r"^Error: can't load .*line 1: SyntaxError")
        process.wait_for_line("starts again when a file changes")
        jobs.write_text(SOURCE.format(output="third"))
        wait_for_starts(process, 3)
        assert output_of_run(client, "e3") == "third"
    process.interrupt()
    assert process.wait() == 0
    assert "change detected" not in process.output, "watchfiles says it again"
    assert not (jobs.parents[1] / "data" / "server.sock").exists()


def test_what_was_sent_outlives_the_server(processes: Processes, jobs: Path) -> None:
    """Even a kill: the next start finds it, and its ids are still known."""
    first = dev(processes, jobs)
    with client_of(first) as client:
        wait_for_starts(first, 1)
        assert output_of_run(client, "e1") == "first"
    first.kill()

    again = dev(processes, jobs, "--port", "0")
    with client_of(again) as client:
        assert client.get_event("e1").runs[0].output == "first"
        assert client.send_event(Event("greet", id="e1")).duplicate
    assert re.search(r"listens on redis://127\.0\.0\.1:\d+/0 too", again.output)
    assert (jobs.parents[1] / "data" / ".gitignore").read_text() == "*\n"
    wait_for_starts(again, 1)
    again.terminate()
    assert again.wait() == 0


BLOCKED = """
import time
from headrace_worker import App, event_trigger

app = App("shop")

@app.job(id="greet", trigger=event_trigger("greet"))
async def greet():
    print("blocked", flush=True)
    time.sleep(600)
"""


def test_a_worker_whose_event_loop_blocks_is_killed_and_replaced(processes: Processes, jobs: Path) -> None:
    """Soon after its grace, and a line says so; its run is executed by the next worker at once."""
    jobs.write_text(BLOCKED)
    process = dev(processes, jobs, "--grace", "0.1")
    with client_of(process) as client:
        wait_for_starts(process, 1)
        client.send_event(Event("greet", id="e1"))
        process.wait_for_line("^blocked")
        jobs.write_text(SOURCE.format(output="second"))
        process.wait_for_line("worker did not stop and was killed; does its event loop block")
        assert client.wait_for_event("e1", 20).runs[0].output == "second"
    process.interrupt()
    assert process.wait() == 0
    assert process.output.count("was killed") == 1
