"""What a partition answers, and what stands still in it: events, due times, leases, leader, dispatcher slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace import HeadraceError, PermissionMissing
from headrace.errors import OUTAGE
from headrace.formats.keys import Keys
from headrace_worker.doctor.asking import Question
from headrace_worker.doctor.finding import Notes, named

LATE_MS = 10_000
"""What waits for longer than this, where milliseconds are usual, stands still."""
_TRACES = ("waiting events", "due", "leases", "queues", "recent", "settled runs", "dead letters", "routes")
"""What there is of a namespace in which anything was sent, registered or executed."""


class Partition:
    """The answers of one partition.

    Attributes:
        away: why nothing of it could be asked; None if it could.
        is_closed: this user may read none of its keys.
    """

    def __init__(self, keys: Keys, asked: Sequence[Question], answers: Sequence[Any], notes: Notes) -> None:
        self.keys = keys
        self.away = next((each for each in answers if isinstance(each, OUTAGE)), None)
        about_keys = [answer for question, answer in zip(asked, answers, strict=True) if question.key]
        self.is_closed = all(isinstance(each, PermissionMissing) for each in about_keys)
        self._answers: dict[str, Any] = {}
        for question, answer in zip(asked, answers, strict=True):
            if not isinstance(answer, HeadraceError):
                self._answers[question.check] = answer
            elif self.away is None:
                notes.refused(question.check, question.key, answer)

    def __getitem__(self, check: str) -> Any:
        """Return an answer; None if there is none."""
        return self._answers.get(check)

    def has(self, check: str) -> bool:
        """Return whether there is an answer."""
        return check in self._answers

    @property
    def server(self) -> dict[str, str]:
        """What its server says of itself; empty if it may not be asked."""
        found: dict[str, str] = self._answers.get("server", {})
        return found

    @property
    def now_ms(self) -> int:
        """The server's time; 0 if it may not be asked."""
        return int(self._answers.get("time", 0))

    @property
    def is_unused(self) -> bool:
        """Nothing was ever sent, registered or executed in it; false if this user may not see that."""
        asked = (*_TRACES, "meta")  # the number of partitions is there, as a client that only looks stores it as well
        return all(map(self.has, asked)) and not any(map(self.__getitem__, _TRACES)) and not any(self["meta"])

    @property
    def live(self) -> list[str]:
        """The workers whose leases run."""
        return sorted(name for name, end in (self["leases"] or {}).items() if name and end > self.now_ms)


def look_at(partition: Partition, where: str, notes: Notes) -> None:
    """Note what stands still in a partition; `where` is its name in a sentence, empty for the only one."""
    if not partition.now_ms:
        return
    _look_at_events(partition, where, notes)
    _look_at_due(partition, where, notes)
    _look_at_leases(partition, where, notes)
    if partition.live:
        _look_at_duties(partition, where, notes)


def look_for_workers(partitions: Sequence[Partition], notes: Notes) -> None:
    """Note if no worker is alive, or nobody has ever used the namespace; a worker serves all partitions."""
    namespace = partitions[0].keys.namespace
    if all(each.is_unused for each in partitions):
        notes.add(
            "error", "namespace",
            f"namespace {namespace!r} has never been used: nothing was sent, registered or executed in it",
            "name the one that is meant with --namespace or HEADRACE_NAMESPACE, and its server with --url or "
            "HEADRACE_URL; or start its first worker: headrace worker MODULE:APP",
            namespace=namespace,
        )  # fmt: skip
    elif all(each["leases"] is not None and each.now_ms for each in partitions) and not any(p.live for p in partitions):
        notes.add(
            "error", "workers", "no worker is alive: nothing is dispatched, executed or promoted",
            "headrace worker MODULE:APP",
        )  # fmt: skip


def _look_at_events(partition: Partition, where: str, notes: Notes) -> None:
    added_ms = partition["events"]
    if added_ms is not None and (age_ms := partition.now_ms - added_ms) > LATE_MS:
        count = partition["waiting events"]
        notes.add(
            "error", "events", f"the oldest of {count:,} events waits for dispatch for {age_ms // 1000:,} s now{where}",
            "start workers, or more of them: headrace worker MODULE:APP --processes N",
            waiting=count, oldest_s=age_ms / 1000, partition=partition.keys.partition,
        )  # fmt: skip


def _look_at_due(partition: Partition, where: str, notes: Notes) -> None:
    for first in partition["due"] or ():
        if (late_ms := partition.now_ms - first.due_ms) > LATE_MS:
            notes.add(
                "error", "due", f"what was due {late_ms // 1000:,} s ago is not promoted{where}",
                "a leader promotes it: restart the leader, or start a worker; headrace delayed list shows what waits",
                overdue_s=late_ms / 1000, partition=partition.keys.partition,
            )  # fmt: skip


def _look_at_leases(partition: Partition, where: str, notes: Notes) -> None:
    now_ms = partition.now_ms
    ended = {name: now_ms - end for name, end in (partition["leases"] or {}).items() if name}
    late = sorted(name for name, ago_ms in ended.items() if ago_ms > LATE_MS)
    known = [ended[name] for name in late if ended[name] < now_ms]  # a lease that was ended at once has no time
    if late:
        notes.add(
            "error", "leases", f"the runs of {named(late)} are not rescued{where}, though the lease has expired",
            "a leader rescues them: start a worker of any app of the namespace",
            workers=late, expired_s=max(known) / 1000 if known else None, partition=partition.keys.partition,
        )  # fmt: skip


def _look_at_duties(partition: Partition, where: str, notes: Notes) -> None:
    """Note which duties no live worker has, though there are some."""
    leader, dispatchers = partition["leader"], partition["dispatchers"]
    restart = "look for errors in the workers' logs, and restart one of them"
    dispatching = f"{restart}; if all have --dispatchers 0, start one without it"
    facts = {"workers": partition.live, "partition": partition.keys.partition}
    if partition.has("leader") and (leader is None or leader[1] <= partition.now_ms):
        says = f"no worker leads{where}: nothing is promoted or rescued"
        notes.add("error", "leader", says, restart, **facts)
    if dispatchers is not None and not any(end > partition.now_ms for end in dispatchers.values()):
        says = f"no worker has a dispatcher slot{where}: no event is dispatched"
        notes.add("error", "dispatchers", says, dispatching, **facts)
