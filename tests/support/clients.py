"""Both clients behind one face, so that one test holds for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

from headrace import AsyncClient, Client

Kind = Literal["plain", "awaited"]
KINDS: tuple[Kind, ...] = ("plain", "awaited")


class _Awaited:
    """An AsyncClient whose methods are called like a Client's; its event loop runs only while one is called."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        return lambda *args, **kwargs: self._runner.run(attribute(*args, **kwargs))


@contextmanager
def open_client(kind: Kind, url: str | None = None, **settings: Any) -> Iterator[Client]:
    """A Client, or an AsyncClient that looks like one; it is closed at the end."""
    if kind == "plain":
        with Client(url, **settings) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        awaited = AsyncClient(url, **settings)
        try:
            yield cast("Client", _Awaited(awaited, runner))
        finally:
            runner.run(awaited.close())
