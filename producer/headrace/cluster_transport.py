"""Carries calls to the nodes of a Redis Cluster: what `cluster` asks for is asked of the transports of its nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from headrace.calls import Call
from headrace.cluster import Batch, Cluster, carry, slot_of
from headrace.errors import HeadraceError
from headrace.transport import REPLY_TIMEOUT_S, AsyncTransport, Transport


def _slot_of_key(key: str | None) -> int | None:
    return None if key is None else slot_of(("GET", key))


class ClusterTransport:
    """Runs calls as `Transport` does, each on the node that serves its keys."""

    def __init__(
        self, url: str, *, attempts: int = 8, reply_timeout_s: float = REPLY_TIMEOUT_S, home: str | None = None
    ) -> None:
        """Nothing is connected yet.

        Args:
            home: a key whose node gets the calls without keys; any node if None.
        """
        self._cluster = Cluster(url)
        self._attempts = attempts
        self._reply_timeout_s = reply_timeout_s
        self._home = _slot_of_key(home)
        self._nodes: dict[str, Transport] = {}
        for seed in self._cluster.seeds:  # what is wrong with the URL is said at once
            self._node(seed)

    def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        """Returns the results of the calls, sent in one round trip to each node.

        Args:
            partial: an error of one call stands in the place of its result, unless none has one.

        Raises:
            ServerError: its subclass says what went wrong; see `errors`.
        """
        steps = carry(self._cluster, calls, home=self._home, partial=partial, attempts=self._attempts)
        answers: list[Any] | None = None
        while True:
            try:
                step = steps.send(answers)
            except StopIteration as done:
                results: list[Any] = done.value
                return results
            if isinstance(step, float):
                time.sleep(step)
                answers = None
            else:
                answers = [self._ask(batch) for batch in step]

    def listener(self, key: str) -> Any:
        """Returns what can subscribe to a channel: every node hears what is published on any."""
        return self._node(self._cluster.node_of(slot_of(("GET", key)) or 0)).listener(key)

    def close(self) -> None:
        """The connections are closed; a later call opens new ones."""
        for node in list(self._nodes.values()):
            node.close()

    def _ask(self, batch: Batch) -> Any:
        try:
            return self._node(batch.node).exchange(batch.calls)
        except HeadraceError as exc:
            return exc

    def _node(self, node: str | None) -> Transport:
        node = node or self._cluster.seeds[0]
        found = self._nodes.get(node)
        if found is None:
            made = Transport(self._cluster.url_of(node), attempts=1, reply_timeout_s=self._reply_timeout_s)
            found = self._nodes.setdefault(node, made)
        return found


class AsyncClusterTransport:
    """Runs calls as `AsyncTransport` does, each on the node that serves its keys."""

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 8,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        on_connect: Callable[[Any], Awaitable[None]] | None = None,
        home: str | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            on_connect: is awaited with each new connection once it is ready.
            home: a key whose node gets the calls without keys; any node if None.
        """
        self._cluster = Cluster(url)
        self._attempts = attempts
        self._reply_timeout_s = reply_timeout_s
        self._on_connect = on_connect
        self._home = _slot_of_key(home)
        self._nodes: dict[str, AsyncTransport] = {}
        for seed in self._cluster.seeds:  # what is wrong with the URL is said at once
            self._node(seed)

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        """See `ClusterTransport.run`; the nodes work at the same time."""
        steps = carry(self._cluster, calls, home=self._home, partial=partial, attempts=self._attempts)
        answers: list[Any] | None = None
        while True:
            try:
                step = steps.send(answers)
            except StopIteration as done:
                results: list[Any] = done.value
                return results
            if isinstance(step, float):
                await asyncio.sleep(step)
                answers = None
            elif len(step) == 1:
                answers = [await self._ask(step[0])]
            else:
                answers = await asyncio.gather(*map(self._ask, step))

    def listener(self, key: str) -> Any:
        """See `ClusterTransport.listener`."""
        return self._node(self._cluster.node_of(slot_of(("GET", key)) or 0)).listener(key)

    async def close(self) -> None:
        """The connections are closed; a later call opens new ones."""
        for node in list(self._nodes.values()):
            await node.close()

    async def _ask(self, batch: Batch) -> Any:
        try:
            return await self._node(batch.node).exchange(batch.calls)
        except HeadraceError as exc:
            return exc

    def _node(self, node: str | None) -> AsyncTransport:
        node = node or self._cluster.seeds[0]
        if node not in self._nodes:
            self._nodes[node] = AsyncTransport(
                self._cluster.url_of(node),
                attempts=1,
                reply_timeout_s=self._reply_timeout_s,
                on_connect=self._on_connect,
            )
        return self._nodes[node]
