"""The master of a service that sentinels watch dies under load; what its replicas have is run to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, HeadraceError, SentEvent, ServerNotReady
from headrace.formats.keys import Keys
from tests.faults.service import ATTEMPTS, NAMESPACE, UNREACHED, Sender, Service
from tests.support.processes import Process, Processes
from tests.support.sentinels import Watched
from tests.support.waiting import wait_until


@pytest.fixture
def watched(tmp_path: Path, server_binary: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A service with the options that the test's parameter names."""
    with Watched(tmp_path, server_binary, **getattr(request, "param", {})) as watched:
        yield watched


@pytest.fixture
def client(watched: Watched) -> Iterator[Client]:
    with Client(watched.url(), namespace=NAMESPACE, attempts=ATTEMPTS, timeout=None) as client:
        yield client


@pytest.fixture
def service(watched: Watched, client: Client, processes: Processes, tmp_path: Path) -> Iterator[Service]:
    service = Service(watched, client, processes, tmp_path)
    yield service
    service.calls.close()


def with_replicas(events: list[SentEvent], count: int) -> list[SentEvent]:
    """Return the events that at least so many replicas had when the send returned."""
    return [event for event in events if (event.replicas or 0) >= count]


@pytest.mark.parametrize("nth", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 8))])
def test_a_failover_under_load_loses_nothing_that_every_replica_has(
    service: Service, capsys: pytest.CaptureFixture[str], nth: int
) -> None:
    """What was sent with `wait_replicas=2` and has two is run to its end; workers live on, and everything drains."""
    workers, url = service.start_workers(), service.watched.url()
    sure, loose = Sender(url, wait_replicas=2, wait_replicas_timeout=0.5), Sender(url)
    try:
        service.wait_for_calls(600)
        _, election_s = service.kill_master()
        service.wait_for_calls(600)
    finally:
        sure.stop()
        loose.stop()
    service.wait_drained()
    replicated = with_replicas(sure.sent, 2)
    assert replicated
    assert service.lost_of(replicated) == []
    lost = [service.lost_of(sender.sent) for sender in (sure, loose)]
    assert all(worker.is_running for worker in workers)
    with capsys.disabled():
        print(
            f"\nfailover {nth}; with wait_replicas=2: {len(sure.sent)} events, {len(replicated)} of them on both "
            f"replicas, {len(lost[0])} lost; without: {len(loose.sent)} events, {len(lost[1])} lost; "
            f"{service.called_again()} runs called again; another master after "
            f"{election_s:.1f} s, longest send {max(sure.longest_s, loose.longest_s):.1f} s"
        )


def _lose_and_regain_a_master(service: Service) -> int | None:
    """Kill the master, and return its port once it follows the new master."""
    service.wait_for_calls(600)
    dead, _ = service.kill_master()
    dead.start()
    service.wait_for_calls(600)
    wait_until(service.watched.is_whole, 120, what="a service that is whole", ignoring=UNREACHED)
    return dead.port


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("watched", [{"down_after_ms": 3_000, "appendonly": True}], indirect=True)
def test_failovers_one_after_the_other_lose_nothing_that_a_replica_has(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each server is master in its turn and comes back with its file; the next one dies when all three are whole."""
    workers, url = service.start_workers(), service.watched.url()
    sure = Sender(url, pause_s=0.05, wait_replicas=1, wait_replicas_timeout=0.5)
    loose = Sender(url, pause_s=0.02)
    try:
        masters = {_lose_and_regain_a_master(service) for _ in range(6)}
        service.wait_for_calls(600)
    finally:
        sure.stop()
        loose.stop()
    service.wait_drained()
    replicated = with_replicas(sure.sent, 1)
    lost, lost_loose = service.lost_of(replicated), service.lost_of(loose.sent)
    with capsys.disabled():
        print(
            f"\n6 kills of {len(masters)} masters, {service.watched.elections} elections; with wait_replicas=1: "
            f"{len(sure.sent)} events, {len(replicated)} of them on a replica, {len(lost)} of those lost; without: "
            f"{len(loose.sent)} events, {len(lost_loose)} lost; {service.called_again()} runs called again; "
            f"longest send {max(sure.longest_s, loose.longest_s):.1f} s"
        )
    assert replicated
    assert lost == []
    assert len(masters) > 1
    assert all(worker.is_running for worker in workers)


@pytest.mark.parametrize(
    "watched",
    [{"down_after_ms": 60_000, "appendonly": True, "extra": ("--appendfsync", "always")}],
    indirect=True,
)
def test_a_master_that_comes_back_before_an_election_has_what_it_had(service: Service) -> None:
    """With a file that is written before each answer: its replicas copy what it comes back with, or nothing."""
    sent = service.client.send_event(Event("load"), wait_replicas=2, wait_replicas_timeout=5)
    assert sent.replicas == 2
    master = service.watched.master
    master.kill()
    master.start()
    wait_until(service.watched.is_whole, 60, what="replicas that follow again", ignoring=UNREACHED)
    for server in service.watched.servers:
        with redis_py.Redis.from_url(server.tcp_url) as redis:
            assert redis.exists(Keys(NAMESPACE).event(sent.id))
    assert service.client.send_event(Event("load", id=sent.id)).duplicate


def _leases_are_over(watched: Watched) -> bool:
    with redis_py.Redis.from_url(watched.master.tcp_url) as redis:
        now: Any = redis.time()
        leases: Any = redis.zrange(Keys(NAMESPACE).workers, 0, -1, withscores=True)
    return bool(leases) and all(end < now[0] * 1000 for _, end in leases)


def _refusal(client: Client) -> str:
    try:
        client.send_event(Event("other"))
    except ServerNotReady as exc:
        return exc.code
    return ""


def _has_waited(worker: Process) -> bool:
    return "NOREPLICAS" in worker.output


@pytest.mark.not_on("redis-6.2", reason="min-replicas-to-write does not hold for its scripts")
@pytest.mark.parametrize(
    "watched", [{"extra": ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")}], indirect=True
)
def test_a_master_that_its_replicas_do_not_hear_takes_no_writes_until_they_do(service: Service) -> None:
    """A send reports it. Workers wait longer than their leases; then nothing is lost and nothing is called twice."""
    workers, url = service.start_workers(lease_s=2), service.watched.url()
    master, sender = service.watched.master, Sender(url)
    try:
        service.wait_for_calls(300)
        for replica in service.watched.replicas:
            replica.pause()
        with Client(url, namespace=NAMESPACE, attempts=1) as impatient:
            wait_until(lambda: _refusal(impatient) == "NOREPLICAS", 30, what="a send that is refused")
        wait_until(lambda: all(map(_has_waited, workers)), 30, what="workers that say why they wait")
        wait_until(lambda: _leases_are_over(service.watched), 30, what="leases that are over")
        for replica in service.watched.replicas:
            replica.resume()
        service.wait_for_calls(300)
    finally:
        sender.stop()
    service.wait_drained()
    assert service.watched.master is master
    assert (service.lost_of(sender.sent), service.called_again()) == ([], 0)
    assert all(worker.is_running for worker in workers)


def test_what_no_replica_has_is_lost_with_its_master(service: Service, client: Client) -> None:
    """`replicas` is 2 if the event is kept, 0 if it may be lost; to send the id again is safe in both cases."""
    kept = client.send_event(Event("work"), wait_replicas=2, wait_replicas_timeout=5)
    assert kept.replicas == 2
    master, replicas = service.watched.master, service.watched.replicas
    for replica in replicas:
        replica.pause()
    with redis_py.Redis.from_url(master.tcp_url) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "replica")  # or the kernel would keep what they are sent
    lost = client.send_event(Event("work"), wait_replicas=1, wait_replicas_timeout=0.05)
    assert lost.replicas == 0
    master.kill()
    for replica in replicas:
        replica.resume()
    wait_until(lambda: client.get_event(kept.id), 60, what="another master", ignoring=(HeadraceError,))
    assert service.record_of(lost) is None
    again = client.send_event(Event("work", id=lost.id), wait_replicas=1, wait_replicas_timeout=5)
    assert (again.duplicate, again.replicas) == (False, 1)
    assert client.send_event(Event("work", id=kept.id)).duplicate
