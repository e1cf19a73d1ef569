"""Holds which run executes here, in any task or thread."""

from __future__ import annotations

from contextvars import ContextVar

from headrace_worker.protocol.delivery import Delivery

current_run: ContextVar[Delivery | None] = ContextVar("headrace_run", default=None)
"""The run that executes here; its ids are on each of its log lines."""


def ids_here() -> dict[str, str]:
    """Return the ids of the run that executes here; none outside of one."""
    delivery = current_run.get()
    return delivery.ids if delivery is not None else {}
