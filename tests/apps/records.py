"""Jobs that log through `logging`, as libraries do."""

from __future__ import annotations

import logging

from headrace_worker import App, event_trigger

app = App("records")
_ORDERS: dict[str, str] = {}
log = logging.getLogger("shop.orders")


@app.job(id="coroutine", trigger=event_trigger("asked"))
async def coroutine() -> None:
    log.info("order %s is paid", 7, extra={"customer": "c_1", "event": "not the line's own"})
    log.debug("below the level")


@app.job(id="plain", trigger=event_trigger("asked"))
def plain() -> None:
    try:
        _ORDERS["no such order"]
    except LookupError:
        log.exception("order is lost")
