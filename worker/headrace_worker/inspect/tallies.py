"""What became of runs, by job and by minute, as workers have reported it: about, and for the last 25 hours. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from headrace import InvalidArgument
from headrace.calls.checking import server_time
from headrace.formats.codec import from_millis
from headrace.formats.partitions import Partitions
from headrace.model.moments import seconds_of
from headrace.plans.plan import Plan
from headrace_worker.inspect.answers import answer_or
from headrace_worker.protocol.inspecting import read_hash

MAX_SINCE_S = 24 * 3600
_READS = 3_000
"""So many minutes are read in one round trip, of all partitions together."""
_MINUTE_MS = 60_000
_FIELD = re.compile(r"[\w.-]+/(?:@[\w.-]+:n|[\w.-]+:(?:s|f|c|r|ms))", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,15}")


class Counts(msgspec.Struct, frozen=True):
    """How many attempts ended, and how: `failed` without success for good, `retried` to be tried again."""

    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    retried: int = 0
    mean_s: float | None = None


class JobCounts(msgspec.Struct, frozen=True):
    """The counts of one job, `<app>/<job id>`."""

    job: str
    counts: Counts


class MinuteCounts(msgspec.Struct, frozen=True):
    """The counts of all jobs in the minute that begins `at`."""

    at: datetime
    counts: Counts


class Stats(msgspec.Struct, frozen=True):
    """What became of runs since a moment: about, as a worker that is killed has not reported its last seconds.

    Attributes:
        jobs: by name; those of which any attempt ended.
        minutes: each since then, oldest first, the last one being under way.
        ended: attempts by the queue that their runs were in, `<app>/<queue>`.
    """

    since: datetime
    jobs: list[JobCounts]
    minutes: list[MinuteCounts]
    ended: dict[str, int]


def read_stats(partitions: Partitions, since: float | timedelta) -> Plan[Stats]:
    """Return what became of runs in the last so many seconds, whole minutes of them.

    Raises:
        InvalidArgument: it is no duration of a minute to a day.
    """
    seconds = seconds_of(since)
    if seconds is None or not _MINUTE_MS / 1000 <= seconds <= MAX_SINCE_S:
        raise InvalidArgument("since", f"must be a minute to a day, in seconds or as a timedelta, not {since!r}")
    (now_ms,) = yield [server_time()]
    last = answer_or(0, now_ms) // _MINUTE_MS
    minutes = range(last - round(seconds / 60) + 1, last + 1)
    wanted = [(minute, keys) for minute in minutes for keys in partitions.all]
    found: dict[int, Counter[str]] = {minute: Counter() for minute in minutes}
    for first in range(0, len(wanted), _READS):
        part = wanted[first : first + _READS]
        answers = yield [read_hash(keys.tally(minute)) for minute, keys in part]
        for (minute, _), answer in zip(part, answers, strict=True):
            found[minute].update(_whole(answer_or({}, answer)))
    return _stats(found)


def _whole(fields: Mapping[str, str]) -> dict[str, int]:
    """Return the fields that are counts; leave out what another program has written, or a later release."""
    return {name: int(text) for name, text in fields.items() if _FIELD.fullmatch(name) and _COUNT.fullmatch(text)}


def _stats(found: Mapping[int, Counter[str]]) -> Stats:
    by_job: dict[str, Counter[str]] = {}
    ended = Counter[str]()
    minutes: list[MinuteCounts] = []
    for minute, fields in found.items():
        of_minute = Counter[str]()
        for field, count in fields.items():
            name, _, what = field.rpartition(":")
            app, _, rest = name.partition("/")
            if rest.startswith("@"):
                ended[f"{app}/{rest[1:]}"] += count
            else:
                by_job.setdefault(name, Counter())[what] += count
                of_minute[what] += count
        minutes.append(MinuteCounts(from_millis(minute * _MINUTE_MS), _counts(of_minute)))
    jobs = [JobCounts(job, _counts(counts)) for job, counts in sorted(by_job.items())]
    return Stats(minutes[0].at, jobs, minutes, dict(ended))


def _counts(of: Counter[str]) -> Counts:
    ends = of["s"] + of["f"] + of["c"] + of["r"]
    return Counts(of["s"], of["f"], of["c"], of["r"], of["ms"] / 1000 / ends if ends else None)
