"""A worker in a process of its own: `python -m tests.faults.runner APP`, for tests that kill and stop it.

HEADRACE_FAULTS_FOLDER names the folder of the calls and gates, HEADRACE_FAULTS_CONFIG the worker's settings as JSON.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from headrace_worker import Worker, WorkerConfig, logs
from tests.faults.apps import APPS


async def run(app_name: str) -> None:
    """Returns when the worker has stopped."""
    app = APPS[app_name](Path(os.environ["HEADRACE_FAULTS_FOLDER"]))
    config = msgspec.json.decode(os.environ["HEADRACE_FAULTS_CONFIG"], type=WorkerConfig)
    worker = Worker(app, config=config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    logs.configure("json")
    asyncio.run(run(sys.argv[1]))
