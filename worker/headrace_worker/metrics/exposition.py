"""Serves the metrics of a worker over HTTP: of this process, or of all processes of a supervisor in one place.

Needs the extra `metrics`. The endpoint answers every client that reaches it, within the bounds of `scrape_server`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import ConfigurationError
from headrace.formats.partitions import Partitions
from headrace_worker.metrics.prometheus import Metrics  # first: its import says which package is missing

# isort: split
from prometheus_client import REGISTRY, CollectorRegistry, Metric, disable_created_metrics, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from headrace_worker.logs.logger import get_logger
from headrace_worker.metrics import metric_files
from headrace_worker.metrics.depths_collector import DepthsCollector
from headrace_worker.metrics.scrape_server import ScrapeServer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = get_logger("headrace.metrics")

_PATH = "/metrics"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which processes keep their metrics; prometheus-client reads the variable at its import."""


class Shared:
    """A folder in which several processes keep their metrics."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._has_been_there = folder.is_dir()
        self.registry = CollectorRegistry()
        self.registry.register(_Files(folder))

    @property
    def env(self) -> dict[str, str]:
        """The variables with which such a process has to start."""
        return {FOLDER_VARIABLE: str(self._folder)}

    def before_start(self) -> None:
        """Make the folder if it is missing: before the first start, or because it was removed.

        Raises:
            OSError: the folder can't be made; a process without it counts in memory only.
        """
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._has_been_there:
                log.warning(
                    "the folder of the metrics was gone, and what was counted with it", folder=str(self._folder)
                )
        self._has_been_there = True

    def after_end(self, pid: int) -> None:
        """Drop an ended process's gauges; keep its counts, without unused disk space.

        Raises:
            OSError: a file can't be removed or cut.
        """
        mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        metric_files.shrink(self._folder, pid)


class _Files(Collector):
    """The metrics in a folder; with an unreadable file a scrape lacks these metrics, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_reported = False

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that the registration reads no file."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all processes."""
        try:
            collector = MultiProcessCollector(None, str(self._folder))  # type: ignore[no-untyped-call]
            return list(collector.collect())  # type: ignore[no-untyped-call]
        except Exception:
            if not self._is_reported:
                self._is_reported = True
                log.exception("the files of the metrics can't be read")
            return []


def _only_metrics(metrics: WSGIApplication) -> WSGIApplication:
    """Return an application that serves the metrics under their path, and says of any other path what there is."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == _PATH:
            return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"there is only {_PATH} here, for Prometheus\n".encode()]

    return answer


class Endpoint:
    """Serves the metrics of a worker on one address."""

    def __init__(self, host: str, port: int) -> None:
        """Serve nothing yet.

        Args:
            host: the host on whose address to listen.
            port: 0 for any free port.

        Raises:
            ConfigurationError: the environment names a folder that does not exist.
        """
        self._host = host
        self._port = port
        self._given_folder = _given_folder()

    def count_here(self, url: str, partitions: Partitions) -> Metrics:
        """Return the metrics of this process, and serve them from now on, together with metrics that jobs make.

        Raises:
            ConfigurationError: the address can't be served on.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call] # one more series for each metric, without use
        folder = self._given_folder
        self._serve(REGISTRY if folder is None else Shared(folder).registry, DepthsCollector(url, partitions))
        return Metrics()

    @contextlib.contextmanager
    def serving_others(self, url: str, partitions: Partitions) -> Iterator[Shared]:
        """Serve the metrics of all processes that share the folder; at the end remove the folder if it was made here.

        Raises:
            ConfigurationError: the address can't be served on.
        """
        with contextlib.ExitStack() as stack:
            folder = self._given_folder or stack.enter_context(_own_folder())
            shared = Shared(folder)
            stack.callback(self._serve(shared.registry, DepthsCollector(url, partitions)))
            yield shared

    def _serve(self, registry: CollectorRegistry, depths: DepthsCollector) -> Callable[[], None]:
        """Serve the registry, with the depths; return the function that stops serving."""
        registry.register(depths)
        try:
            server = ScrapeServer(self._host, self._port, _only_metrics(make_wsgi_app(registry)))
        except OSError as exc:
            why = f"metrics can't be served on {self._host}:{self._port}: {exc.strerror or exc}"
            raise ConfigurationError(f"{why}; give another --metrics-port or --metrics-host") from exc
        server.start()
        log.info("metrics are served", url=f"http://{self._host}:{server.server_port}{_PATH}")
        return server.stop


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Name a new folder, which is made when a process starts, and remove it at the end.

    On a full disk the folder can't be made, and workers work without it.
    """
    try:
        where = Path(tempfile.gettempdir())
    except OSError:  # no usable folder: the call tries to write a file
        where = Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - the folder's name is random
    folder = where / f"headrace-metrics-{secrets.token_hex(8)}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _given_folder() -> Path | None:
    if not (named := os.environ.get(FOLDER_VARIABLE)):
        return None
    if not Path(named).is_dir():
        raise ConfigurationError(f"{FOLDER_VARIABLE} is {named!r}, and no such folder exists; make it, or unset it")
    return Path(named)
