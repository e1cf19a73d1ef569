"""Says in words to what a job subscribes, and which subscriptions count."""

from __future__ import annotations

from collections.abc import Sequence

COUNTS = {
    "live": "live workers have",
    "registered": "were registered, as no worker is alive",
    "dead": "workers had whose leases have ended, as no other worker is alive",
    "last": "the last worker had that stopped",
}
"""Which of an app's subscriptions count, by the word of the routes for it."""
RELEASES = {
    "live": "the one that live workers have",
    "registered": "the one that was registered, as no worker is alive",
    "dead": "the one of workers whose leases have ended, as no other worker is alive",
    "last": "the one of the last worker that stopped",
}
"""Which release of an app counts, by the same words."""


def trigger_in_words(names: Sequence[str], sources: Sequence[str]) -> str:
    """Return the names of events, and the sources from which they count, as in `a or b from web`."""
    return f"{' or '.join(names)}{' from ' if sources else ''}{' or '.join(sources)}"
