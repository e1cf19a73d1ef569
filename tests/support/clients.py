"""Both clients behind one face, so that one test holds for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

from headrace import AsyncClient, Client
from headrace_worker.operate.app_client import AppClient, AsyncAppClient

Kind = Literal["plain", "awaited"]
KINDS: tuple[Kind, ...] = ("plain", "awaited")
C = TypeVar("C", bound=Client)


class _Awaited:
    """An AsyncClient whose methods are called like a Client's; its event loop runs only while one is called."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if inspect.isasyncgenfunction(attribute):
            return lambda *args, **kwargs: self._iterate(attribute(*args, **kwargs))
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        return lambda *args, **kwargs: self._runner.run(attribute(*args, **kwargs))

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> list[Any]:
            try:
                return [await anext(items)]
            except StopAsyncIteration:
                return []

        while found := self._runner.run(following()):
            yield from found


@contextmanager
def open_client(kind: Kind, url: str | None = None, **settings: Any) -> Iterator[Client]:
    """A Client, or an AsyncClient that looks like one; it is closed at the end."""
    with _open(kind, Client, AsyncClient, url, settings) as client:
        yield client


@contextmanager
def open_app_client(kind: Kind, url: str | None = None, **settings: Any) -> Iterator[AppClient]:
    """An AppClient, or an AsyncAppClient that looks like one; it is closed at the end."""
    with _open(kind, AppClient, AsyncAppClient, url, settings) as client:
        yield client


@contextmanager
def _open(
    kind: Kind, plain: type[C], awaited: type[AsyncClient], url: str | None, settings: dict[str, Any]
) -> Iterator[C]:
    if kind == "plain":
        with plain(url, **settings) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        opened = awaited(url, **settings)
        try:
            yield cast("C", _Awaited(opened, runner))
        finally:
            runner.run(opened.close())
