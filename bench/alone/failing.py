"""An app whose job fails for good, and its worker, which makes dead letters: `python -m bench.alone.failing`."""

from __future__ import annotations

from bench.side import url
from headrace_worker import App, Retry, Worker, WorkerConfig, event_trigger
from headrace_worker.process.process import run_as_process

APP = "bulk"
EVENT = "bulk"
JOB = f"{APP}/fail"
QUEUE = f"{APP}/default"


def main() -> None:
    """Run one worker process until it is ended."""
    run_as_process(Worker(make_app(), url(), config=WorkerConfig(concurrency=1000)))


def make_app() -> App:
    """Return the app."""
    app = App(APP)

    @app.job(id="fail", trigger=event_trigger(EVENT), retry=Retry(max_attempts=1))
    async def fail() -> None:
        raise ValueError("no such user")

    return app


if __name__ == "__main__":
    main()
