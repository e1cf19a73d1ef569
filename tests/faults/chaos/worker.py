"""A worker in a process of its own: `python -m tests.faults.chaos.worker APP`, APP being `chaos` or a number of `late`.

HEADRACE_CHAOS_DIARY names the folder of the diaries, HEADRACE_CHAOS_CLOCK the seconds by which its clock is off. It
counts what it does where PROMETHEUS_MULTIPROC_DIR says where to, and obeys the orders in HEADRACE_CHAOS_ORDERS: then it
runs as `headrace worker` does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace_worker import App, Worker, WorkerConfig
from headrace_worker.process import log_setup
from tests.faults.chaos import app as apps
from tests.faults.chaos.clock import shift
from tests.faults.chaos.history import Diary, Died, Named, now
from tests.faults.runner import work


def main(name: str) -> None:
    """Return when the worker has stopped."""
    diary = Diary(Path(os.environ["HEADRACE_CHAOS_DIARY"]))
    shift(float(os.environ["HEADRACE_CHAOS_CLOCK"]))
    app = apps.chaos(diary) if name == apps.NAME else apps.late(diary, int(name))
    options: dict[str, Any] = {
        "on_name": lambda given: diary.add(Named(**now(), pid=os.getpid(), name=given)),
        **_counting(),
    }
    if "HEADRACE_CHAOS_ORDERS" in os.environ:
        _run_as_process(app, diary, options)
    else:  # an older release
        asyncio.run(work(app, **options))


class _Witness(Worker):
    """Writes down when the worker ends itself as it does not work: the system may notice the end much later."""

    def __init__(self, diary: Diary, app: App, **options: Any) -> None:
        super().__init__(app, **options)
        self._diary = diary

    async def run(self, *, on_fault: Callable[[str], None] | None = None, **others: Any) -> None:
        def end(reason: str) -> None:
            self._diary.add(Died(**now(), pid=os.getpid(), how="broken"))
            if on_fault is not None:
                on_fault(reason)

        await super().run(on_fault=end, **others)


def _run_as_process(app: App, diary: Diary, options: dict[str, Any]) -> None:
    from headrace_worker.process.process import run_as_process
    from tests.faults.chaos.orders import obey

    config = msgspec.json.decode(os.environ["HEADRACE_FAULTS_CONFIG"], type=WorkerConfig)
    worker = _Witness(diary, app, config=config, **options)

    def loop() -> asyncio.AbstractEventLoop | None:
        return None if worker._running is None else worker._running._loop

    obey(Path(os.environ["HEADRACE_CHAOS_ORDERS"]), loop)
    run_as_process(worker)


def _counting() -> dict[str, Any]:
    """Return what lets a worker count, if requested: an older release can't."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return {}
    from headrace_worker.metrics.prometheus import Metrics

    return {"metrics": Metrics()}


if __name__ == "__main__":
    log_setup.configure("json")
    main(sys.argv[1])
