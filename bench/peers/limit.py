"""The limit: what a bare loop over one stream can do with redis-py and hiredis, without a feature of a job system."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import redis
import redis.asyncio

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("redis", "hiredis", "msgspec")
SETTINGS = "XREADGROUP COUNT 500, msgspec decode, one task a job, one XACK a batch; no records, retries or leases"

STREAM, GROUP, BATCH = "bench", "workers", 500
encode = msgspec.msgpack.encode
tally = Tally()


async def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.contextmanager
def sender() -> Iterator[Sender]:
    """Connects, and gives the means to send."""
    with redis.Redis.from_url(url()) as client:

        def one(payload: Payload) -> None:
            client.xadd(STREAM, {"b": encode(payload)})

        def many(payloads: list[Payload]) -> None:
            pipeline = client.pipeline(transaction=False)
            for payload in payloads:
                pipeline.xadd(STREAM, {"b": encode(payload)})
            pipeline.execute()

        yield Sender(one, many)


def work() -> None:
    """Run one worker process until it is ended."""
    asyncio.run(_loop())


async def _loop() -> None:
    decode = msgspec.msgpack.Decoder(Payload).decode
    client: Any = redis.asyncio.Redis.from_url(url())
    with contextlib.suppress(redis.ResponseError):
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    while True:
        reply = await client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=BATCH, block=5000)
        if not reply:
            continue
        entries = reply[STREAM.encode()][0] if isinstance(reply, dict) else reply[0][1]
        await asyncio.gather(*[asyncio.create_task(noop(decode(fields[b"b"]))) for _, fields in entries])
        await client.xack(STREAM, GROUP, *[entry for entry, _ in entries])
