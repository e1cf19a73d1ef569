"""What is remembered of what operators have done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an operator, whatever it has changed.

    Attributes:
        id: the entry's own id.
        at: when it ended.
        who: the user and the machine, as the client knows them: nothing proves them.
        via: what it was done with, such as `headrace` or `library`.
        verb: what was done, such as `runs cancel`.
        asked: the ids, or the filter, that it was done to, by their names.
        reason: why, if that was said.
        done: how many things it was done to.
        failed: how many it could not be done to.
        left_out: how many it was not done to, as was asked for: by `events replay --if-no-runs`.
    """

    id: str
    at: datetime
    who: str
    via: str
    verb: str
    asked: dict[str, Any]
    reason: str | None
    done: int
    failed: int
    left_out: int = 0
