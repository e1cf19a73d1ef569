"""What can't be a lifespan or an around is refused where it is defined, and the error says what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest

from headrace_worker import App, DefinitionError


@asynccontextmanager
async def of_a_web_app(app: object) -> AsyncIterator[object]:
    yield app


@asynccontextmanager
async def with_a_default(size: int = 5) -> AsyncIterator[int]:
    yield size


@contextmanager
def plain() -> Iterator[None]:
    yield


def generator() -> Iterator[None]:
    yield


async def coroutine() -> None:
    """No context manager."""


@pytest.mark.parametrize(
    ("lifespan", "said"),
    [
        (of_a_web_app, r"of_a_web_app is called without arguments: missing a required argument: 'app'"),
        (plain, "plain returns a plain context manager; make it an async one"),
        (generator, "generator must return an async context manager; put @asynccontextmanager above"),
        (coroutine, "coroutine must return an async context manager"),
        (5, "5 must return an async context manager"),
    ],
)
def test_what_can_t_be_a_lifespan_is_refused(lifespan: Any, said: str) -> None:
    """When the module is imported, and not when the worker starts."""
    with pytest.raises(DefinitionError, match=rf"App\.lifespan: {said}"):
        App("shop", lifespan=lifespan)


@pytest.mark.parametrize(
    "lifespan", [with_a_default, partial(of_a_web_app, 1), dict], ids=["a default", "partial", "dict"]
)
def test_a_lifespan_that_may_do_is_taken(lifespan: Any) -> None:
    """All that it takes is given, or what it takes and returns can't be known."""
    App("shop", lifespan=lifespan)


@pytest.mark.parametrize(
    ("around", "said"),
    [
        (generator, "generator does not say whether it is a plain or an async context manager; put @contextmanager or"),
        (of_a_web_app, "of_a_web_app takes app; it may take ctx, or nothing"),
    ],
)
def test_what_can_t_be_an_around_is_refused(around: Any, said: str) -> None:
    """As a lifespan is."""
    with pytest.raises(DefinitionError, match=rf"app\.around: {said}"):
        App("shop").around(around)
