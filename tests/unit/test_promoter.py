"""When a promoter looks again: at the next due time, now and then by itself, and without haste at a full server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from headrace import ServerError, ServerFull
from headrace.calls.call import Call
from headrace_worker.leader.promoter import Promoter
from headrace_worker.protocol.due import DueMember, Promoted
from tests.support.calls import members_of
from tests.support.scripted_server import ScriptedServer, member_over

NOW_MS = 1_000_000


def promoter_of(answer: Callable[[Call[Any]], Any]) -> tuple[Promoter, list[Call[Any]]]:
    """Return a promoter over a server that only answers, and what it is asked."""
    asked: list[Call[Any]] = []

    def count_and_answer(call: Call[Any]) -> Any:
        asked.append(call)
        assert len(asked) < 20, "it asks without end"
        return answer(call)

    return Promoter(member_over(ScriptedServer(count_and_answer), lease=10), lambda: None), asked


async def test_it_looks_again_at_the_next_due_time() -> None:
    """As the server's clock has it."""
    promoter, _ = promoter_of(lambda _: Promoted(NOW_MS, 0, 0, [DueMember("e:1", NOW_MS + 3_000)]))
    before = time.monotonic()
    await promoter._look()
    assert before + 3 <= promoter._look_at <= time.monotonic() + 3


async def test_it_looks_again_by_itself_where_nothing_is_due() -> None:
    """Members that woke another leader, which did not move them, must not wait for ever."""
    promoter, asked = promoter_of(lambda _: Promoted(NOW_MS, 0, 0, []))
    await promoter._look()
    assert promoter._look_at <= time.monotonic() + 20
    assert len(asked) == 1


async def test_a_full_server_is_asked_again_only_after_a_while() -> None:
    """It refuses events that are due, and they stay at the head of what is looked at."""
    due = [DueMember("e:1", NOW_MS - 5)]

    def answer(call: Call[Any]) -> Any:
        return ServerFull("OOM") if "e:1" in members_of(call) else Promoted(NOW_MS, 0, 0, due)

    promoter, asked = promoter_of(answer)
    before = time.monotonic()
    await promoter._look()
    assert promoter._look_at >= before + 0.5
    assert len(asked) == 3


async def test_after_an_outage_it_looks_at_once() -> None:
    """A server that is back may have other due times, and no wake-up comes for its older ones."""
    promoter, _ = promoter_of(lambda _: Promoted(NOW_MS, 0, 0, [DueMember("e:1", NOW_MS + 9_000)]))
    await promoter._look()
    await promoter.recover(None)
    assert promoter._look_at <= time.monotonic()


async def test_a_foreign_record_stops_no_other_due_member() -> None:
    """Refused runs are halved until the culprit is alone and dead-lettered; events are not halved with them."""
    members = [f"r:default:e{number}:app/job" for number in range(8)]
    due = [DueMember(member, NOW_MS - 5) for member in ("e:x", *members)]
    promoted: list[str] = []

    def answer(call: Call[Any]) -> Any:
        if call.script is None:
            return ServerError("WRONGTYPE") if str(call.args[0]) == "HGET" else 1
        asked = [member for member in ("e:x", *members) if member in members_of(call)]
        if members[5] in asked:
            return ServerError("WRONGTYPE")
        promoted.extend(asked)
        return Promoted(NOW_MS, len(asked), 0, due if not promoted else [])

    promoter, asked = promoter_of(answer)
    await promoter._look()
    assert promoted == ["e:x", *members[:5], *members[6:]]
    assert [str(call.args[2]) for call in asked if call.args[0] == "XADD"] == ["*"]
