"""What operators have set for a queue: a plain value."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Limit = int | Literal["declared"] | None
"""How many runs of a queue may be in flight at once: a number; as many as the code declares; None for any number."""


class QueueControls(msgspec.Struct, frozen=True, kw_only=True):
    """What is set for a queue while it is in use.

    Attributes:
        queue: `<app>/<queue>`.
        paused_at: since when no run of it starts; None if it is not paused.
        reason: why it is paused, as the pause said; empty if it did not.
        limit: how many of its runs may be in flight at once, over all workers: a number; `declared`, as many as the
            code says; None for any number, whatever the code says.
    """

    queue: str
    paused_at: datetime | None = None
    reason: str = ""
    limit: Limit = "declared"
