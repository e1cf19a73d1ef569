"""Memory is back at its baseline once everything has drained: the server's, and that of a worker process."""

from __future__ import annotations

import subprocess

from headrace import Client, Event, Retention
from tests.faults.chaos.remains import memory
from tests.faults.deployment import Deployment
from tests.support.processes import Process
from tests.support.waiting import wait_until

NOTHING_KEPT = Retention(success=0, failure=0, dedupe_client=0, dedupe_sender=0)
EVENTS = 4_000
"""A round of them has more runs than a worker remembers outcomes."""
ROUNDS = 3
WORKER_BYTES = 3_600_000
SERVER_BYTES = 500_000


def resident_bytes(process: Process) -> int:
    """Return how much memory a process has, as its system says."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], check=True, capture_output=True)
    return int(told.stdout) * 1024


def play_round(deployment: Deployment, client: Client) -> None:
    """Execute three runs of each event, and keep nothing of them."""
    for _ in range(EVENTS // 500):
        client.send_events([Event("load", {"text": "x" * 300})] * 500)
    deployment.wait_drained("load", 120)
    wait_until(lambda: deployment.redis.keys(f"{deployment.keys.event_prefix}*") == [], what="no records")


def test_memory_is_back_at_its_baseline(deployment: Deployment) -> None:
    """Three more rounds add less than a hundred bytes a run, on the server and in the worker."""
    worker = deployment.start_worker("load", retention=NOTHING_KEPT)
    with Client(deployment.url, namespace=deployment.namespace, retention=NOTHING_KEPT) as client:
        play_round(deployment, client)
        own, servers = resident_bytes(worker), memory(deployment.redis, deployment)
        for _ in range(ROUNDS):
            play_round(deployment, client)
        grown, servers_grown = resident_bytes(worker) - own, memory(deployment.redis, deployment) - servers
    print(f"the worker has {own:,} bytes and has grown by {grown:,}, the server by {servers_grown:,}")
    assert grown < WORKER_BYTES
    assert servers_grown < SERVER_BYTES
    worker.terminate()
    assert worker.wait() == 0
