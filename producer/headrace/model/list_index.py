"""How far back the lists of events and runs go: a plain value."""

from __future__ import annotations

from datetime import datetime

import msgspec


class ListIndex(msgspec.Struct, frozen=True, kw_only=True):
    """How far back the lists of events and of ended runs go, by time and by name. By its id each record is found.

    An entry is what one batch has sent or ended, twenty events or runs at most.

    Attributes:
        kept: how many entries of events, and as many of runs, each partition keeps, about.
        events: how many entries of events there are, in all partitions together.
        events_since: since when every event is listed; None if there is none.
        runs: how many entries of ended runs there are, in all partitions together.
        runs_since: since when every run that has ended is listed; None if there is none.
    """

    kept: int
    events: int
    events_since: datetime | None
    runs: int
    runs_since: datetime | None
