"""A batch that the server refuses is halved until its culprit is alone; everything else of it is sent, in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from headrace import HeadraceError, PermissionMissing, ServerError, ServerFull, ServerNotReady, ServerUnreachable
from headrace.calls.call import Call
from headrace_worker.protocol.reading import events_stream
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.protocol.rescuing import release as release_call
from headrace_worker.streams.isolation import is_refusal, isolate, require_foreign_record
from headrace_worker.streams.requeue import requeue
from tests.support.calls import arguments_of
from tests.support.scripted_server import ScriptedServer, member_over, name_of

REFUSAL = ServerError("WRONGTYPE")


class Sender:
    """Sends batches to a server that refuses those with a culprit."""

    def __init__(self, culprits: set[int]) -> None:
        self.culprits = culprits
        self.sent: list[int] = []
        self.aside: list[int] = []
        self.calls = 0

    async def set_aside(self, culprit: int, error: HeadraceError) -> None:
        assert error is REFUSAL
        self.aside.append(culprit)

    async def send(self, batch: Sequence[int]) -> None:
        left = deque([batch])
        while left:
            part = left.popleft()
            self.calls += 1
            if self.culprits & set(part):
                left.extendleft(reversed(await isolate(part, REFUSAL, self.set_aside)))
            else:
                self.sent += part


@pytest.mark.parametrize("culprits", [set(), {0}, {99}, {7, 8}, {0, 50, 99}])
async def test_only_culprits_are_isolated(culprits: set[int]) -> None:
    """The rest is sent once each, in its order, in few calls."""
    sender = Sender(culprits)
    await sender.send(range(100))
    assert sender.sent == [each for each in range(100) if each not in culprits]
    assert sender.aside == sorted(culprits)
    assert sender.calls <= 1 + 14 * len(culprits)


async def test_every_entry_may_be_a_culprit() -> None:
    """Nothing is sent, and nothing is left."""
    sender = Sender(set(range(9)))
    await sender.send(range(9))
    assert (sender.sent, sender.aside) == ([], list(range(9)))


async def test_a_refusal_without_entries_is_raised() -> None:
    """No entry explains it."""
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await isolate([], REFUSAL, Sender(set()).set_aside)


@pytest.mark.parametrize(
    "error",
    [ServerUnreachable("no"), ServerNotReady("LOADING", "no"), ServerFull("no"), PermissionMissing("no")],
    ids=type,
)
def test_outages_and_missing_rights_are_no_refusals(error: ServerError) -> None:
    """They are no entry's fault."""
    assert not is_refusal(error)
    assert is_refusal(REFUSAL)


class _Server(ScriptedServer):
    """Refuses what touches a foreign record, and answers with the number of entries otherwise."""

    def __init__(self, foreign: set[str]) -> None:
        super().__init__(self._answer)
        self.foreign = foreign
        self.second_release: int | None = None
        self.calls: list[str] = []

    def _answer(self, call: Call[Any]) -> Any:
        self.calls.append(name_of(call))
        if self.calls[-1] == "dead_letter":
            return 1
        if any(record in map(str, call.args) for record in self.foreign):
            return REFUSAL
        if self.second_release is not None and self.calls.count("release") > 1:
            return self.second_release
        return len(arguments_of(call)["entries"]) if call.script else 0


async def requeue_events(server: _Server) -> int:
    """Re-queues eight entries, and returns what that comes to."""
    member = member_over(server)
    stream = events_stream(member.server.keys)
    held = [PendingEntry(f"{number}-0", member.server.keys.event(f"e{number}"), "app/job") for number in range(1, 9)]
    return await requeue(member, stream, held, lambda part: release_call(stream, part))


async def test_a_refused_requeue_moves_all_but_the_culprit() -> None:
    """That one is dead-lettered."""
    server = _Server(set())
    server.foreign = {member_over(server).server.keys.event("e3")}
    assert await requeue_events(server) == 7
    assert server.calls.count("dead_letter") == 1


async def test_a_requeue_ends_at_the_first_answer_below_0() -> None:
    """The script moves nothing of that worker any more: what was moved before must not hide it."""
    server = _Server(set())
    server.foreign, server.second_release = {member_over(server).server.keys.event("e8")}, -1
    assert await requeue_events(server) == -1
    assert server.calls == ["release", "release"]


async def test_a_refusal_that_no_record_explains_is_raised() -> None:
    """Another key is in the way, so no entry is to blame."""
    server = _Server(set())
    foreign = _Server({member_over(server).server.keys.event("e")})
    await require_foreign_record(member_over(foreign).server, "e", REFUSAL)
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await require_foreign_record(member_over(server).server, "e", REFUSAL)
