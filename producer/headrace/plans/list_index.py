"""Shows how far back lists go by time and by name, and sets how much they keep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.calls.indexing import INDEX_ENTRIES, MOST_INDEX_ENTRIES, keep, read_kept, read_length, read_oldest
from headrace.errors import InvalidArgument
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.partitions import Partitions
from headrace.model.list_index import ListIndex
from headrace.plans.plan import Plan


def get_list_index(partitions: Partitions) -> Plan[ListIndex]:
    """Return how much each index keeps, and what it has."""
    every = partitions.all
    found = yield [
        *[read_kept(keys) for keys in every],
        *[read_length(keys.recent) for keys in every], *[read_oldest(keys.recent) for keys in every],
        *[read_length(keys.runs) for keys in every], *[read_oldest(keys.runs) for keys in every],
    ]  # fmt: skip
    kept, events, sent, runs, ended = (found[at : at + len(every)] for at in range(0, len(found), len(every)))
    return ListIndex(
        kept=min(kept), events=sum(events), events_since=_since(events, sent),
        runs=sum(runs), runs_since=_since(runs, ended),
    )  # fmt: skip


def keep_listed(partitions: Partitions, entries: object) -> Plan[ListIndex]:
    """Set how many entries each index keeps; return what it has."""
    if isinstance(entries, bool) or not isinstance(entries, int) or not INDEX_ENTRIES <= entries <= MOST_INDEX_ENTRIES:
        rule = f"must be a whole number from {INDEX_ENTRIES:,} to {MOST_INDEX_ENTRIES:,}"
        raise InvalidArgument("entries", f"{rule}, not {entries!r}")
    yield [keep(keys, entries) for keys in partitions.all]
    return (yield from get_list_index(partitions))


def _since(lengths: Sequence[int], oldest: Sequence[list[str]]) -> datetime | None:
    """Return since when the indexes of all partitions are whole; as long as none drops entries, since the first."""
    firsts = [(length, ids[0]) for length, ids in zip(lengths, oldest, strict=True) if ids]
    full = [_millis_of(first) for length, first in firsts if length >= INDEX_ENTRIES]
    millis = max(full) if full else min((_millis_of(first) for _, first in firsts), default=None)
    return None if millis is None else from_millis(millis)


def _millis_of(entry_id: str) -> int:
    return min(int(entry_id.partition("-")[0]), MAX_MILLIS)
