"""Holds leases and does nothing else: `python -m bench.alone.leases COUNT`, so that many workers seem to live."""

from __future__ import annotations

import sys
import time

from bench.side import url
from headrace.formats.keys import Keys
from headrace.transport.single import Transport
from headrace_worker import App
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Registration

LEASE_MS = 15_000


def main() -> None:
    """Register so many names and renews each three times a lease, without a wish to lead or to dispatch."""
    names = [f"crowd-{number}" for number in range(int(sys.argv[1]))]
    keys = Keys("default")
    transport = Transport(url())
    nothing = subscriptions_of(App("crowd"))
    registration = Registration("crowd", fingerprint_of(nothing), nothing, ("default",))
    for name in names:
        transport.run([leases.register(keys, name, LEASE_MS, registration)])
    while True:
        for name in names:
            transport.run([leases.renew(keys, name, LEASE_MS, "stuck", dispatchers=0, keep_dead_ms=604_800_000)])
            time.sleep(LEASE_MS / 3000 / len(names) * 0.8)


if __name__ == "__main__":
    main()
