"""A worker in a process of its own: `python -m tests.faults.runner APP`, for tests that kill and stop it.

HEADRACE_FAULTS_FOLDER names the folder of the calls and gates, HEADRACE_FAULTS_CONFIG the worker's settings as JSON.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace_worker import App, Worker, WorkerConfig
from headrace_worker.process import log_setup
from tests.faults.apps import APPS


async def work(app: App, on_name: Callable[[str], None] | None = None, **more: Any) -> None:
    """Return when the app's worker has stopped, after a SIGTERM."""
    config = msgspec.json.decode(os.environ["HEADRACE_FAULTS_CONFIG"], type=WorkerConfig)
    worker = Worker(app, config=config, on_name=on_name, **more)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    log_setup.configure("json")
    asyncio.run(work(APPS[sys.argv[1]](Path(os.environ["HEADRACE_FAULTS_FOLDER"]))))
