"""The server and the worker of `headrace dev`: the server keeps its data, the worker restarts when a file changes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace import ConfigurationError, HeadraceError
from headrace.config import resolve
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.logs.logger import get_logger
from headrace_worker.process.child import Child, describe_end
from headrace_worker.tasks.restarting import call_on_loop, start_task
from headrace_worker.tasks.signals import ignore_stop_signals, receive_wishes

log = get_logger("headrace.dev")

_PATIENCE_S = 2.0
"""How long a worker may take to stop beyond its grace, to close its lifespan for example, before it is killed."""


def check_installed() -> None:
    """Raise ConfigurationError if a package for development is missing."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigurationError("reload on change needs the package watchfiles: pip install 'headrace-worker[dev]'")


def own_server(data_dir: Path, port: int | None) -> EmbeddedServer:
    """Return a server that keeps its data in a folder, which Git ignores."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / ".gitignore").write_text("*\n")
    except OSError as exc:
        raise ConfigurationError(
            f"the server can't keep its data in {data_dir}: {exc.strerror}; --data-dir names another folder"
        ) from exc
    return EmbeddedServer(data_dir=data_dir, port=port, appendonly=True)


class Reloader:
    """Runs one worker process, and starts another when a file changes."""

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
        """Start nothing yet.

        Args:
            command: starts the worker process.
            url: of the server; passed to the worker in its environment.
            namespace: passed like the URL.
            watch: folders whose Python files restart the worker, at any depth.
            ignore: folders below them that are not watched.
            grace_s: how long a stopping worker lets its runs go on.
        """
        self._command = command
        self._url = url
        self._namespace = namespace
        self._watch = watch
        self._ignore = ignore
        self._grace_s = grace_s
        self._stopping = asyncio.Event()
        self._reason = asyncio.Event()
        self._child: Child | None = None

    async def run(self) -> None:
        """Run until a signal has stopped the worker; a second signal hurries the worker, a third kills it."""
        loop = asyncio.get_running_loop()
        receive_wishes(lambda wish: call_on_loop(loop, self._obey, wish))
        watching = start_task("watch of the files", self._watch_files)
        try:
            while not self._stopping.is_set():
                self._reason.clear()
                await self._run_one()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            ignore_stop_signals()

    async def _run_one(self) -> None:
        """Run one worker process until a file changes or a signal comes."""
        env: Mapping[str, str] = {"HEADRACE_URL": self._url, "HEADRACE_NAMESPACE": self._namespace}
        try:
            child = self._child = await Child.start(self._command, env=env)
        except OSError as exc:
            log.warning("worker can't be started, and is tried again when a file changes", error=str(exc))
            await self._reason.wait()
            return
        ending = start_task("end of the worker", functools.partial(self._report_end, child))
        await self._reason.wait()
        if child.returncode is None and await child.stop(self._grace_s + _PATIENCE_S) == -signal.SIGKILL:
            log.warning("worker did not stop and was killed; does its event loop block?", grace=self._grace_s)
        await ending
        if child.returncode != 0:
            with contextlib.suppress(HeadraceError):
                await child.end_leases(self._url, resolve(self._namespace, None))

    async def _report_end(self, child: Child) -> None:
        """Log that the worker has ended, unless a stop was requested."""
        code = await child.wait()
        if not self._reason.is_set():
            log.warning("worker ended, and starts again when a file changes", ended=describe_end(code))

    async def _watch_files(self) -> None:
        from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - optional

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # its line of a change would only double ours
        only_python = PythonFilter(ignore_paths=[path.absolute() for path in self._ignore])
        async for changes in awatch(*self._watch, watch_filter=only_python):
            log.info("files changed, worker restarts", files=sorted({Path(path).name for _, path in changes}))
            self._reason.set()

    def _obey(self, wish: int) -> None:
        self._stopping.set()
        self._reason.set()
        if self._child is not None and wish > 1:
            (self._child.hurry if wish == 2 else self._child.kill)()
