"""Through what the functions of runs act on the server: from the event loop, or from their threads.

All runs of a worker share both sides, which connect at their first use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace import AsyncClient, Client, PayloadCodec, SendOptions, SentEvent
from headrace.plans.prepare import Item


class RunPort(AsyncClient):
    """The side for coroutines, on the worker's event loop."""

    async def send_one(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> SentEvent:
        """Send one event of a run; errors name no place."""
        return (await self._send(events, options, numbered=False, parent_run=parent_run))[0]

    async def send_all(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        """Send events of a run; errors name an event's place."""
        return await self._send(events, options, numbered=True, parent_run=parent_run)


class ThreadedRunPort(Client):
    """The side for plain functions, in threads."""

    def send_one(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> SentEvent:
        """See `RunPort.send_one`."""
        return self._send(events, options, numbered=False, parent_run=parent_run)[0]

    def send_all(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        """See `RunPort.send_all`."""
        return self._send(events, options, numbered=True, parent_run=parent_run)


class RunPorts:
    """Both sides of a worker's port."""

    def __init__(self, url: str, namespace: str, partitions: int = 1, codec: PayloadCodec | None = None) -> None:
        # Without a timeout: that of its job ends a run, and short outages are waited through as the worker does.
        settings: dict[str, Any] = {"namespace": namespace, "partitions": partitions, "codec": codec, "timeout": None}
        self.asynchronous = RunPort(url, **settings)
        self.threaded = ThreadedRunPort(url, **settings)

    async def close(self) -> None:
        """Close the connections of both sides."""
        await self.asynchronous.close()
        self.threaded.close()  # here: the threads of jobs may all be busy
