"""A worker in a process of its own, with a fault inside: `python -m tests.faults.inside.runner PLACE KIND LIFE`.

SIGUSR1 arms the fault, so that it is none of the start. Without arguments the worker has none. What bounds a
worker's silence is shortened, as the tests wait for it.

HEADRACE_FAULTS_FOLDER names the folder of the calls, HEADRACE_FAULTS_CONFIG the worker's settings as JSON.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import cast

import msgspec

from tests.faults.inside.fault import BY_NAME, EVERYWHERE, TROUBLES, Fault, Life
from tests.faults.inside.imports import strike_in
from tests.faults.inside.places import room_of, rooms

_LONGEST_CALL_S, _CONNECT_S, _STOP_MARGIN_S, _SILENCE_S = 1.0, 1.0, 4.0, 4.0


def main() -> None:
    """Run the worker to its end."""
    if len(sys.argv) > 1:
        place, kind, life = sys.argv[1:]
        fault = Fault(place, BY_NAME[kind], cast("Life", life))
        struck = [place, *(TROUBLES if life == "troubled" else ())]
        strike_in(rooms() if place == EVERYWHERE else map(room_of, struck), fault)
        signal.signal(signal.SIGUSR1, lambda *_: fault.arm())
    _shorten_bounds()
    _work()


def _shorten_bounds() -> None:
    from headrace_worker.membership import lease, watch
    from headrace_worker.process import process

    watch._LONGEST_CALL_S = _LONGEST_CALL_S
    watch._STOP_MARGIN_S = _STOP_MARGIN_S
    process._SILENCE_S = _SILENCE_S
    setattr(lease, "CONNECT_TIMEOUT_S", _CONNECT_S)  # noqa: B010 - the module does not export it


def _work() -> None:
    from prometheus_client import CollectorRegistry

    from headrace_worker import Worker, WorkerConfig
    from headrace_worker.metrics.prometheus import Metrics
    from headrace_worker.process import log_setup
    from headrace_worker.process.process import run_as_process
    from tests.faults.inside.app import make_app

    log_setup.configure("json")
    app = make_app(Path(os.environ["HEADRACE_FAULTS_FOLDER"]))
    config = msgspec.json.decode(os.environ["HEADRACE_FAULTS_CONFIG"], type=WorkerConfig)
    run_as_process(Worker(app, config=config, metrics=Metrics(CollectorRegistry())))


if __name__ == "__main__":
    main()
