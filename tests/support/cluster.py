"""A real Redis Cluster on loopback: its nodes, the move of a slot, and the loss of a master."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import redis as redis_py

from headrace.cluster.slots import slot_of
from tests.support.ports import is_free
from tests.support.servers import ControlledServer
from tests.support.tls import Authority, TlsFront
from tests.support.waiting import wait_until

SLOTS = 16_384
_OPTIONS = (*("--cluster-enabled", "yes", "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),)


class Node:
    """One node: its server, and a client that asks only this node.

    Attributes:
        port: where the cluster says that it is.
    """

    def __init__(self, server: ControlledServer, port: int) -> None:
        self.server = server
        self.port = port
        self.client = redis_py.Redis.from_url(server.tcp_url)
        self.id: str = self.ask("CLUSTER", "MYID").decode()

    def ask(self, *command: Any) -> Any:
        """Return the node's reply to a command."""
        return self.client.execute_command(*command)

    @property
    def facts(self) -> dict[str, str]:
        """Return the node's own view of the cluster."""
        reply: Any = self.client.execute_command("CLUSTER INFO")
        return dict(reply) if isinstance(reply, dict) else dict(row.split(":") for row in reply.decode().split())

    @property
    def errors(self) -> set[str]:
        """Return the words of the node's error answers since `forget_errors`."""
        stats: Any = self.client.info("errorstats")
        return {name.removeprefix("errorstat_") for name in stats}

    def forget_errors(self) -> None:
        """Ignore the errors so far."""
        self.ask("CONFIG", "RESETSTAT")


class Cluster:
    """So many masters, each with so many replicas, and all slots spread over them."""

    def __init__(
        self,
        make_server: Callable[..., ControlledServer],
        masters: int = 3,
        replicas: int = 0,
        authority: Authority | None = None,
        node_timeout_ms: int = 1_000,
    ) -> None:
        """The cluster serves all slots.

        Args:
            masters: how many.
            replicas: how many each of them has.
            authority: clients reach the nodes over TLS, with a certificate that it has signed. Without replicas only:
                these would be told the same ports, and have no TLS themselves.
            node_timeout_ms: after how long a node that does not answer counts as gone.
        """
        count = masters * (1 + replicas)
        self._authority = authority
        self._options = (*_OPTIONS, "--cluster-node-timeout", str(node_timeout_ms))
        self._fronts = ExitStack()
        self.nodes = [self._start(make_server) for _ in range(count)]
        self.masters, others = self.nodes[:masters], self.nodes[masters:]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.server.port)
        for number, node in enumerate(self.masters):
            node.ask("CLUSTER", "ADDSLOTS", *range(number * SLOTS // masters, (number + 1) * SLOTS // masters))
        wait_until(lambda: all(int(node.facts["cluster_known_nodes"]) == count for node in self.nodes), 30)
        self.replicas: dict[str, list[Node]] = {}
        for number, node in enumerate(others):
            master = self.masters[number % masters]
            wait_until(lambda node=node, master=master: _try(node, "CLUSTER", "REPLICATE", master.id), 30)  # type: ignore[misc]
            self.replicas.setdefault(master.id, []).append(node)
        for node in others:
            wait_until(lambda node=node: node.client.info("replication").get("master_link_status") == "up", 30)  # type: ignore[misc]
        wait_until(lambda: all(node.facts["cluster_state"] == "ok" for node in self.nodes), 30)

    @property
    def url(self) -> str:
        """The URL that names the first two nodes."""
        nodes = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        if self._authority is None:
            return f"redis+cluster://{nodes}"
        return f"rediss+cluster://{nodes}?ssl_ca_certs={self._authority.path}"

    def master_of(self, key: str) -> Node:
        """Return the node that serves a key now, as the first living node says."""
        slot = slot_of(("GET", key)) or 0
        node = next(each for each in self.nodes if each.server.is_running)
        for first, last, (_, port, *_), *_ in node.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(each for each in self.nodes if each.port == port)
        raise AssertionError(f"slot {slot} is not served")

    def migrate(self, key: str, target: Node, between: Callable[[], object] = lambda: None) -> None:
        """Move the slot of a key to another master, with all its keys, one after the other."""
        slot, source = slot_of(("GET", key)), self.master_of(key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while names := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for name in names:
                source.ask("MIGRATE", "127.0.0.1", target.server.port, name, 0, 5_000)
            between()
        for node in (target, source, *self.masters):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def stored(self, pattern: str) -> dict[int, int]:
        """Return how many keys of a pattern each master has."""
        return {number: len(_list(node.client.keys(pattern))) for number, node in enumerate(self.masters)}

    def close(self) -> None:
        """Close the clients; the servers belong to their maker."""
        for node in self.nodes:
            node.client.close()
        self._fronts.close()

    def _start(self, make_server: Callable[..., ControlledServer]) -> Node:
        """Return a node whose port has a free neighbour, 10,000 on, for the bus of the nodes."""
        while True:
            port = random.randrange(20_000, 32_000)
            if is_free(port) and is_free(port + 10_000):
                break
        announced: tuple[str, ...] = ()
        shown = port
        if self._authority is not None:
            shown = self._fronts.enter_context(TlsFront(port, self._authority.issue("node"))).port
            announced = ("--cluster-announce-port", str(shown), "--cluster-announce-bus-port", str(port + 10_000))
        return Node(make_server(unix_socket=False, port=port, extra=(*self._options, *announced)), shown)


def _list(reply: Any) -> Sequence[Any]:
    found: Sequence[Any] = reply
    return found


def _try(node: Node, *command: Any) -> bool:
    """Return whether the node can do it yet: it may not know the other node so far."""
    try:
        node.ask(*command)
    except redis_py.ResponseError:
        return False
    return True
