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
from urllib.parse import urlsplit

import msgspec

from headrace.backoff import RETRIED, Backoff
from headrace.calls import Call, as_text
from headrace.errors import ConfigurationError, HeadraceError, ServerNotReady, UnsupportedServer
from headrace.faults import Redirected
from headrace.pool import without_secrets
from headrace.slots import ANY, slots_of
from headrace.wire import whole

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_MAX_REDIRECTS = 5


class Batch(msgspec.Struct, frozen=True):
    """Calls that one node is sent in one round trip."""

    node: str
    calls: list[Call[Any]]


Step = list[Batch] | float
"""What is asked of nodes at the same time, or how many seconds to wait."""
Answers = list[Any] | None
"""For each batch its replies, or the error for which there are none."""


class Cluster:
    """What is known of a cluster: where to ask for it, and which node serves which slot."""

    def __init__(self, url: str) -> None:
        """Nothing is asked yet; raises ConfigurationError for a URL that is none of a cluster."""
        parts = urlsplit(url)
        if parts.path not in ("", "/", "/0"):
            raise ConfigurationError(f"{without_secrets(url)!r} is no URL of a cluster: it has database 0 only")
        user, at, nodes = parts.netloc.rpartition("@")
        self._url = f"{SCHEMES[parts.scheme]}://{user}{at}%s{f'?{parts.query}' if parts.query else ''}"
        self.seeds = [_with_port(node) for node in nodes.split(",")]
        self._starts: list[int] = []
        self._ranges: list[tuple[int, str]] = []
        self._moved: dict[int, str] = {}
        self._failed: set[str] = set()
        self._known: tuple[str, ...] = ()

    def url_of(self, node: str) -> str:
        """Returns the URL of one node."""
        return self._url.replace("%s", node, 1)

    def node_of(self, slot: int) -> str | None:
        """Returns the node that serves a slot; None where none is known to."""
        if slot == ANY:
            return random.choice(self._ranges)[1] if self._ranges else None  # noqa: S311 - no secret
        if (moved := self._moved.get(slot)) is not None:
            return moved
        place = bisect_right(self._starts, slot) - 1
        if place < 0 or slot > self._ranges[place][0]:
            return None
        return self._ranges[place][1]

    def forget(self, failed: str | None = None) -> None:
        """What is known is not relied on any more; a node that failed is the last to be asked."""
        self._starts, self._ranges, self._moved = [], [], {}
        if failed is not None:
            self._failed.add(failed)

    def note_moved(self, redirect: Redirected, asked: str) -> str:
        """Returns the node that a redirection names; a MOVED is remembered."""
        node = _address(redirect.host, redirect.port, asked)
        if not redirect.is_ask:
            self._moved[redirect.slot] = node
        return node

    def look(self) -> Generator[Step, Answers, None]:
        """The cluster has been asked who serves what, unless that is known; raises what the last node asked says."""
        last: HeadraceError | None = None
        if self._ranges:
            return
        for node in sorted(self._nodes(), key=lambda each: each in self._failed):
            answers = yield [Batch(node, [Call(("CLUSTER", "SLOTS"), list)])]
            answer = (answers or [None])[0]
            reply = answer if isinstance(answer, HeadraceError) else answer[0]
            if not isinstance(reply, HeadraceError):
                self._take_in(reply, node)
                if self._ranges:
                    self._failed.discard(node)
                    return
                last = last or ServerNotReady("CLUSTERDOWN", f"node {node} knows of no slots yet")
            elif isinstance(reply, RETRIED):
                self._failed.add(node)
                last = reply
            elif "cluster support disabled" in str(reply):
                raise UnsupportedServer(f"{node} is no node of a Redis Cluster; name it by redis:// instead") from reply
            else:
                raise reply
        raise last or ServerNotReady("CLUSTERDOWN", "no node of the cluster is known")

    def _nodes(self) -> list[str]:
        known = [*dict.fromkeys([*self._known, *self.seeds])]
        return random.sample(known, len(known))

    def _take_in(self, reply: list[Any], asked: str) -> None:
        rows = sorted(
            (int(row[0]), int(row[1]), _address(as_text(row[2][0] or b""), row[2][1], asked)) for row in reply
        )
        self._known = tuple(_address(as_text(each[0] or b""), each[1], asked) for row in reply for each in row[2:])
        self._moved = {}
        self._starts, self._ranges = [row[0] for row in rows], [(row[1], row[2]) for row in rows]


def _with_port(node: str) -> str:
    return node if node.rpartition("]")[2].count(":") else f"{node}:6379"


def _address(host: str, port: int, asked: str) -> str:
    """Returns a node's address; one that does not know its own name is reached as the node that told of it."""
    host = host if host not in ("", "?") else asked.rpartition(":")[0]
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def carry(
    cluster: Cluster, calls: Sequence[Call[Any]], *, home: int | None, partial: bool, attempts: int
) -> Generator[Step, Answers, list[Any]]:
    """Returns the results of the calls, each from the node that it belongs to.

    To be sent, for each step, what the nodes answered. What a node that can't be reached, or can't at the moment, has
    not answered is tried again, together with what was to come after it in its slot.

    Args:
        home: the slot of calls without a key.
        partial: an error of one call stands in the place of its result; but all calls' errors are raised.
        attempts: how often a call is tried.
    """
    if not calls:
        return []
    backoff, failures = Backoff(attempts), 0
    slots = slots_of(calls, home)
    replies: list[Any] = [None] * len(calls)
    left = list(range(len(calls)))
    while True:
        yield from _attempt(cluster, calls, slots, left, replies)
        left = _to_repeat(slots, replies)
        if left:
            cluster.forget()
        failures += 1
        if not left or failures >= attempts:
            break
        yield backoff.delay_s(failures)
    failed = [reply for reply in replies if isinstance(reply, HeadraceError)]
    if failed and (not partial or (left and len(failed) == len(calls))):
        raise failed[0]
    return [
        reply if isinstance(reply, HeadraceError) else call.read(reply)
        for call, reply in zip(calls, replies, strict=True)
    ]


def _to_repeat(slots: list[int], replies: list[Any]) -> list[int]:
    """Returns the places of the calls to try again, which are those that came after them in their slots too."""
    broken: set[int] = set()
    found = []
    for place, (slot, reply) in enumerate(zip(slots, replies, strict=True)):
        if isinstance(reply, RETRIED) or slot in broken:
            broken.add(slot)
            found.append(place)
    return found


def _attempt(
    cluster: Cluster, calls: Sequence[Call[Any]], slots: list[int], left: Sequence[int], replies: list[Any]
) -> Generator[Step, Answers, None]:
    """The calls of these places have been tried once, and redirections followed; their replies are in their places."""
    try:
        yield from cluster.look()
    except RETRIED as exc:
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
                got = iter(()) if isinstance(answer, HeadraceError) else iter(answer)
                for lane in those:
                    lane.take(cluster, node, answer if isinstance(answer, HeadraceError) else got)
        lanes = {slot: lane for slot, lane in lanes.items() if lane.places}


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
        """A WAIT that does not go right behind its send would count replicas that lack the event: none are known."""
        while self.places and calls[self.places[0]].args[0] == "WAIT":
            self._replies[self.places.pop(0)] = 0

    def node(self, cluster: Cluster) -> str | None:
        """Returns the node to send to; None, with nothing left to send, where none is known."""
        node = self._asking or cluster.node_of(self._slot)
        if node is None:
            self._fail(ServerNotReady("CLUSTERDOWN", f"no node of the cluster is known to serve slot {self._slot}"))
        return node

    def commands(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        """Returns the calls to send now; after a redirection they go one by one, as each may be redirected."""
        if self._asking is not None:  # a lost script would cost the ASKING, so it goes whole
            call = calls[self.places[0]]
            return [Call(("ASKING",), _nothing), Call(whole(call), call.read)]
        return [calls[place] for place in self._sent]

    def take(self, cluster: Cluster, node: str, got: Iterator[Any] | HeadraceError) -> None:
        """The replies of a node are in their places, up to one that redirects."""
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
    """What a command without a result gives."""
