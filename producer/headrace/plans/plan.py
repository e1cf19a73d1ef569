"""A plan: a generator that yields calls, is sent their results, and returns what the caller gets. Pure.

Most plans are one call. Where the keys are known only from data a plan is *look, then do*: a read, then a script that
checks again what the read found. `Client` and `AsyncClient` both run these plans and differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from headrace.calls.call import Call

T = TypeVar("T")
Plan = Generator[Sequence[Call[Any]], list[Any], T]
