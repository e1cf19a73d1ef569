"""A server and a worker for development: the data stays, and the worker restarts when a file changes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace import ConfigurationError, HeadraceError
from headrace.settings import resolve
from headrace_worker.child import Child, describe_end
from headrace_worker.embedded import EmbeddedServer
from headrace_worker.safe_logging import get_logger
from headrace_worker.signals import hear_stop_signals, ignore_stop_signals

log = get_logger("headrace.dev")

_PATIENCE_S = 10.0
"""How long a worker may take to stop beyond its grace before it is killed."""


def check_installed() -> None:
    """What only development needs is installed, or ConfigurationError says how to install it."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigurationError("reload on change needs the package watchfiles: pip install 'headrace-worker[dev]'")


def own_server(data_dir: Path, port: int | None) -> EmbeddedServer:
    """Returns a server that keeps its data in a folder, which version control passes over."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / ".gitignore").write_text("*\n")
    return EmbeddedServer(data_dir=data_dir, port=port, appendonly=True)


class Reloader:
    """Keeps one worker process on the newest state of the files."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        url: str,
        namespace: str,
        watch: Sequence[Path],
        ignore: Sequence[Path],
        grace_s: float,
    ) -> None:
        """Nothing is started yet.

        Args:
            command: that of the worker process.
            url: the server's; the worker finds it in its environment.
            namespace: as the URL.
            watch: folders, with all that is in them; their Python files are what counts.
            ignore: folders in there that don't count.
            grace_s: how long the worker lets runs go on when it is stopped.
        """
        self._command = command
        self._url = url
        self._namespace = namespace
        self._watch = watch
        self._ignore = ignore
        self._grace_s = grace_s
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._child: Child | None = None

    async def run(self) -> None:
        """Returns when SIGTERM or SIGINT has come and the worker has stopped; a second one hurries it."""
        loop = asyncio.get_running_loop()
        hear_stop_signals(lambda number: loop.call_soon_threadsafe(self._pass_on, number))
        watching = asyncio.ensure_future(self._watch_files())
        try:
            while not self._stopping.is_set():
                self._changed.clear()
                await self._run_one()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            ignore_stop_signals()

    async def _run_one(self) -> None:
        """One worker process lives, until a file changes or all shall end."""
        env: Mapping[str, str] = {"HEADRACE_URL": self._url, "HEADRACE_NAMESPACE": self._namespace}
        child = self._child = await Child.start(self._command, env=env)
        ending = asyncio.ensure_future(child.wait())
        await self._wait_for_reason(ending)
        if ending.done() and not (self._changed.is_set() or self._stopping.is_set()):
            log.warning("worker ended, and starts again when a file changes", ended=describe_end(ending.result()))
            await self._wait_for_reason()
        if not ending.done():
            await child.stop(self._grace_s + _PATIENCE_S)
        if await ending != 0:
            with contextlib.suppress(HeadraceError):
                await child.end_leases(self._url, resolve(self._namespace, None))

    async def _wait_for_reason(self, *others: asyncio.Future[int]) -> None:
        reasons = [asyncio.ensure_future(event.wait()) for event in (self._changed, self._stopping)]
        waits: list[asyncio.Future[Any]] = [*reasons, *others]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for reason in reasons:
            reason.cancel()

    async def _watch_files(self) -> None:
        from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - optional

        only_python = PythonFilter(ignore_paths=[path.absolute() for path in self._ignore])
        async for changes in awatch(*self._watch, watch_filter=only_python):
            log.info("files changed, worker restarts", files=sorted({Path(path).name for _, path in changes}))
            self._changed.set()

    def _pass_on(self, _number: int) -> None:
        if self._stopping.is_set() and self._child is not None:
            self._child.send_signal(signal.SIGTERM)
        self._stopping.set()
