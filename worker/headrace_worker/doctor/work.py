"""Finds queues without a worker, paused queues, disabled jobs, routes and records that can't be read, dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from headrace import DamagedRecord, HeadraceError
from headrace.calls.controlling import UNKNOWN_MS
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists.dead_letters import DeadLetterFilter, list_dead_letters
from headrace.lists.events import EventFilter, list_events
from headrace.model.page import DamagedEntry
from headrace.plans.plan import Plan
from headrace_worker.doctor.asking import read_served
from headrace_worker.doctor.finding import Notes, runs_are
from headrace_worker.doctor.partition import Partition
from headrace_worker.inspect.stored_routes import read_stored
from headrace_worker.protocol.measuring import count_entries

_PAGE = 100
_MOST = 1_000
"""How many queues, or live workers, of a partition are asked about."""


def look_at_queues(partitions: Sequence[Partition], notes: Notes) -> Plan[None]:
    """Note each queue that has runs and no live worker, and those that are paused."""
    queues = [(each.keys, name) for each in partitions for name in (each["queues"] or [])[:_MOST] if "/" in name]
    workers = [(each.keys, name) for each in partitions for name in each.live[:_MOST]]
    streams = [keys.queue(*name.split("/", 1)) for keys, name in queues]
    answers = yield [*map(count_entries, streams), *(read_served(keys, name) for keys, name in workers)]
    waiting, served = Counter[str](), set[str]()
    is_known = all(each["leases"] is not None and len(each.live) <= _MOST for each in partitions)
    for (_, queue), stream, answer in zip(queues, streams, answers, strict=False):
        if isinstance(answer, HeadraceError):
            notes.refused("queues", stream, answer)
        else:
            waiting[queue] += answer
    for (keys, worker), answer in zip(workers, answers[len(queues) :], strict=True):
        if isinstance(answer, HeadraceError):
            notes.refused("workers", keys.worker(worker), answer)
            is_known = False
        else:
            served.update(answer)
    _note_paused(partitions, waiting, notes)
    if not is_known or any(len(each["queues"] or ()) > _MOST for each in partitions):
        notes.miss("backlog", f"the queues of some workers are not known, or there are more than {_MOST:,}")
    for queue, count in waiting.items() if is_known else ():
        if count and queue not in served:
            notes.add(
                "error", "backlog", f"{runs_are(count)} in queue {queue}, from which no live worker takes",
                f"start a worker of app {queue.partition('/')[0]} that takes from it, as quiet ones do not: headrace "
                f"worker MODULE:APP; or, if the app is forgotten, headrace queues purge {queue}",
                queue=queue, waiting=count,
            )  # fmt: skip


def _note_paused(partitions: Sequence[Partition], waiting: Mapping[str, int], notes: Notes) -> None:
    controls = {queue: control for each in partitions for queue, control in (each["controls"] or {}).items()}
    for queue, pause in sorted(controls.items()):
        if not pause.paused_ms:
            continue
        count, why = waiting.get(queue, 0), f": {pause.reason}" if pause.reason else ""
        since = None if pause.paused_ms == UNKNOWN_MS else from_millis(pause.paused_ms)
        notes.add(
            "warning", "paused", f"queue {queue} is paused, and {runs_are(count)} in it{why}",
            f"headrace queues resume {queue}",
            queue=queue, waiting=count, since=since, reason=pause.reason,
        )  # fmt: skip


def look_at_routes(keys: Sequence[Keys], notes: Notes) -> Plan[None]:
    """Note routes that can't be read, and disabled jobs."""
    stored = yield from read_stored(keys)
    for damaged in stored.damaged:
        notes.add(
            "error", "routes", f"app {damaged.id}, {damaged.error}",
            "upgrade the workers that dispatch, or start workers of the app anew: they register it again",
            app=damaged.id,
        )  # fmt: skip
    disabled = {f"{each.app}/{job}": found for each in stored.routes for job, found in each.disabled().items()}
    for job, found in disabled.items():
        why = f": {found.reason}" if found.reason else ""
        notes.add(
            "warning", "jobs", f"job {job} is disabled and gets no runs{why}", f"headrace jobs enable {job}",
            job=job, since=found.since, reason=found.reason,
        )  # fmt: skip


def look_at_dead_letters(partitions: Partitions, notes: Notes) -> Plan[None]:
    """Note the newest dead letters by their reasons and jobs."""
    page = yield from list_dead_letters(partitions, DeadLetterFilter(), None, _PAGE)
    alike = Counter((letter.reason, letter.job) for letter in page.items)
    for (reason, job), count in alike.most_common():
        whose = f" of {job}" if job else ""
        says = f"{count} of the newest {len(page.items)} dead letters{whose}: {reason}"
        notes.add(
            "info", "dead", says, _mend(reason, job),
            reason=reason, job=job, count=count,
        )  # fmt: skip
    _note_damaged(page.damaged, notes)


def _mend(reason: str, job: str | None) -> str:
    if job is None:
        return "headrace dead show ID, then headrace dead discard ID: it belongs to no run that could be retried"
    then = f"headrace dead groups --job {job}, then headrace dead retry --job {job}"
    if reason == "invalid_payload":
        return f"{then} once the job takes such payloads, or headrace dead discard --job {job}"
    return then


def look_at_records(partitions: Partitions, notes: Notes) -> Plan[None]:
    """Note what can't be read among the newest events."""
    page = yield from list_events(partitions, EventFilter(), None, _PAGE)
    _note_damaged(page.damaged, notes)


def _note_damaged(damaged: Sequence[DamagedEntry], notes: Notes) -> None:
    for each in damaged:
        if not each.id.startswith("headrace:{"):  # a key: it is noted as foreign
            says, _, advice = each.error.partition(DamagedRecord.WRITTEN)
            key = advice.partition(": ")[0]
            then = f"DEL {key}, then send the event again if needed" if key else "docs/operations.md says the rest"
            notes.add("warning", "records", says, f"find the program that writes there; {then}", id=each.id)
