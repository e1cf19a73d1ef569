"""The call by which a worker stores what it has counted, and what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, script_call
from headrace.formats.keys import Keys

KEEP_MS = 25 * 3_600_000
"""How long the counts of a minute stay: a day, and an hour in which the day's first minute can still be read."""


class _Arguments(msgspec.Struct, frozen=True):
    """What `report.lua` reads beside its keys; its header says what each is."""

    facts: list[str]
    age: int
    counts: list[str]
    keep: int


def report(
    keys: Keys, worker: str, *, minute: int, counts: Mapping[str, int], facts: Mapping[str, str], age_ms: int
) -> Call[int]:
    """Add counts to those of a minute, and store the worker's facts.

    Args:
        minute: since 1970.
        counts: by `<app>/<job id>:<what>`; see `formats.tallies`.
        age_ms: how long the worker runs.
    """
    names = [keys.worker(worker), keys.tally(minute)] if counts else [keys.worker(worker)]
    args = _Arguments(_flat(facts), age_ms, _flat(counts), KEEP_MS)
    return script_call("report", names, (pack(args),), int)


def _flat(mapping: Mapping[str, object]) -> list[str]:
    return [str(part) for pair in mapping.items() for part in pair]
