"""A run's record has the output of its function, or a note that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import pydantic
import pytest

from headrace import Client, Event
from headrace_worker import App
from tests.support.single_run import SOON, TRIGGER, run_of, run_one
from tests.support.workers import WorkerHost

# What a function gets.


class _User(msgspec.Struct):
    name: str


@dataclass
class _Point:
    x: int


# Outputs.


async def test_an_output_that_is_too_large_is_replaced_by_a_note(host: WorkerHost, client: Client) -> None:
    """The run has succeeded; an output of exactly the greatest size is kept."""
    kept = await run_one(host, client, lambda: "x" * 65_530)
    assert kept.output == "x" * 65_530
    replaced = await run_one(host, client, lambda: "x" * 65_536)
    assert replaced.status == "succeeded"
    assert replaced.output == "<an output of 65,543 bytes was not kept: the limit is 65,536>"


@dataclass(frozen=True)
class _Key:
    x: int = 1


class _Bomb:
    @property
    def __dataclass_fields__(self) -> Any:
        raise ZeroDivisionError


class _Panic(datetime):
    @property
    def year(self) -> int:
        raise SystemExit(3)


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    "output",
    [
        object(),
        {1, object()},
        2**64,
        "\ud800",
        lambda: None,
        {"a": {"b": 1j}},
        type,
        _Bomb(),
        _Panic(2024, 1, 1),
        _nested(641),
        msgspec.Raw(b'{"a": 1}'),
        {_Key(): 1},
    ],
    ids=lambda output: type(output).__name__,
)
async def test_an_output_that_cant_be_carried_is_a_note(host: WorkerHost, client: Client, output: Any) -> None:
    """The run has succeeded, leaves no dead letter, says why there is no output, and hinders no other outcome."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER, retry=SOON)(lambda: output)
    app.job(id="other", trigger=TRIGGER)(lambda: "fine")
    sent = client.send_event(Event("asked"))
    await host.settle(app)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, run.error) == ("succeeded", 1, None)
    assert run.output.startswith(f"<an output of type {type(output).__name__} could not be carried: ")
    assert client.list_dead_letters().items == []
    assert run_of(client, sent.id, "other").output == "fine"


class _Markup(str):
    __slots__ = ()


class _Model(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("output", "stored"),
    [
        (_User("Ada"), {"name": "Ada"}),
        (_Point(1), {"x": 1}),
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (_Markup("x"), "x"),
        ({"of": [_Model(name="Ada"), _Markup("x")]}, {"of": [{"name": "Ada"}, "x"]}),
    ],
)
async def test_an_output_is_what_msgpack_makes_of_it(
    host: WorkerHost, client: Client, output: Any, stored: Any
) -> None:
    """Structs and dataclasses become maps, tuples and sets lists."""
    assert (await run_one(host, client, lambda: output)).output == stored
