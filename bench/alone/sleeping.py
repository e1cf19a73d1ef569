"""An app whose job sleeps until it is canceled, and its worker: `python -m bench.alone.sleeping`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.side import Payload, url
from bench.tally import Tally
from headrace_worker import App, Worker, event_trigger
from headrace_worker.process.process import run_as_process

EVENT = "sleep"
JOB = "sleeping/sleep"


def main() -> None:
    """Run one worker process until it is ended."""
    run_as_process(Worker(make_app(Tally().mark), url()))


def make_app(mark: Callable[[Payload], None]) -> App:
    """Return the app; its job marks that it has begun, and that it is canceled."""
    app = App("sleeping")

    @app.job(id="sleep", trigger=event_trigger(EVENT))
    async def sleep(payload: Payload) -> None:
        mark(payload)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            mark(payload)
            raise

    return app


if __name__ == "__main__":
    main()
