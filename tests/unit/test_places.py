"""The places at which a fault from inside can strike: found in the code, with each exception named."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tests.faults.inside import places

_SOURCE = b'''
"""A module."""

from __future__ import annotations


def plain():
    """Say what it is."""
    return [number() for number in (lambda: 1, lambda: 2)]


class Thing:
    async def wait(self):
        return 3

    @property
    def inner(self):
        def within():
            yield 4
        return list(within())
'''


def test_every_function_of_a_worker_is_a_place() -> None:
    """Methods, plain functions, nested ones and lambdas."""
    found = places.places()
    assert len(found) == len(set(found)) > 400
    known = {
        "tasks.guard:Guard._call", "run.settler:Settler.tick", "run.executor:_call_plain",
        "process.process:_Process._run_to_end.start",
        "metrics.prometheus:_Counting.settled", "membership.in_flight:InFlightRun.is_lost",
    }  # fmt: skip
    assert known <= set(found)
    assert any(place.startswith("run.settler:Settler.tick.<lambda") for place in found)


def test_every_module_of_a_worker_is_a_room() -> None:
    """What only commands or the supervisor use is none."""
    found = set(places.rooms())
    assert {
        "tasks.guard",
        "membership.watch",
        "membership.lease",
        "run.outcome",
        "app.routes",
        "streams.requeue",
    } <= found
    assert not found & {"process.supervisor", "dev.embedded", "testing", "cli.worker"}


def test_places_left_out_exist_and_have_a_reason() -> None:
    """An exception that is stale would hide a place."""
    for place, reason in places.PLACES_LEFT_OUT.items():
        assert place in places.every_place(places.room_of(place))
        assert reason
    for room, reason in places.ROOMS_LEFT_OUT.items():
        assert (places.FOLDER / room).exists()
        assert reason
    assert not places.PLACES_LEFT_OUT.keys() & set(places.places())


async def test_strikes_are_the_first_and_last_things_a_function_does() -> None:
    """The function does the same as before, and its docstring is what it was."""
    struck: list[str] = []

    async def strike_awaited(place: str) -> None:
        struck.append(place)

    late: list[str] = []
    module: dict[str, Any] = {
        places.STRIKE: struck.append, places.STRIKE_AWAITED: strike_awaited, places.STRIKE_LATE: late.append,
    }  # fmt: skip
    exec(compile(places.with_strikes("room", _SOURCE), "room", "exec"), module)
    thing = module["Thing"]()
    assert module["plain"]() == [1, 2]
    assert module["plain"].__doc__ == "Say what it is."
    assert (await thing.wait(), thing.inner) == (3, [4])
    line = next(node.lineno for node in ast.walk(ast.parse(_SOURCE)) if isinstance(node, ast.Lambda))
    one = f"room:plain.<lambda in line {line}>"
    names = ["room:plain", one, f"{one} (2)", "room:Thing.wait", "room:Thing.inner", "room:Thing.inner.within"]
    assert struck == names
    assert sorted(late) == sorted(names)
    assert late.index("room:Thing.inner.within") < late.index("room:Thing.inner")


async def test_a_strike_that_raises_ends_its_function() -> None:
    """An async function raises when it is awaited, not when it is called."""

    async def strike_awaited(_place: str) -> None:
        raise MemoryError

    module: dict[str, Any] = {
        places.STRIKE: lambda _: None, places.STRIKE_AWAITED: strike_awaited, places.STRIKE_LATE: lambda _: None,
    }  # fmt: skip
    exec(compile(places.with_strikes("room", _SOURCE), "room", "exec"), module)
    waiting = module["Thing"]().wait()
    with pytest.raises(MemoryError):
        await waiting
