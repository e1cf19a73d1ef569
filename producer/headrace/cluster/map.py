"""Finds the nodes of a Redis Cluster that calls belong to, and follows its answers. Pure: what it asks for is yielded.

A call goes to the node that serves the slot of its first key. MOVED is followed and remembered, ASK followed once with
ASKING, and what the cluster says while it changes (CLUSTERDOWN, TRYAGAIN …) or a node that is away is waited through:
then the cluster is asked anew who serves what.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec

from headrace.calls.call import Call, as_text
from headrace.cluster.slots import ANY, slots_of
from headrace.errors import OUTAGE, ConfigurationError, HeadraceError, ServerNotReady, UnsupportedServer
from headrace.transport.backoff import Backoff
from headrace.transport.deadline import Deadline
from headrace.transport.faults import Redirected
from headrace.transport.urls import Target
from headrace.transport.wire import note_earlier, read_reply, whole

_MAX_REDIRECTS = 5


class Batch(msgspec.Struct, frozen=True):
    """Calls that one node is sent in one round trip.

    Attributes:
        turns: among how many nodes, asked in turn until one answers, the time that is left is shared.
    """

    node: str
    calls: list[Call[Any]]
    turns: int = 1


Step = list[Batch] | float
"""What is asked of nodes at the same time, or how many seconds to wait."""
Answers = list[Any] | None
"""For each batch its replies, or the error for which there are none."""


class _Map(msgspec.Struct, frozen=True):
    """What one node says of the cluster.

    Attributes:
        source: the node.
        rows: which slots, from first to last, which master serves; in their order.
        nodes: all masters and replicas.
        ids: of these, which no other cluster has.
    """

    source: str
    rows: list[tuple[int, int, str]]
    nodes: tuple[str, ...]
    ids: frozenset[str]


class Cluster:
    """What is known of a cluster: where to ask for it, and which node serves which slot.

    Attributes:
        doubts: nodes that failed or whose map did not work, in the order of their failures: they are asked last.
    """

    def __init__(self, target: Target) -> None:
        """Begin without a map; ask nothing yet."""
        self._target = target
        self.seeds = [_address(host, port, "") for host, port in target.hosts]
        self.doubts: dict[str, int] = {}
        self._doubted = 0
        self._starts: list[int] = []
        self._ranges: list[tuple[int, str]] = []
        self._moved: dict[int, str] = {}
        self._map: _Map | None = None

    def target_of(self, node: str) -> Target:
        """Return what there is to know of a connection to one node."""
        host, _, port = node.rpartition(":")
        return self._target.at((host.strip("[]"), int(port)))

    def node_of(self, slot: int) -> str | None:
        """Return the node that serves a slot; None where none is known to."""
        if slot == ANY:
            return random.choice(self._ranges)[1] if self._ranges else None  # noqa: S311 - no secret
        if (moved := self._moved.get(slot)) is not None:
            return moved
        place = bisect_right(self._starts, slot) - 1
        if place < 0 or slot > self._ranges[place][0]:
            return None
        return self._ranges[place][1]

    def forget(self, failed: str | None = None) -> None:
        """Forget the map; ask a node that failed, and the node that gave the map, last."""
        if self._ranges and self._map is not None:
            self._doubt(self._map.source)
        self._starts, self._ranges, self._moved = [], [], {}
        if failed is not None:
            self._doubt(failed)

    def trust(self, node: str) -> None:
        """Note that a node has answered, and so that the map which led there works."""
        self.doubts.pop(node, None)
        if self._map is not None:
            self.doubts.pop(self._map.source, None)

    def _doubt(self, node: str) -> None:
        self._doubted += 1
        self.doubts[node] = self._doubted

    def note_moved(self, redirect: Redirected, asked: str) -> str:
        """Return the node that a redirection names; a MOVED is remembered."""
        node = _address(redirect.host, redirect.port, asked)
        if not redirect.is_ask:
            self._moved[redirect.slot] = node
        return node

    def look(self) -> Generator[Step, Answers, None]:
        """Ask the cluster which node serves which slots, unless that is known; raise what the last node asked says."""
        if self._ranges:
            return
        last: HeadraceError | None = None
        maps: list[_Map] = []
        nodes = self._in_turn()
        for place, node in enumerate(nodes):
            answers = yield [Batch(node, [Call(("CLUSTER", "SLOTS"), list)], turns=len(nodes) - place)]
            answer = (answers or [None])[0]
            reply = answer if isinstance(answer, HeadraceError) else answer[0]
            if isinstance(reply, HeadraceError):
                last = _without_map(node, reply)
            elif not reply:
                last = last or ServerNotReady("CLUSTERDOWN", f"node {node} knows of no slots yet")
            else:
                maps.append(_read_map(reply, node))
                if self._is_known(maps):
                    self._take_in(maps[-1])
                    return
                continue
            self._doubt(node)
        if not maps:
            raise last or ServerNotReady("CLUSTERDOWN", "no node of the cluster is known")
        self._take_in(_choose(maps))

    def _in_turn(self) -> list[str]:
        known = [*dict.fromkeys([*(self._map.nodes if self._map else ()), *self.seeds])]
        return sorted(random.sample(known, len(known)), key=lambda node: self.doubts.get(node, 0))

    def _is_known(self, maps: list[_Map]) -> bool:
        """Return whether the last map is of the known cluster, or of one that most seeds belong to.

        A node that was taken out of the cluster may form a cluster of its own by now, and answers with its map.
        """
        last = maps[-1]
        if self._map is not None:
            return bool(last.ids & self._map.ids)
        sources = {each.source for each in maps if each.ids & last.ids}
        return 2 * sum(seed in sources or seed in last.nodes for seed in self.seeds) > len(self.seeds)

    def _take_in(self, found: _Map) -> None:
        self._map = found
        self._moved = {}
        self._starts = [first for first, _, _ in found.rows]
        self._ranges = [(end, master) for _, end, master in found.rows]


def _without_map(node: str, reply: HeadraceError) -> HeadraceError:
    """Return why a node gave no map; raise the reason if no other node could give one."""
    if isinstance(reply, OUTAGE):
        return reply
    if "cluster support disabled" in str(reply):
        raise UnsupportedServer(f"{node} is no node of a Redis Cluster; name it by redis:// instead") from reply
    raise reply


def _read_map(reply: list[Any], source: str) -> _Map:
    """Return what CLUSTER SLOTS has answered: for some slots each their master, then its replicas."""
    masters = sorted(
        (int(row[0]), int(row[1]), _address(as_text(row[2][0] or b""), row[2][1], source)) for row in reply
    )
    nodes = [node for row in reply for node in row[2:]]
    addresses = tuple(dict.fromkeys(_address(as_text(node[0] or b""), node[1], source) for node in nodes))
    return _Map(source, masters, addresses, frozenset(as_text(node[2]) for node in nodes))


def _choose(maps: list[_Map]) -> _Map:
    """Return the map of the cluster that most nodes name; of several such clusters, of the one with the most nodes.

    Raises:
        ConfigurationError: several clusters are equal in both.
    """

    def rank(one: _Map) -> tuple[int, int]:
        return sum(bool(one.ids & other.ids) for other in maps), len(one.ids)

    best = max(maps, key=rank)
    for other in maps:
        if not other.ids & best.ids and rank(other) == rank(best):
            raise ConfigurationError(
                f"{best.source} and {other.source} are nodes of different clusters; name those of one in the URL"
            )
    return best


def _address(host: str, port: int, asked: str) -> str:
    """Return a node's address; a node without a name of its own has the host of the node that was asked."""
    host = host if host not in ("", "?") else asked.rpartition(":")[0]
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def carry(
    cluster: Cluster,
    calls: Sequence[Call[Any]],
    *,
    home: int | None,
    partial: bool,
    attempts: int,
    deadline: Deadline | None = None,
) -> Generator[Step, Answers, list[Any]]:
    """Return the results of the calls, each from the node that it belongs to.

    Send the nodes' answers into the generator after each step. A call that a node can't answer at the moment is tried
    again, together with the later calls of its slot.

    Args:
        home: the slot of calls without a key.
        partial: an error of one call stands in the place of its result; but all calls' errors are raised.
        attempts: how often a call is tried.
        deadline: when it is not tried again.
    """
    if not calls:
        return []
    backoff, failures = Backoff(attempts), 0
    slots = slots_of(calls, home)
    replies: list[Any] = [None] * len(calls)
    left = list(range(len(calls)))
    uncertain: set[int] = set()
    while True:
        yield from _attempt(cluster, calls, slots, left, replies)
        if uncertain:
            note_earlier(replies[place] for place in uncertain)
        left = _to_repeat(slots, replies)
        if left:
            cluster.forget()
            uncertain.update(place for place in left if getattr(replies[place], "may_be_done", False))
        failures += 1
        pause_s = backoff.pause_s(failures, deadline) if left else None
        if pause_s is None:
            break
        yield pause_s
    if deadline is not None:
        for outage in {replies[place] for place in left if isinstance(replies[place], OUTAGE)}:
            deadline.explain(outage, failures)
    failed = [reply for reply in replies if isinstance(reply, HeadraceError)]
    if failed and (not partial or (left and len(failed) == len(calls))):
        raise failed[0]
    return [read_reply(call, reply, partial=partial) for call, reply in zip(calls, replies, strict=True)]


def _to_repeat(slots: list[int], replies: list[Any]) -> list[int]:
    """Return the places of the calls to try again, which are those that came after them in their slots too."""
    broken: set[int] = set()
    found = []
    for place, (slot, reply) in enumerate(zip(slots, replies, strict=True)):
        if isinstance(reply, OUTAGE) or slot in broken:
            broken.add(slot)
            found.append(place)
    return found


def _attempt(
    cluster: Cluster, calls: Sequence[Call[Any]], slots: list[int], left: Sequence[int], replies: list[Any]
) -> Generator[Step, Answers, None]:
    """Try the calls of these places once, following redirections; put their replies in their places."""
    try:
        yield from cluster.look()
    except OUTAGE as exc:
        for place in left:
            replies[place] = exc
        return
    lanes: dict[int, _Lane] = {}
    for place in left:
        lanes.setdefault(slots[place], _Lane(slots[place], replies)).places.append(place)
    while lanes:
        groups: dict[str, list[_Lane]] = {}
        for lane in lanes.values():
            lane.skip_waits(calls)
            node = lane.node(cluster) if lane.places else None
            if node is not None:
                groups.setdefault(node, []).append(lane)
        if groups:
            batches = [
                Batch(node, [command for lane in those for command in lane.commands(calls)])
                for node, those in groups.items()
            ]
            answers = yield batches
            for (node, those), answer in zip(groups.items(), answers or (), strict=True):
                _hand_out(cluster, node, those, answer)
        lanes = {slot: lane for slot, lane in lanes.items() if lane.places}


def _hand_out(cluster: Cluster, node: str, lanes: list[_Lane], answer: Any) -> None:
    """Give each lane the replies of its node, or the error for which there are none."""
    if isinstance(answer, HeadraceError):
        for lane in lanes:
            lane.take(cluster, node, answer)
        return
    got = iter(answer)
    for lane in lanes:
        lane.take(cluster, node, got)
    if cluster.doubts:
        cluster.trust(node)


class _Lane:
    """The calls of one slot, which are carried out in their order.

    Attributes:
        places: those of the calls that have no reply yet.
    """

    def __init__(self, slot: int, replies: list[Any]) -> None:
        self.places: list[int] = []
        self._slot = slot
        self._replies = replies
        self._asking: str | None = None
        self._is_one_by_one = False
        self._redirects = 0

    def skip_waits(self, calls: Sequence[Call[Any]]) -> None:
        """Skip each WAIT that does not go right behind its send: it would count replicas that lack the event."""
        while self.places and calls[self.places[0]].args[0] == "WAIT":
            self._replies[self.places.pop(0)] = 0

    def node(self, cluster: Cluster) -> str | None:
        """Return the node to send to; None, with nothing left to send, where none is known."""
        node = self._asking or cluster.node_of(self._slot)
        if node is None:
            self._fail(ServerNotReady("CLUSTERDOWN", f"no node of the cluster is known to serve slot {self._slot}"))
        return node

    def commands(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        """Return the calls to send now; after a redirection they go one by one, as each may be redirected."""
        if self._asking is not None:  # a lost script would cost the ASKING, so it goes whole
            call = calls[self.places[0]]
            return [Call(("ASKING",), _nothing), Call(whole(call), call.read, no_group=call.no_group)]
        return [calls[place] for place in self._sent]

    def take(self, cluster: Cluster, node: str, got: Iterator[Any] | HeadraceError) -> None:
        """Put the replies of a node in their places, up to one that redirects."""
        if isinstance(got, HeadraceError):
            cluster.forget(node)
            self._fail(got)
            return
        sent = self._sent
        if self._asking is not None:
            next(got)
        self._asking = None
        answers = [next(got) for _ in sent]
        for nth, (place, reply) in enumerate(zip(sent, answers, strict=True)):
            if isinstance(reply, Redirected):
                self._follow(reply, cluster.note_moved(reply, node), nth)
                return
            self._replies[place] = reply
        self._redirects = 0
        self.places = self.places[len(sent) :]

    @property
    def _sent(self) -> list[int]:
        return self.places[:1] if self._is_one_by_one else self.places

    def _follow(self, redirect: Redirected, node: str, done: int) -> None:
        self.places = self.places[done:]
        self._is_one_by_one = True
        self._redirects += 1
        if redirect.is_ask:
            self._asking = node
        if self._redirects > _MAX_REDIRECTS:
            self._fail(ServerNotReady("MOVED", f"nodes send slot {self._slot} to each other: {redirect}"))

    def _fail(self, error: HeadraceError) -> None:
        for place in self.places:
            self._replies[place] = error
        self.places = []


def _nothing(_reply: object) -> None:
    """Read the reply of a command without a result."""
