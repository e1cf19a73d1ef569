"""Lets a fork of a worker's process know that it is a fork: jobs fork, with multiprocessing or by hand.

A child has its own signals and none of the worker's connections. A child that comes back to Headrace's code ends
there, and never goes on as a second worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from typing import Any, NoReturn

from headrace_worker.logs.logger import write_directly
from headrace_worker.tasks.signals import STOP_SIGNALS

EXIT_CODE = 1


class Fork:
    """What this process knows of forks of itself.

    Attributes:
        is_child: this process is a fork of a worker's process.
    """

    def __init__(self) -> None:
        self.is_child = False
        self._is_prepared = False
        self._loop: Any = None
        self._descriptors: list[int] = []

    def prepare(self, loop: asyncio.AbstractEventLoop | None, *descriptors: int) -> None:
        """Cut forks of this process off from these descriptors, and from those that the event loop waits for.

        Call it where a process is a worker's alone. A further call adds its descriptors.
        """
        self._loop = loop or self._loop
        self._descriptors += descriptors
        if not self._is_prepared:
            self._is_prepared = True
            os.register_at_fork(after_in_child=self._after_fork)

    def end(self, exc: BaseException | None) -> NoReturn:
        """End this child, which has come back to the worker's code, and say why."""
        try:
            write_directly(f"headrace: a process that a job has forked came back to the worker's code: {os.getpid()}")
            if exc is not None:
                write_directly("".join(traceback.format_exception(exc)))
        finally:
            os._exit(EXIT_CODE)

    def _after_fork(self) -> None:
        self.is_child = True
        signal.set_wakeup_fd(-1)  # the thread that has forked is the child's main thread
        for number in STOP_SIGNALS:
            if callable(signal.getsignal(number)):  # a signal that is ignored, as under nohup, stays ignored
                signal.signal(number, signal.SIG_DFL)
        self._cut_off()

    def _cut_off(self) -> None:
        """Replace every descriptor of the worker by /dev/null, and leave the event loop nothing to do."""
        selector = getattr(self._loop, "_selector", None)
        found = list(self._descriptors)
        if selector is not None and (waited_for := selector.get_map()) is not None:
            found += [key.fd for key in waited_for.values()]
            selector.select = self._select
            self._loop._ready.clear()  # noqa: SLF001 - the callbacks of other runs are the parent's
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in found:
            os.dup2(null, descriptor)
        os.close(null)

    def _select(self, _timeout: float | None = None) -> NoReturn:
        self.end(None)


fork = Fork()
"""The one of this process. No worker has its own: a process forks as a whole."""
