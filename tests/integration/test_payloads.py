"""Payloads that are only in their records are loaded many at once, and never too many bytes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace_worker.membership.server import ServerAccess
from headrace_worker.streams.payloads import MAX_LOADED_BYTES, load_payloads


async def test_they_are_read_in_groups_of_at_most_8_mb(
    url: str, namespace: str, client: Client, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is returned by its event's id; for a lost or foreign record there is the reason instead."""
    sizes = [1_000_000] * 10 + [9_000] * 20
    sent = client.send_events([Event("large", payload="x" * size) for size in sizes])
    wanted = {each.id: size for each, size in zip(sent, sizes, strict=True)} | {"gone": 9_000, "foreign": 9_000}
    server = ServerAccess(url, Keys(namespace))
    redis.set(server.keys.event("foreign"), "a string")
    asked: list[int] = []
    run = server.commands.run

    async def noted(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        answers = await run(calls, **options)
        asked.append(sum(len(each) for each in answers if isinstance(each, bytes)))
        return answers

    monkeypatch.setattr(server.commands, "run", noted)
    try:
        bodies = await load_payloads(server, wanted)
    finally:
        await server.commands.close()
        redis.delete(server.keys.event("foreign"))
    assert len(asked) == 2
    assert max(asked) <= MAX_LOADED_BYTES + 10_000  # what is around the payloads
    assert [len(bodies[each.id]) // 1_000 for each in sent] == [size // 1_000 for size in sizes]
    assert str(bodies["gone"]).endswith("and the record is gone")
    assert "which can't be read: a key of this namespace" in str(bodies["foreign"])
