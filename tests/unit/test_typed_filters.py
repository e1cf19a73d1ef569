"""A filter on a typed event names values that the event may have."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal

import msgspec
import pydantic
import pytest

from headrace_worker import App, JobError, event_trigger
from headrace_worker.app.job import Job


def _define(function: Any, **options: Any) -> Job:
    app = App("shop")
    app.job(id="job", **options)(function)
    return app.jobs["job"]


def _bare(payload) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


class Plan(Enum):
    FREE = "free"
    PRO = "pro"


class Item(msgspec.Struct):
    sku: str
    count: int


class Sold(msgspec.Struct, rename="camel"):
    __event__: ClassVar[str] = "sold"
    user_id: str
    count: int
    price: Decimal
    plan: Plan
    tags: list[str]
    items: list[Item]
    sizes: list[int]
    paid: bool
    at: datetime
    kind: Literal["a", "b"]
    level: Literal[1, 2] = 1
    parent: Sold | None = None
    note: str | None = None
    either: int | str = 0
    extra: Any = None


class Bought(pydantic.BaseModel):
    __event__: ClassVar[str] = "bought"
    price: Decimal
    plan: Plan
    count: int | None = None


@pytest.mark.parametrize(
    ("kind", "definition", "said"),
    [
        (Sold, {"count": ["x"]}, r'filter\.count: the payload has an integer there, which never passes \["x"\]; write'),
        (Sold, {"userId": [{"$gt": 5}]}, r"filter\.userId: the payload has a string there, .* only an int or a float"),
        (Sold, {"price": [{"$gt": 5}]}, r"filter\.price: .* a string \(a decimal\) there, .*, as a Decimal and a "),
        (Bought, {"price": [{"$gt": 5}]}, r"filter\.price: the payload has a string there, which never passes"),
        (Sold, {"plan": ["gold"]}, r'filter\.plan: the payload has one of "free", "pro" there, which never passes'),
        (Bought, {"plan": ["gold"]}, r'filter\.plan: the payload has one of "free", "pro" there'),
        (Sold, {"plan": [{"$anythingBut": ["free", "pro"]}, {"$exists": True}]}, r"filter\.plan: "),
        (Sold, {"userId": [{"$includes": "u"}]}, r"filter\.userId: .*; \$includes searches lists; for a text there"),
        (Sold, {"tags": ["vip"]}, r"filter\.tags: the payload has a list there"),
        (Sold, {"tags": [{"$includes": 5}]}, r"filter\.tags: the payload has a list there"),
        (Sold, {"items": {"count": ["1"]}}, r"filter\.items\.count: the payload has an integer there"),
        (Sold, {"parent": {"parent": {"paid": [1]}}}, r"filter\.parent\.parent\.paid: the payload has a boolean there"),
        (Sold, {"note": [5]}, r"filter\.note: the payload has a string or null there"),
        (Sold, {"either": [True]}, r"filter\.either: the payload has (an integer or a string|a string or an integer)"),
        (Sold, {"level": [True]}, r"filter\.level: the payload has one of "),
        (Sold, {"at": [{"$gt": 5}]}, r"filter\.at: the payload has a string there"),
        (Sold, {"count": [{"$isNull": True}]}, r"filter\.count: the payload has an integer there"),
    ],
)  # fmt: skip
def test_a_filter_that_a_field_s_type_never_passes_is_refused(kind: Any, definition: Any, said: str) -> None:
    """It would match nothing, for ever; the error names the job, the path, the type and what to write."""
    with pytest.raises(JobError, match=f"job 'job': {said}"):
        _define(_bare, trigger=event_trigger(kind, filter=definition))


@pytest.mark.parametrize(
    ("kind", "definition"),
    [
        (Sold, {"count": [1, 2.5], "userId": [{"$startsWith": "u"}], "price": ["9.99"], "plan": ["pro"]}),
        (Sold, {"tags": [{"$includes": "vip"}], "sizes": [{"$includes": 5}, {"$not": 6}], "paid": [True]}),
        (Sold, {"items": {"count": [{"$gt": 1}], "sku": ["a"]}, "parent": {"note": [{"$isNull": True}]}}),
        (Sold, {"note": [{"$exists": False}], "count": [{"$exists": False}], "userId": [{"$anythingBut": 5}]}),
        (Sold, {"either": [1], "extra": [True], "level": [1]}),
        (Sold, {"either": ["x"], "extra": {"any": [{"$gt": 1}]}, "kind": ["a"]}),
        (Sold, {"at": ["2026-01-01T00:00:00Z"], "tags": [{"$not": "x"}], "plan": [{"$not": "free"}]}),
        (Sold, {"count": [], "parent": [{"$exists": True}], "items": [{"$exists": True}]}),
        (Bought, {"price": [{"$startsWith": "9."}], "count": [{"$gt": 5}], "plan": [{"$ignoreCaseEquals": "PRO"}]}),
        (Bought, {"count": [{"$gt": 5, "$lt": 3}]}),  # for `app check` to find
    ],
)
def test_a_filter_that_a_field_s_type_may_pass_is_taken(kind: Any, definition: Any) -> None:
    """Unions, what may be missing, and what is not declared."""
    assert _define(_bare, trigger=event_trigger(kind, filter=definition)).trigger.filter == definition


def test_a_value_that_one_of_several_events_may_have_is_taken() -> None:
    """Also one of an event that lacks the key, and of a payload that is not declared whole."""
    _define(_bare, trigger=event_trigger(Sold, Bought, filter={"count": [{"$isNull": True}]}))
    with pytest.raises(JobError, match=r"filter\.price: the payload has a string \(a decimal\) or a string there"):
        _define(_bare, trigger=event_trigger(Sold, Bought, filter={"price": [5]}))
    _define(_bare, schema=Item, trigger=event_trigger("x", filter={"count": ["x"]}))
