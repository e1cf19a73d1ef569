"""A job of an app whose structlog writes through `logging`, as structlog's documentation has it."""

from __future__ import annotations

import logging

import structlog

from headrace_worker import App, event_trigger

logging.basicConfig(format="%(message)s", level=logging.INFO)
structlog.configure(
    processors=[structlog.stdlib.add_log_level, structlog.processors.KeyValueRenderer()],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
app = App("records")


@app.job(id="job", trigger=event_trigger("asked"))
async def job() -> None:
    structlog.get_logger("shop").info("paid", order=7)
