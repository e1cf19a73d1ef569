"""Metrics agree with what workers do, outlive a killed process, and can be scraped whatever happens to the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from prometheus_client import CollectorRegistry

from headrace import Client, Event
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.transport.single import AsyncTransport
from headrace_worker import App, Worker, event_trigger
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.metrics.depths_collector import DepthsCollector
from headrace_worker.metrics.exposition import Shared
from headrace_worker.metrics.prometheus import Metrics
from headrace_worker.process import log_setup
from headrace_worker.protocol import leases, reading, rescuing
from tests.apps.counted import app
from tests.support.metrics import Scrape, scrape, scrape_here, served_at
from tests.support.processes import Process, Processes
from tests.support.servers import ControlledServer
from tests.support.waiting import await_until, wait_until
from tests.support.workers import WorkerHost, quick

APP = "tests.apps.counted:app"
SERVED = ("--metrics-port", "0", "--log-format", "json")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def settled(client: Client, *names: str) -> None:
    """Send these events and return when they have settled."""
    sent = client.send_events([Event(name, payload="no number" if name == "typed" else None) for name in names])
    for each in sent:
        client.wait_for_event(each.id, 30)


def until(url: str, condition: Callable[[Scrape], bool], what: str) -> Scrape:
    """Return the first scrape for which the condition holds: a reply is counted a moment after its event is settled."""
    last: list[Scrape] = []

    def is_true() -> bool:
        last[:] = [scrape(url)]
        return condition(last[0])

    wait_until(is_true, 30, what=what, interval=0.05)
    return last[0]


def test_metrics_count_what_became_of_runs(processes: Processes, client: Client, namespace: str) -> None:
    """Each outcome, retry and dead letter once, by job; times are in seconds; a job's own metrics are there."""
    url = served_at(processes.worker(APP, *SERVED))
    settled(client, *["fine"] * 20, "flaky", "doomed", "slow", "typed")
    seen = until(url, lambda now: now.sum("runs_settled_total") == 24, "24 runs that are counted")

    ends = {
        ("fine", "succeeded"): 20, ("flaky", "succeeded"): 1, ("doomed", "failed"): 1, ("slow", "timed_out"): 1,
        ("typed", "invalid_payload"): 1, ("long", "succeeded"): 0,
    }  # fmt: skip
    for (job, status), count in ends.items():
        labels = {"namespace": namespace, "app": "counted", "job": job, "status": status}
        assert seen.has("runs_settled_total", **labels)
        assert seen.sum("runs_settled_total", **labels) == count
    assert (seen.sum("events_dispatched_total"), seen.sum("runs_queued_total")) == (24, 24)
    assert seen.sum("attempts_begun_total") == 26
    assert (seen.sum("attempts_failed_total", job="flaky"), seen.sum("attempts_failed_total")) == (2, 4)
    assert (seen.sum("runs_retried_total", job="flaky"), seen.sum("runs_retried_total")) == (2, 2)
    assert seen.sum("due_promoted_total") == 2
    assert [seen.sum("dead_letters_total", reason=reason) for reason in ("failed", "timed_out")] == [1, 1]
    assert seen.sum("dead_letters_total") == len(client.list_dead_letters().items) == seen.sum("dead_entries") == 3
    assert seen.sum("settles_stale_total") == 0
    assert seen.sum("run_execution_seconds_count", job="fine") == 20
    assert 20 * 0.009 <= seen.sum("run_execution_seconds_sum", job="fine") < 60
    assert [seen.sum("run_execution_seconds_bucket", job="fine", le=le) for le in ("0.005", "+Inf")] == [0, 20]
    assert seen.sum("run_wait_seconds_count") >= 24
    assert 0 < seen.sum("run_wait_seconds_sum") < 60
    assert (seen.sum("slots"), seen.sum("server_up")) == (100, 1)
    assert "calls_of_my_own_total 20.0" in seen.text


def test_metrics_have_the_time_of_the_last_poll(processes: Processes, client: Client) -> None:
    """The times are current and advance on an idle worker; runs are counted while they are in flight."""
    before = time.time()
    worker = processes.worker(APP, *SERVED, "--lease", "1", "--grace", "0")
    url = served_at(worker)
    first = until(url, lambda now: now.sum("last_poll_timestamp_seconds") > before, "a worker")
    assert before <= first.sum("last_renewal_timestamp_seconds") <= time.time()
    client.send_events([Event("long")] * 3)
    until(url, lambda now: now.sum("runs_in_flight") == 3, "three runs in flight")

    def has_moved(now: Scrape) -> bool:
        names = ("last_poll_timestamp_seconds", "last_renewal_timestamp_seconds")
        return all(now.sum(name) > first.sum(name) for name in names)

    until(url, has_moved, "a later look and renewal")
    worker.terminate()
    assert worker.wait() == 0


def test_what_killed_processes_had_counted_stays(processes: Processes, client: Client, tmp_path: Path) -> None:
    """One address serves all processes; a dead process has no slots any more, its successor has."""
    options = ("--processes", "2", "--concurrency", "3", "--lease", "600")
    supervisor = processes.worker(APP, *SERVED, *options, env={"TMPDIR": str(tmp_path)})
    url = served_at(supervisor)
    wait_until(lambda: supervisor.output.count('"worker started"') == 2, 30, what="two processes")
    assert scrape(url).sum("slots") == 6
    settled(client, *["fine"] * 40)
    until(url, lambda now: now.sum("runs_settled_total", status="succeeded") == 40, "40 runs that are counted")
    for pid in {int(pid) for pid in re.findall(r'"worker": "\S+-(\d+)-\w+"', supervisor.output)}:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.output.count('"worker started"') == 4, 30, what="their successors")
    after = until(url, lambda now: now.sum("slots") == 6, "their slots")
    assert after.sum("runs_settled_total", status="succeeded") == 40
    assert after.sum("run_execution_seconds_count") == 40
    assert "calls_of_my_own_total 40.0" in after.text
    settled(client, *["fine"] * 5)
    until(url, lambda now: now.sum("runs_settled_total", status="succeeded") == 45, "45 runs that are counted")
    (folder,) = tmp_path.glob("headrace-metrics-*")
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert not folder.exists()


def shared_between_two(processes: Processes, folder: Path) -> Process:
    """Return a supervisor of two workers, which keep their metrics in a folder within this one."""
    return processes.worker(APP, *SERVED, "--processes", "2", "--lease", "600", env={"TMPDIR": str(folder)})


def kill_one_and_wait(supervisor: Process) -> int:
    """Return the id of a worker's process that was killed, once another one has its place."""
    (pid, *_) = (int(pid) for pid in re.findall(r'"worker": "\S+-(\d+)-\w+", .*"worker started"', supervisor.output))
    starts = supervisor.output.count('"worker started"')
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.output.count('"worker started"') > starts, 30, what="its successor")
    return pid


def test_a_folder_that_is_removed_costs_metrics_and_no_work(
    processes: Processes, client: Client, tmp_path: Path
) -> None:
    """Runs of every outcome settle, a dead process is replaced, and new processes count in a new folder."""
    supervisor = shared_between_two(processes, tmp_path)
    url = served_at(supervisor)
    wait_until(lambda: supervisor.output.count('"worker started"') == 2, 30, what="two processes")
    (folder,) = tmp_path.glob("headrace-metrics-*")
    shutil.rmtree(folder)
    settled(client, *["fine"] * 5, "flaky", "doomed", "slow", "typed")
    kill_one_and_wait(supervisor)
    settled(client, *["fine"] * 20)
    until(url, lambda now: now.sum("slots") == 100, "the metrics of the new process")
    assert "the folder of the metrics was gone" in supervisor.output
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert not folder.exists()


def test_without_room_for_a_folder_workers_start_all_the_same(
    processes: Processes, client: Client, tmp_path: Path
) -> None:
    """They count in memory only, and the log says so."""
    (tmp_path / "file").touch()
    where = f"import tempfile; tempfile.tempdir = {str(tmp_path / 'file')!r}"
    code = f"{where}; from headrace_worker.cli import main; main()"
    supervisor = processes.python("-c", code, "worker", APP, *SERVED, "--processes", "2")
    url = served_at(supervisor)
    settled(client, *["fine"] * 5)
    supervisor.wait_for_line("metrics can't be kept for now")
    assert scrape(url).sum("server_up") == 1


def test_a_dead_process_keeps_no_more_of_the_disk_than_it_used(
    processes: Processes, client: Client, tmp_path: Path
) -> None:
    """What it had counted stays."""
    supervisor = shared_between_two(processes, tmp_path)
    url = served_at(supervisor)
    wait_until(lambda: supervisor.output.count('"worker started"') == 2, 30, what="two processes")
    settled(client, *["fine"] * 40)
    until(url, lambda now: now.sum("runs_settled_total") == 40, "40 runs that are counted")
    (folder,) = tmp_path.glob("headrace-metrics-*")
    before = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert set(before.values()) == {65_536}
    pid = kill_one_and_wait(supervisor)
    had_histogram = f"histogram_{pid}.db" in before  # not so if the other process has executed all runs
    left = {path.name: path.stat().st_size for path in folder.glob(f"*_{pid}.db")}
    assert set(left) == {f"counter_{pid}.db", *([f"histogram_{pid}.db"] if had_histogram else [])}
    assert all(size < 20_000 for size in left.values())
    assert scrape(url).sum("runs_settled_total") == 40


def with_a_disk_of_its_own(processes: Processes, folder: Path) -> Process:
    """Return a supervisor of two workers with three slots each, which see a file system of 1 MB at this folder."""
    unshare = shutil.which("unshare")
    disk = f"mount -t tmpfs -o size=1m none {folder}"
    own = [unshare or "", "--user", "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*own, "sh", "-c", disk], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    options = [*SERVED, "--processes", "2", "--concurrency", "3"]
    command = shlex.join([sys.executable, "-m", "headrace_worker.cli", "worker", APP, *options])
    return processes.spawn([*own, "sh", "-c", f"{disk} && exec {command}"], env={"TMPDIR": str(folder)})


def test_a_full_disk_costs_metrics_and_no_work(processes: Processes, client: Client, tmp_path: Path) -> None:
    """Of a file system of its own: no process dies, one line reports it, and metrics are back when there is space."""
    supervisor = with_a_disk_of_its_own(processes, tmp_path)
    url = served_at(supervisor)
    wait_until(lambda: supervisor.output.count('"worker started"') == 2, 30, what="two processes")
    settled(client, "fine")
    filler = Path(f"/proc/{supervisor.pid}/root{tmp_path}/filler")
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))
    settled(client, *["fine"] * 20, "flaky", "doomed", "slow", "typed")
    kill_one_and_wait(supervisor)
    settled(client, *["fine"] * 20, "flaky", "doomed", "slow", "typed")
    supervisor.wait_for_line("metrics can't be kept for now")
    assert "SIGBUS" not in supervisor.output
    filler.unlink()
    until(url, lambda now: now.sum("slots") == 6, "the metrics of the process that started without space")
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert supervisor.output.count("worker process ended and is replaced") == 1


def test_a_file_that_can_t_be_read_fails_no_scrape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once."""
    log_setup.configure("json")
    shared = Shared(tmp_path)
    (tmp_path / "counter_1.db").write_bytes(b"x")
    for _ in range(2):
        assert scrape_here(shared.registry).samples == []
    assert capsys.readouterr().err.count("can't be read") == 1


def test_a_folder_that_the_environment_names_is_kept(processes: Processes, client: Client, tmp_path: Path) -> None:
    """One process serves what all that use it have counted, those of before too."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for count in (3, 6):
        worker = processes.worker(APP, *SERVED, env=env)
        url = served_at(worker)
        settled(client, *["fine"] * 3)
        until(url, lambda now, count=count: now.sum("runs_settled_total") == count, f"{count} runs")  # type: ignore[misc]
        worker.terminate()
        assert worker.wait() == 0
    assert list(tmp_path.glob("counter_*.db"))


@pytest.mark.parametrize(
    ("options", "env", "said"),
    [
        (["--metrics-port", "70000"], {}, "--metrics-port"),
        ([], {"HEADRACE_METRICS_PORT": "-1"}, "--metrics-port"),
        (["--metrics-port", "TAKEN"], {}, "give another --metrics-port or --metrics-host"),
        (["--metrics-port", "TAKEN", "--processes", "2"], {}, "give another --metrics-port or --metrics-host"),
        (["--metrics-port", "0", "--metrics-host", "192.0.2.1"], {}, "metrics can't be served on 192.0.2.1:0"),
        (["--metrics-port", "0"], {"PROMETHEUS_MULTIPROC_DIR": "/nonexistent"}, "no such folder exists"),
    ],
)
def test_metrics_that_cannot_be_served_stop_the_start(
    processes: Processes, options: list[str], env: dict[str, str], said: str
) -> None:
    """One line says what to change, before anything is started; the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        options = [taken if each == "TAKEN" else each for each in options]
        worker = processes.worker(APP, *options, env=env)
        assert worker.wait() == 2
    (line,) = worker.output.splitlines()
    assert line.startswith("Error: ")
    assert said in line


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_another_path_says_what_there_is(processes: Processes, options: tuple[str, ...]) -> None:
    """Not every path is the metrics: a health check that asks for one that is not there must fail."""
    worker = processes.worker(APP, "--metrics-port", "0", *options)
    url = worker.wait_for_line(r"http://[0-9.]+:[0-9]+/metrics").group()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/metrics", "/health"), timeout=10)
    assert refused.value.code == 404
    assert refused.value.read() == b"there is only /metrics here, for Prometheus\n"


@pytest.mark.parametrize("options", [["--metrics-port", "0", "--processes", "2"], []])
def test_without_the_extra_the_error_names_it(processes: Processes, options: list[str]) -> None:
    """A worker without metrics needs no package for them."""
    code = "import sys; sys.modules['prometheus_client'] = None; from headrace_worker.cli import main; main()"
    worker = processes.python("-c", code, "worker", "tests.apps.everyday:app", *options)
    if not options:
        worker.wait_for_line("worker started")
        return
    assert worker.wait() == 2
    assert worker.output == (
        'Error: metrics need the package prometheus-client: pip install "headrace-worker[metrics]"\n'
    )


def test_depths_are_what_waits(
    url: str, namespace: str, redis: redis_py.Redis, registry: CollectorRegistry, request: pytest.FixtureRequest
) -> None:
    """In all queues and partitions together; runs in flight do not wait."""
    partitions = Partitions(namespace, 2)
    depths = DepthsCollector(url, partitions)
    request.addfinalizer(depths.close)
    registry.register(depths)
    for keys in partitions.all:
        redis.xadd(keys.events, {"i": "x"})
        redis.zadd(keys.due, {"e:x": 1, "e:y": 2})
        redis.xadd(keys.dead, {"reason": "failed"})
        redis.sadd(keys.queues, "app/mail", "app/idle", "other/default")
        for app_name, queue in (("app", "mail"), ("app", "idle"), ("other", "default")):
            redis.xgroup_create(keys.queue(app_name, queue), "workers", "0", mkstream=True)
        for _ in range(5):
            redis.xadd(keys.queue("app", "mail"), {"e": "x"})
        redis.xreadgroup("workers", "w", {keys.queue("app", "mail"): ">"}, count=2)
    seen = scrape_here(registry)
    assert {name: seen.sum(f"{name}_entries") for name in ("events", "due", "dead", "queue")} == {
        "events": 2, "due": 4, "dead": 2, "queue": 6,
    }  # fmt: skip
    for app_name, queue, count in (("app", "mail", 6), ("app", "idle", 0), ("other", "default", 0)):
        assert seen.has("queue_entries", namespace=namespace, app=app_name, queue=queue)
        assert seen.sum("queue_entries", app=app_name, queue=queue) == count


def test_a_server_that_is_away_fails_no_scrape(
    make_server: Callable[..., ControlledServer], registry: CollectorRegistry, request: pytest.FixtureRequest
) -> None:
    """The scrape says that the server is away, and has no depths; later it has them again."""
    own = make_server()
    depths = DepthsCollector(own.url, Partitions("away"))
    request.addfinalizer(depths.close)
    registry.register(depths)
    assert scrape_here(registry).sum("server_up") == 1
    own.kill()
    wait_until(lambda: scrape_here(registry).sum("server_up") == 0, 20, what="an outage that is noticed")
    away = scrape_here(registry)
    assert away.has("server_up", namespace="away")
    assert not away.has("events_entries")
    own.start()
    wait_until(lambda: scrape_here(registry).sum("server_up") == 1, 20, what="the server")


def counting(host: WorkerHost, app: App, registry: CollectorRegistry, **settings: Any) -> Worker:
    """Return a worker on this event loop that counts."""
    config = quick(grace=0.0, **settings)
    return Worker(app, host.url, namespace=host.namespace, config=config, metrics=Metrics(registry))


async def test_requeued_and_dead_lettered_entries_are_counted(
    host: WorkerHost, client: Client, redis: redis_py.Redis, namespace: str, registry: CollectorRegistry
) -> None:
    """Rescued, released and dead-lettered runs; a job that only an entry names does not become a label."""
    keys = Keys(namespace)
    queue = keys.queue("counted", "default")
    client.send_events([Event("long")] * 2)
    async with host.working(app, queues=("elsewhere",)):  # it dispatches, and takes none
        await await_until(lambda: redis.xlen(queue) == 2, 30, what="two runs")
    await register_dead(host.url, keys, app)
    redis.xreadgroup("workers", "dead", {queue: ">"}, count=1)
    redis.xadd(queue, {"e": "x", "j": "evil-job", "s": "no state", "b": "b"})

    async with host.running(counting(host, app, registry, lease=1.0)):
        await await_until(lambda: scrape_here(registry).sum("runs_in_flight") == 2, 30, what="both runs in flight")
    seen = scrape_here(registry)
    assert seen.sum("dead_letters_total", app="counted", job="(unknown)", reason="unreadable") == 1
    assert seen.sum("dead_letters_total") == 1
    assert seen.sum("runs_rescued_total", app="counted", queue="default") == 1
    assert seen.sum("runs_released_total", app="counted", queue="default") == 2
    assert seen.sum("attempts_begun_total", job="long") == 2
    assert seen.sum("runs_settled_total") == 0
    assert "evil-job" not in seen.text


async def test_an_outcome_that_comes_too_late_is_counted_as_stale(
    host: WorkerHost, client: Client, redis: Any, namespace: str, registry: CollectorRegistry
) -> None:
    """It is not counted as settled: another worker had the run by then."""
    gate, begun = asyncio.Event(), asyncio.Event()
    gated = App("gated")

    @gated.job(id="wait", trigger=event_trigger("wait"))
    async def wait() -> None:
        begun.set()
        await gate.wait()

    keys, sent = Keys(namespace), client.send_event(Event("wait"))
    queue = reading.queue_stream(keys, "gated", "default")
    async with host.running(counting(host, gated, registry, concurrency=1)):
        await asyncio.wait_for(begun.wait(), 30)
        (entry,) = (name.decode() for name, _ in redis.xrange(queue.key))
        held = rescuing.PendingEntry(entry, keys.event(sent.id), "gated/wait")
        await ask(host.url, rescuing.release(queue, [held]))  # as a rescue does
        gate.set()
        await await_until(lambda: client.get_event(sent.id).is_settled, 30, what="its end")
    seen = scrape_here(registry)
    assert seen.sum("settles_stale_total", job="wait") == 1
    assert seen.sum("runs_settled_total") == seen.sum("runs_settled_total", job="wait", status="succeeded") == 1
    assert seen.sum("run_execution_seconds_count") == 1
    assert seen.sum("attempts_begun_total") == 2


async def ask(url: str, call: Call[Any]) -> None:
    """Let the server carry out a call."""
    transport = AsyncTransport(url)
    await transport.run([call])
    await transport.close()


async def register_dead(url: str, keys: Keys, app: App) -> None:
    """Give a worker named `dead` a lease that has expired."""
    blob = subscriptions_of(app)
    registration = leases.Registration(app.name, fingerprint_of(blob), blob, app.queues)
    await ask(url, leases.register(keys, "dead", 1, registration))
