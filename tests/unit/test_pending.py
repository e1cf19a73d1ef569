"""A loop looks at what is pending under its name after a failure and a new connection, and not again after that."""

from __future__ import annotations

from headrace_worker.membership.member import Member
from headrace_worker.protocol.reading import events_stream
from headrace_worker.streams.pending import Pending
from tests.support.scripted_server import ScriptedServer, member_over


def a_member() -> Member:
    """Return the state of a worker with one page of one pending entry."""
    return member_over(ScriptedServer(lambda call: [(b"1-0", None)] if str(call.args[-1]) == "0" else []))


async def test_a_look_ends_the_doubt() -> None:
    """Whether it came of a failure or of a new connection."""
    member = a_member()
    pending, stream = Pending(member.server, member.identity), events_stream(member.server.keys)
    doubted = [pending.may_be_unseen]
    for cause in ("failure", "connection"):
        if cause == "failure":
            pending.doubt()
        else:
            member.server.connections += 1
        doubted.append(pending.may_be_unseen)
        assert [each async for each in pending.look([stream])] == [(stream, [(b"1-0", None)])]
        doubted.append(pending.may_be_unseen)
    assert doubted == [False, True, False, True, False]


async def test_a_connection_made_during_a_look_asks_for_another() -> None:
    """Its server may have older data than what was looked at."""
    member = a_member()
    pending = Pending(member.server, member.identity)
    pending.doubt()
    async for _ in pending.look([events_stream(member.server.keys)]):
        member.server.connections += 1
    assert pending.may_be_unseen
    assert not pending.is_doubted


async def test_a_look_under_an_old_name_leaves_the_doubt() -> None:
    """What is pending under the new name was not looked at."""
    member = a_member()
    pending = Pending(member.server, member.identity)
    pending.doubt()
    async for _ in pending.look([events_stream(member.server.keys)]):
        member.identity.take_new_name()
    assert pending.may_be_unseen
