"""How the size of payloads shows: 100 bytes, real webhooks of about 10 kB, 500 kB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bench.alone.context import Context
from bench.environments import ROOT
from bench.results import Figure, Scenario
from bench.side import PAYLOAD

WEBHOOKS = ROOT / "tests" / "data" / "github-webhooks.ndjson"


def measure(context: Context, scenario: Scenario) -> None:
    """Send and drains each size."""
    large = {**PAYLOAD, "text": "Large payloads stay in the record. " * (500_000 // 35)}
    for name, payloads, usual, batch in (
        ("100 bytes", [PAYLOAD], 50_000, 500),
        ("webhooks", list(_webhooks()), 20_000, 100),
        ("500 kB", [large], 400, 8),
    ):
        count = context.number(usual, 100)
        size = sum(len(msgspec.msgpack.encode(payload)) for payload in payloads) / len(payloads)
        context.server.reset()
        sent_s = context.fill(count, payloads, batch)
        drained = context.drain(count, from_start=size > 100_000)
        rate = f"{size * drained.rate / 1e6:,.0f} MB a second"
        memory = (drained.after.memory - drained.before.memory) / count
        title = name if name != "webhooks" else f"real webhooks of {size / 1000:.1f} kB"
        scenario.figures += [
            Figure(f"{title}: sent", count / sent_s, "events/s", note=f"batches of {batch}"),
            Figure(f"{title}: drained", drained.rate, "runs/s", note=f"{rate}; memory: {memory:+,.0f} bytes a run"),
        ]


def _webhooks() -> Iterator[Any]:
    """Yield the payloads between 8 and 13 kB."""
    for line in WEBHOOKS.read_bytes().splitlines():
        payload = msgspec.json.decode(line)["payload"]
        if 8_000 <= len(msgspec.msgpack.encode(payload)) <= 13_000:
            yield payload
