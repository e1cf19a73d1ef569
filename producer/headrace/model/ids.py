"""Makes and takes apart the ids of events and runs. Pure but for the clock and the randomness of new ids."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator

from ulid import ULID, base32

_TAILS = [first + second for first in base32.ENCODE for second in base32.ENCODE]
"""The last two characters of a ULID, in order."""


def new_event_ids() -> Iterator[str]:
    """Yield new ULIDs without end, each greater than the one before: sorted by time, then by place.

    python-ulid's own generator counts on from its last id within a millisecond, and a fork's two sides would count
    on from the same one; so the first id is drawn here, and only what follows is counted.
    """
    randomness = int.from_bytes(os.urandom(10), "big") >> 1  # room to count in, so that the time stays as it is
    value = (time.time_ns() // 1_000_000 << 80) + randomness
    while True:
        head = str(ULID.from_bytes(value.to_bytes(16, "big")))[:-2]
        for place in range(value % len(_TAILS), len(_TAILS)):
            yield head + _TAILS[place]
        value += len(_TAILS) - value % len(_TAILS)


def derived_event_id(run_id: str, key: str) -> str:
    """Return the id of the event that a run sends under a key: the same for both, at every attempt."""
    both = f"{len(run_id)}:{run_id}:{key}".encode("utf-8", "surrogatepass")  # the length says where the key begins
    digest = hashlib.blake2b(both, digest_size=16).digest()
    return "d_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def run_id(event_id: str, job: str) -> str:
    """Return the id of the run of a job (`<app>/<job id>`) for an event: always the same for both."""
    return f"{event_id}:{job}"


def split_run_id(run: str) -> tuple[str, str] | None:
    """Return the event's id and the job of a run's id, or None where it is no such id.

    An event's id may hold any character, a job's none of `:` and exactly one `/`.
    """
    event_id, colon, job = run.rpartition(":")
    if not (colon and event_id) or job.count("/") != 1:
        return None
    return event_id, job
