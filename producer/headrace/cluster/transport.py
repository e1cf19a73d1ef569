"""Carries calls to the nodes of a Redis Cluster: what `cluster` asks for is asked of the transports of its nodes."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

from headrace.calls.call import Call
from headrace.cluster.map import Answers, Batch, Cluster, Step, carry
from headrace.cluster.slots import slot_of
from headrace.errors import HeadraceError
from headrace.transport.deadline import Deadline
from headrace.transport.single import AsyncTransport, Transport
from headrace.transport.urls import Target

T = TypeVar("T")


class _Nodes(Generic[T]):
    """The cluster as its calls find it: a transport for each node, made when it is first needed."""

    def __init__(self, target: Target, make: Callable[[Target], T], *, attempts: int, home: str | None) -> None:
        self._cluster = Cluster(target)
        self._make = make
        self._attempts = attempts
        self._home = None if home is None else _slot_of_key(home)
        self._made: dict[str, T] = {}
        for seed in self._cluster.seeds:  # what is wrong with the URL is said at once
            self.at(seed)

    def carry(
        self, calls: Sequence[Call[Any]], deadline: Deadline | None, *, partial: bool
    ) -> Generator[Step, Answers, list[Any]]:
        """See `cluster.carry`."""
        return carry(self._cluster, calls, home=self._home, partial=partial, attempts=self._attempts, deadline=deadline)

    def at(self, node: str | None) -> T:
        """Return the transport of a node; of the first seed for None."""
        node = node or self._cluster.seeds[0]
        found = self._made.get(node)
        if found is None:  # of two threads that make one, both take the first
            found = self._made.setdefault(node, self._make(self._cluster.target_of(node)))
        return found

    def of(self, key: str) -> T:
        """Return the transport of the node that serves a key."""
        return self.at(self._cluster.node_of(_slot_of_key(key)))

    def all(self) -> list[T]:
        """Return the transports that were made."""
        return list(self._made.values())


def _slot_of_key(key: str) -> int:
    return slot_of(("GET", key)) or 0


def _share(batch: Batch, deadline: Deadline | None) -> Deadline | None:
    return None if deadline is None else deadline.share(batch.turns)


class ClusterTransport:
    """Runs calls as `Transport` does, each on the node that serves its keys."""

    def __init__(
        self, target: Target, *, attempts: int = 8, reply_timeout_s: float | None = None, home: str | None = None
    ) -> None:
        """Read the settings; connect at the first call.

        Args:
            home: a key whose node gets the calls without keys; any node if None.
        """
        make = functools.partial(Transport, attempts=1, reply_timeout_s=reply_timeout_s)
        self._nodes = _Nodes(target, make, attempts=attempts, home=home)

    def run(self, calls: Sequence[Call[Any]], *, partial: bool = False, deadline: Deadline | None = None) -> list[Any]:
        """Return the results of the calls, sent in one round trip to each node.

        Args:
            partial: an error of one call stands in the place of its result, unless none has one.
            deadline: see `Transport.run`.

        Raises:
            ServerError: its subclass says what went wrong; see `errors`.
        """
        steps = self._nodes.carry(calls, deadline, partial=partial)
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
                answers = [self._ask(batch, deadline) for batch in step]

    def listener(self, key: str) -> Any:
        """Return what can subscribe to a channel: every node hears what is published on any."""
        return self._nodes.of(key).listener(key)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        for node in self._nodes.all():
            node.close()

    def _ask(self, batch: Batch, deadline: Deadline | None) -> Any:
        try:
            return self._nodes.at(batch.node).exchange(batch.calls, _share(batch, deadline))
        except HeadraceError as exc:
            return exc


class AsyncClusterTransport:
    """Runs calls as `AsyncTransport` does, each on the node that serves its keys."""

    def __init__(
        self,
        target: Target,
        *,
        attempts: int = 8,
        reply_timeout_s: float | None = None,
        on_connect: Callable[[Any], Awaitable[None]] | None = None,
        home: str | None = None,
    ) -> None:
        """Read the settings; connect at the first call.

        Args:
            on_connect: is awaited with each new connection once it is ready.
            home: a key whose node gets the calls without keys; any node if None.
        """
        make = functools.partial(AsyncTransport, attempts=1, reply_timeout_s=reply_timeout_s, on_connect=on_connect)
        self._nodes = _Nodes(target, make, attempts=attempts, home=home)

    async def run(
        self, calls: Sequence[Call[Any]], *, partial: bool = False, deadline: Deadline | None = None
    ) -> list[Any]:
        """See `ClusterTransport.run`; the nodes work at the same time."""
        steps = self._nodes.carry(calls, deadline, partial=partial)
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
                answers = [await self._ask(step[0], deadline)]
            else:
                answers = await asyncio.gather(*(self._ask(batch, deadline) for batch in step))

    def listener(self, key: str) -> Any:
        """See `ClusterTransport.listener`."""
        return self._nodes.of(key).listener(key)

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        for node in self._nodes.all():
            await node.close()

    async def _ask(self, batch: Batch, deadline: Deadline | None) -> Any:
        try:
            return await self._nodes.at(batch.node).exchange(batch.calls, _share(batch, deadline))
        except HeadraceError as exc:
            return exc
