"""The lifespan of an app in one worker: what its jobs share is opened before the first run, and closed after the last.

One task enters and closes it, as task groups, cancel scopes and context variables need. It is entered before the worker
registers, so that a slow lifespan holds no lease; nothing bounds it but a stop. Its close is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from headrace_worker.app import functions
from headrace_worker.app.app import App
from headrace_worker.errors import LifespanFailed
from headrace_worker.logs.logger import get_logger
from headrace_worker.tasks.guard import Guard, describe, is_end, own_task

log = get_logger("headrace.worker")

_LONG_ENTRY_S = 10.0
"""An entry that takes longer is reported, once."""
CLOSE_S = 10.0
"""How long the close may take; then it is cancelled."""
_CANCEL_S = 1.0


class Lifespan:
    """Enters and closes an app's lifespan.

    Attributes:
        state: its value, which jobs receive as `state`; None for an app without a lifespan.
    """

    def __init__(self, app: App, guard: Guard, on_closing: Callable[[], None] | None) -> None:
        """Enter nothing yet; `on_closing` is called before it closes, which may block the event loop."""
        self.state: object = None
        self._app = app
        self._guard = guard
        self._on_closing = on_closing
        self._has_entered = asyncio.Event()
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, stopping: asyncio.Event) -> bool:
        """Return True once it is entered, False if a stop came first.

        Raises:
            LifespanFailed: it raised; the traceback is logged.
        """
        if (lifespan := self._app.lifespan) is None:
            return True
        self._task = task = self._guard.part("the app's lifespan", self._live(lifespan), self._may_end)
        waits = [own_task(self._has_entered.wait()), own_task(stopping.wait())]
        try:
            if not (await asyncio.wait([task, *waits], timeout=_LONG_ENTRY_S, return_when=_FIRST))[0]:
                log.warning("the app's lifespan is not entered yet; the worker waits for it", app=self._app.name)
                await asyncio.wait([task, *waits], return_when=_FIRST)
        finally:
            for wait in waits:
                wait.cancel()
        if self._has_entered.is_set():
            return True
        if not task.done():  # a stop: it has nothing to close but what it has opened itself
            await self.close()
            return False
        fault = None if task.cancelled() else task.exception()
        log.error("the app's lifespan failed, so the worker does not start", app=self._app.name, exc_info=fault)
        raise LifespanFailed(self._app.name, "it ended" if fault is None else describe(fault)) from fault

    async def close(self) -> None:
        """Close it, or break its entry off; raise nothing: what goes wrong is logged."""
        task = self._task
        if task is None:
            return
        if self._on_closing is not None:
            self._on_closing()
        self._over.set()
        if not self._has_entered.is_set():
            task.cancel()
        await asyncio.wait([task], timeout=CLOSE_S)
        if not task.done():
            log.error(
                "the app's lifespan takes too long to close; it is cancelled", app=self._app.name, after_s=CLOSE_S
            )
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_S)
        if task.done() and not task.cancelled():
            task.exception()  # it is logged; asyncio need not say that nothing has read it

    async def _live(self, lifespan: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        manager = lifespan()
        try:
            async with manager as self.state:
                self._has_entered.set()
                await self._over.wait()
        except BaseException as exc:
            named = functions.misyield(manager, exc)
            if self._has_entered.is_set() and not is_end(exc):
                fields = {"app": self._app.name, "is_closing": self._over.is_set()}
                log.exception("the app's lifespan failed", exc_info=named or exc, **fields)
            if named is None:
                raise
            raise named from None

    def _may_end(self) -> bool:
        return self._over.is_set() or not self._has_entered.is_set()


_FIRST = asyncio.FIRST_COMPLETED
