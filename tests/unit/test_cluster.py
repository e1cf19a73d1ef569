"""Calls find their nodes, whatever a cluster answers while it changes; tested with nodes that only answer."""

from __future__ import annotations

from typing import Any

import pytest
from redis.crc import key_slot

from headrace import ConfigurationError, ServerError, ServerFull, ServerNotReady, ServerUnreachable, UnsupportedServer
from headrace.calls.call import Call, script_call
from headrace.cluster.map import Batch, Cluster, _read_map, carry
from headrace.cluster.slots import slot_of, slots_of
from headrace.transport.faults import Redirected, ScriptMissing
from headrace.transport.urls import Target, read_url

A, B, C = "a:1", "b:2", "c:3"
KEY = "headrace:{ns:0}:events"
SLOT = key_slot(KEY.encode())
Command = tuple[Any, ...]


def cluster_of(url: str) -> Cluster:
    return Cluster(read_url(url))


class Nodes:
    """Nodes that answer what they were asked, or what is set in `answers`, and do not while they are `away`."""

    def __init__(self, slots: Any = None) -> None:
        self.owner = A
        self.slots = slots
        self.asked: list[tuple[str, Command]] = []
        self.waits: list[float] = []
        self.answers: dict[str, list[Any]] = {}
        self.away: set[str] = set()
        self.maps: dict[str, Any] = {}

    def _answer(self, node: str, command: Command) -> Any:
        self.asked.append((node, command))
        if command[:2] == ("CLUSTER", "SLOTS"):
            if node in self.maps:
                return self.maps[node]
            if self.slots is not None:
                return self.slots
            host, _, port = self.owner.partition(":")
            return [[0, 16_383, [host.encode(), int(port), b"id"], [b"c", 3, b"replica"]]]
        waiting = self.answers.get(node)
        return waiting.pop(0) if waiting else (node, *command)

    def run(self, calls: list[Call[Any]], cluster: Cluster | None = None, **options: Any) -> list[Any]:
        steps = carry(
            cluster or cluster_of(f"redis+cluster://{A},{B}"),
            calls,
            **{"home": None, "partial": False, "attempts": 3, **options},
        )
        answers: list[Any] | None = None
        while True:
            try:
                step = steps.send(answers)
            except StopIteration as done:
                results: list[Any] = done.value
                return results
            answers = None
            if isinstance(step, float):
                self.waits.append(step)
            else:
                answers = [self._ask(batch) for batch in step]

    def _ask(self, batch: Batch) -> Any:
        if batch.node in self.away:
            return ServerUnreachable("away")
        return [self._answer(batch.node, call.args) for call in batch.calls]

    @property
    def commands(self) -> list[tuple[str, Command]]:
        """What was asked, but for who serves what."""
        return [(node, command) for node, command in self.asked if command[0] != "CLUSTER"]


def get(key: str = KEY, n: int = 0) -> Call[Any]:
    return Call(("GET", key, n), lambda reply: reply)


def moved(node: str, slot: int = SLOT, *, is_ask: bool = False) -> Redirected:
    host, _, port = node.partition(":")
    return Redirected(slot, host, int(port), is_ask=is_ask)


def test_calls_go_to_the_node_that_serves_their_slot() -> None:
    """The cluster is asked once who that is, and calls of a node go together."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A}")
    for _ in range(2):
        assert nodes.run([get(n=1), get("x", 2)], cluster) == [(A, "GET", KEY, 1), (A, "GET", "x", 2)]
    assert sum(command[0] == "CLUSTER" for _, command in nodes.asked) == 1


def test_a_moved_slot_is_followed_and_remembered() -> None:
    """The calls that came after in the slot follow in their order; the others need not."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A}")
    nodes.answers[A] = [moved(B), moved(B), "there"]
    assert nodes.run([get(n=1), get(n=2), get("x")], cluster) == [(B, "GET", KEY, 1), (B, "GET", KEY, 2), "there"]
    assert nodes.run([get(n=3)], cluster) == [(B, "GET", KEY, 3)]
    assert nodes.waits == []


def test_a_call_that_is_to_be_asked_elsewhere_is_so_once() -> None:
    """With ASKING before it and its script whole; the next call goes to the slot's node again, after it."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A}")
    nodes.answers[A] = [moved(B, is_ask=True), "too early"]
    call = script_call("divide", [KEY], [4], lambda reply: reply)
    assert nodes.run([call, get(n=2)], cluster)[1] == (A, "GET", KEY, 2)
    text = call.script.text if call.script else ""
    expected: list[tuple[str, Command]] = [
        (A, call.args), (A, ("GET", KEY, 2)), (B, ("ASKING",)), (B, ("EVAL", text, 1, KEY, 4)), (A, ("GET", KEY, 2))
    ]  # fmt: skip
    assert nodes.commands == expected


@pytest.mark.parametrize("is_ask", [False, True])
def test_replicas_are_counted_only_right_behind_their_send(*, is_ask: bool) -> None:
    """After a redirection WAIT could go over another connection, and would count replicas that lack the event."""
    nodes, wait = Nodes(), Call(("WAIT", 1, 100), lambda reply: reply)
    assert nodes.run([get(n=1), wait]) == [(A, "GET", KEY, 1), (A, "WAIT", 1, 100)]
    nodes.answers[A] = [moved(B, is_ask=is_ask), "too early"]
    assert nodes.run([get(n=2), wait], cluster_of(f"redis+cluster://{A}")) == [(B, "GET", KEY, 2), 0]


def test_a_wait_whose_answer_was_lost_counts_nobody() -> None:
    """It is not sent again without its send."""
    nodes, wait = Nodes(), Call(("WAIT", 1, 100), lambda reply: reply)
    nodes.answers[A] = ["sent", ServerNotReady("LOADING", "…")]
    cluster = cluster_of(f"redis+cluster://{A}")
    nodes.slots = [[0, 16_383, [b"a", 1, b"id"]]]
    assert nodes.run([get(n=1), wait], cluster) == ["sent", 0]


def test_nodes_that_send_a_call_in_a_circle_are_waited_for() -> None:
    """Not without end."""
    nodes = Nodes()
    nodes.answers = {A: [moved(B)] * 100, B: [moved(A)] * 100}
    with pytest.raises(ServerNotReady, match="send slot"):
        nodes.run([get()])
    assert len(nodes.waits) == 2


@pytest.mark.parametrize("code", ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY"])
def test_what_a_cluster_says_while_it_changes_is_waited_through(code: str) -> None:
    """Then it is asked anew; what came after the call in its slot is repeated behind it, so that it sees its work."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A}")
    nodes.run([get()], cluster)
    nodes.asked.clear()
    nodes.owner = B
    nodes.answers[A] = [ServerNotReady(code, "…"), "too early", "fine"]
    assert nodes.run([get(n=1), get(n=2), get("x")], cluster) == [(B, "GET", KEY, 1), (B, "GET", KEY, 2), "fine"]
    assert len(nodes.waits) == 1


def test_a_node_that_is_away_is_waited_for_or_replaced() -> None:
    """The others are asked who serves its slots now."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A},{B}")
    nodes.run([get()], cluster)
    nodes.away, nodes.owner = {A}, B
    assert nodes.run([get(n=1)], cluster) == [(B, "GET", KEY, 1)]
    nodes.away = {A, B, C}
    with pytest.raises(ServerUnreachable):
        nodes.run([get(n=1)], cluster)
    nodes.away = set()
    assert nodes.run([get(n=1)], cluster) == [(B, "GET", KEY, 1)]


def test_one_attempt_ends_with_the_first_failure() -> None:
    """As for a worker's loops, which see to the rest; the next finds the cluster anew."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A},{B}")
    nodes.run([get()], cluster)
    nodes.away, nodes.owner = {A}, B
    with pytest.raises(ServerUnreachable):
        nodes.run([get()], cluster, attempts=1)
    assert nodes.run([get()], cluster, attempts=1) == [(B, "GET", KEY, 0)]
    assert nodes.waits == []


def test_errors_stand_in_their_places_where_that_is_asked_for() -> None:
    """But one that has nothing beside it is raised."""
    nodes = Nodes()
    nodes.answers[A] = [ServerFull("full"), "fine"]
    first, second = nodes.run([get(), get("x")], partial=True)
    assert (type(first), second) == (ServerFull, "fine")
    nodes.answers[A] = [ServerFull("full"), "fine"]
    with pytest.raises(ServerFull):
        nodes.run([get(), get("x")])
    nodes.away = {A, B, C}
    with pytest.raises(ServerUnreachable):
        nodes.run([get()], partial=True)


def test_a_server_that_is_none_of_a_cluster_is_said() -> None:
    """With the way out; and one that knows of no slots is waited for."""
    refusal = ServerError("the server refused: This instance has cluster support disabled")
    with pytest.raises(UnsupportedServer, match="name it by redis:// instead"):
        Nodes(slots=refusal).run([get()])
    with pytest.raises(ServerNotReady, match="knows of no slots yet"):
        Nodes(slots=[]).run([get()])


def test_a_nameless_node_is_reached_at_the_answering_address() -> None:
    """A cluster of one node does not know its own address; IPv6 ones get their brackets."""
    cluster = cluster_of("redis+cluster://[::1]:7000")
    cluster._take_in(_read_map([[0, 5, [b"", 7000, b"id"]], [6, 9, [b"::2", 7001, b"id"]]], "[::1]:7000"))
    assert [cluster.node_of(slot) for slot in (0, 5, 6, 9, 10)] == ["[::1]:7000"] * 2 + ["[::2]:7001"] * 2 + [None]
    assert cluster.note_moved(Redirected(0, "", 9, is_ask=False), "[::1]:7000") == "[::1]:9" == cluster.node_of(0)


def test_the_slot_of_a_command_is_that_of_its_first_key() -> None:
    """Wherever it stands; what has none goes where its neighbours go."""
    read = ("XREADGROUP", "GROUP", "g", "n", "COUNT", 1, "BLOCK", 5, "STREAMS", KEY, ">")
    commands: list[Command] = [
        ("GET", KEY), read, ("EVALSHA", "sha", 1, KEY, "x"), ("EVAL", "text", 2, KEY, "y"), ("XINFO", "CONSUMERS", KEY),
        ("XGROUP", "CREATE", KEY, "g", "0"), ("PUBLISH", KEY, ""), ("BLPOP", KEY, 1),
    ]  # fmt: skip
    assert {slot_of(command) for command in commands} == {SLOT}
    other = key_slot(b"x")
    calls = [Call(args, lambda _: None) for args in (("INFO",), ("GET", KEY), ("WAIT", 1, 5), ("GET", "x"), ("TIME",))]
    assert slots_of(calls, None) == [SLOT, SLOT, SLOT, other, other]
    assert slots_of([calls[0]], SLOT) == [SLOT]
    assert slots_of([calls[0]], None) == [-1]


def test_a_lost_script_never_leaves_a_node() -> None:
    """Its transport sends it whole; here it would be an error like any other."""
    nodes = Nodes()
    nodes.answers[A] = [ScriptMissing("NOSCRIPT")]
    with pytest.raises(ScriptMissing):
        nodes.run([get()])


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("redis+cluster://h1:7000,h2", ["h1:7000", "h2:6379"]),
        ("redis+cluster://[::1]:7,[::2]/", ["[::1]:7", "[::2]:6379"]),
    ],
)
def test_a_url_names_some_nodes(url: str, seeds: list[str]) -> None:
    """With a port or without."""
    assert cluster_of(url).seeds == seeds


def test_user_and_options_of_the_url_are_those_of_every_node() -> None:
    """TLS too."""
    options = {"username": "u", "password": "p/", "ssl_cert_reqs": "none"}
    cluster = cluster_of("rediss+cluster://u:p%2F@h1/0?ssl_cert_reqs=none")
    assert cluster.target_of("[::1]:7") == Target("rediss", (("::1", 7),), {**options, "db": 0})


def test_a_cluster_has_one_database() -> None:
    """Another is refused, without the password."""
    with pytest.raises(ConfigurationError, match="a cluster has database 0 only") as caught:
        cluster_of("redis+cluster://u:secret@h1/3")
    assert "secret" not in str(caught.value)


def slots_by(master: str, *ids: str) -> list[Any]:
    """What a node says whose cluster has these ids, and this master alone for all slots."""
    host, _, port = master.partition(":")
    return [[0, 16_383, [host.encode(), int(port), ids[0].encode()], *([b"r", 9, each.encode()] for each in ids[1:])]]


@pytest.mark.parametrize("seeds", [f"{A},{B}", f"{B},{A}", f"{A},{B},{C}"])
def test_a_seed_with_a_cluster_of_its_own_is_not_believed(seeds: str) -> None:
    """It was taken out; the cluster that more seeds belong to, or that has more nodes, is the one that is meant."""
    for _ in range(20):
        nodes = Nodes()
        nodes.maps = {A: slots_by(A, "a", "c"), B: slots_by(B, "b"), C: slots_by(A, "a", "c")}
        assert nodes.run([get()], cluster_of(f"redis+cluster://{seeds}")) == [(A, "GET", KEY, 0)]


def test_seeds_of_different_clusters_are_a_wrong_setting() -> None:
    """Where neither is more than the other, none is taken for the right one."""
    nodes = Nodes()
    nodes.maps = {A: slots_by(A, "a"), B: slots_by(B, "b")}
    with pytest.raises(ConfigurationError, match="are nodes of different clusters"):
        nodes.run([get()], cluster_of(f"redis+cluster://{A},{B}"))
    assert nodes.commands == []


def test_seeds_that_the_first_map_names_are_not_asked() -> None:
    """The cluster is asked once by each client."""
    nodes = Nodes()
    nodes.maps = {A: slots_by(A, "a"), B: slots_by(A, "a")}
    nodes.maps[A][0].append([b"b", 2, b"b"])
    nodes.maps[B][0].append([b"b", 2, b"b"])
    nodes.run([get()], cluster_of(f"redis+cluster://{A},{B}"))
    assert len(nodes.asked) == 2


def test_a_map_of_strangers_is_not_believed_later_either() -> None:
    """As long as one node answers that knows one which is known; a cluster that was replaced as a whole is."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A},{B}")
    nodes.maps = {A: slots_by(A, "a", "c"), B: slots_by(A, "a", "c"), "r:9": slots_by(A, "a", "c")}
    nodes.run([get()], cluster)
    nodes.maps[B] = slots_by(B, "b")
    for _ in range(10):
        cluster.forget()
        assert nodes.run([get()], cluster) == [(A, "GET", KEY, 0)]
    nodes.maps = {A: slots_by(A, "x"), B: slots_by(A, "x"), "r:9": slots_by(A, "x")}
    cluster.forget()
    assert nodes.run([get()], cluster) == [(A, "GET", KEY, 0)]


@pytest.mark.parametrize("_", range(10))
def test_a_node_whose_map_does_not_work_is_asked_last(_: int) -> None:
    """It may not know yet that a master has failed; the others do."""
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A},{B},{C}")
    stale, fresh = slots_by("gone:4", "a", "b", "c"), slots_by(A, "a", "b", "c")
    nodes.maps, nodes.away = {A: stale, B: stale, C: stale, "r:9": stale}, {"gone:4"}
    with pytest.raises(ServerUnreachable):
        nodes.run([get()], cluster, attempts=1)
    teller = [node for node, command in nodes.asked if command[0] == "CLUSTER"][-1]
    nodes.maps |= {node: fresh for node in (A, B, C, "r:9") if node != teller}
    nodes.asked.clear()
    assert nodes.run([get()], cluster, attempts=1) == [(A, "GET", KEY, 0)]
    assert (teller, ("CLUSTER", "SLOTS")) not in nodes.asked


def test_a_call_that_may_have_been_carried_out_before_says_so() -> None:
    """Also where the last attempt was refused."""
    lost = ServerUnreachable("cut")
    lost.mark_may_be_done("the call was sent, and nothing is known")
    nodes, cluster = Nodes(), cluster_of(f"redis+cluster://{A}")
    nodes.answers[A] = [lost, ServerFull("full")]
    with pytest.raises(ServerFull, match="an attempt before was sent") as caught:
        nodes.run([get()], cluster)
    assert caught.value.may_be_done
