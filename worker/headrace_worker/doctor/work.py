"""Finds disabled jobs, routes and records that can't be read, dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from headrace import DamagedRecord
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists.dead_letters import DeadLetterFilter, list_dead_letters
from headrace.lists.events import EventFilter, list_events
from headrace.model.page import DamagedEntry
from headrace.plans.plan import Plan
from headrace_worker.doctor.finding import Notes
from headrace_worker.inspect.stored_routes import read_stored

_PAGE = 100


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
    if reason == "lost":
        what = f"--job {job} --reason lost"
        return (
            f"headrace dead list {what}, then headrace dead show ID: its workers died, and may die again; once that "
            f"is mended headrace dead retry {what}, otherwise headrace dead discard {what}"
        )
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
