"""The app of docs/on-call.md: one job that fails for one order, and one that reminds."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, Retry, event_trigger

app = App("billing")


@app.job(id="charge", trigger=event_trigger("order.placed"), retry=Retry(max_attempts=1))
async def charge(payload: Any) -> None:
    """Refuse the card of the order that the page tells of."""
    if payload == "refused":
        raise ValueError("the card was refused")


@app.job(id="remind", trigger=event_trigger("reminder"))
async def remind() -> None:
    """Remind."""
