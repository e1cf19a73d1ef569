"""Makes and takes apart the ids of events and runs. Pure but for the randomness of a new ULID."""

from __future__ import annotations

import base64
import hashlib

from ulid import ULID


def new_event_id() -> str:
    """Returns a new ULID: unique, and sorted by the millisecond in which it was made."""
    return str(ULID())


def derived_event_id(run_id: str, key: str) -> str:
    """Returns the id of the event that a run sends under a key: the same for both, at every attempt."""
    digest = hashlib.blake2b(f"{run_id}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return "d_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def run_id(event_id: str, job: str) -> str:
    """Returns the id of the run of a job (`<app>/<job id>`) for an event: always the same for both."""
    return f"{event_id}:{job}"


def split_run_id(run: str) -> tuple[str, str] | None:
    """Returns the event's id and the job of a run's id, or None where it is no such id.

    An event's id may hold any character, a job's none of `:` and exactly one `/`.
    """
    event_id, colon, job = run.rpartition(":")
    if not (colon and event_id) or job.count("/") != 1:
        return None
    return event_id, job
