"""What an attempt has done, in order, and where."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any


class Steps:
    """Notes what happens, in order, and in which thread."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def note(self, what: str) -> None:
        here = "loop" if threading.current_thread() is threading.main_thread() else "thread"
        self.seen.append(f"{what} {here}")

    def around(self, name: str) -> Callable[[], Any]:
        @contextmanager
        def plain() -> Iterator[None]:
            self.note(f"{name}+")
            try:
                yield
            finally:
                self.note(f"{name}-")

        return plain

    def async_around(self, name: str) -> Callable[[], Any]:
        @asynccontextmanager
        async def awaited() -> AsyncIterator[None]:
            with self.around(name)():
                yield

        return awaited
