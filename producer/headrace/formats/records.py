"""Reads what is remembered of events and runs. Pure; it knows no keys and no server.

A record's header (field `m`) is `<token> <id kind> <due ms> <delivered ms> <canceled ms> <runs>`, a dash for
runs until dispatch; a `+` before the token says that field `d` has the ms for which the id is remembered at least, and
older releases take it for a part of the token. A run's field (`r:<app>/<job id>`) is
`<status> <attempt> <lost> <unknown since ms> <replay> <queue> <entry> <worker> <started ms> <finished ms>`,
then, where there is an error or an output, a line feed and what `codec.encode_outcome` makes of both. The scripts
read and write the same texts.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from headrace.errors import UndecodableEvent
from headrace.formats.codec import (
    FORMAT,
    MAX_MILLIS,
    STATUS_OF,
    StoredEvent,
    decode_contents,
    decode_event,
    decode_name,
    decode_outcome,
    from_micros,
    from_millis,
)
from headrace.formats.seal import Seal
from headrace.formats.trails import decode_attempts, decode_sent
from headrace.model.event import EventRecord, EventStatus, RunRecord, Sealed
from headrace.model.ids import run_id
from headrace.model.page import DamagedEntry


class Header(msgspec.Struct, frozen=True):
    """The first lines of an event's record."""

    token: str
    id_kind: str
    due_ms: int
    delivered_ms: int
    canceled_ms: int
    runs: int | None

    @property
    def status(self) -> EventStatus:
        """Where the event is in its life, as far as its header says: a settled event is `dispatched`."""
        if self.canceled_ms:
            return "canceled"
        if not self.delivered_ms:
            return "delayed"
        return "pending" if self.runs is None else "dispatched"


def decode_header(text: bytes) -> Header:
    """Return a record's header; raise UndecodableEvent where it is damaged."""
    try:
        token, kind, due, delivered, canceled, runs = text.decode("ascii").split(" ")
        count = None if runs == "-" else int(runs)
        header = Header(token, kind, int(due), int(delivered), int(canceled), count)
        _check_millis(header.due_ms, header.delivered_ms, header.canceled_ms)
    except ValueError as exc:
        raise UndecodableEvent(f"the record's header {text[:80]!r} is damaged") from exc
    return header


def _check_millis(*moments: int) -> None:
    for moment in moments:
        if not 0 <= moment <= MAX_MILLIS:
            raise ValueError(f"{moment} ms is not within the years 1970 to 9999")


def _moment(millis: int) -> datetime | None:
    return from_millis(millis) if millis else None


def decode_run(  # noqa: PLR0913 - a run has these fields
    event_id: str,
    field: bytes,
    value: bytes,
    seal: Seal | None = None,
    *,
    event_name: str | None = None,
    attempts: bytes | None = None,
    sent: bytes | None = None,
) -> RunRecord:
    """Return the record of a run from its field `r:<job>`; raise UndecodableEvent where it is damaged.

    Args:
        attempts: the field `a:<job>`, if there is one.
        sent: the field `c:<job>`, if there is one.
    """
    line, _, blob = value.partition(b"\n")
    try:
        job = field.removeprefix(b"r:").decode()
        status, attempt, lost, _, _, queue, _, worker, started, finished = line.decode("ascii").split(" ")
        run = run_id(event_id, job)
        error, output = decode_outcome(blob, run, seal)
        if isinstance(output, Sealed) and status != "s":
            error, output = output.as_error(), None
        _check_millis(int(started), int(finished))
        return RunRecord(
            id=run,
            event_id=event_id,
            event_name=event_name,
            job=job,
            status=STATUS_OF[status],
            attempt=int(attempt),
            lost=int(lost),
            queue=queue,
            started_at=_moment(int(started)),
            finished_at=_moment(int(finished)),
            worker=None if worker == "-" else worker,
            error=error,
            output=output,
            attempts=decode_attempts(attempts, run, seal),
            sent_events=decode_sent(sent),
        )
    except (ValueError, KeyError, OverflowError) as exc:
        raise UndecodableEvent(f"the record of the run {field[:80]!r} of event {event_id!r} is damaged") from exc


def decode_runs(event_id: str, fields: dict[bytes, bytes], seal: Seal | None = None) -> list[RunRecord | DamagedEntry]:
    """Return the runs of an event from its hash, by job, and what is left of those that are damaged."""
    runs: dict[bytes, RunRecord | DamagedEntry] = {}
    name = decode_name(fields.get(b"e"))
    for field in sorted(field for field in fields if field.startswith(b"r:")):
        try:
            runs[field] = decode_run(
                event_id, field, fields[field], seal,
                event_name=name, attempts=fields.get(b"a" + field[1:]), sent=fields.get(b"c" + field[1:]),
            )  # fmt: skip
        except UndecodableEvent as exc:
            job = field.removeprefix(b"r:").decode("utf-8", "backslashreplace")
            runs[field] = DamagedEntry(run_id(event_id, job), str(exc))
    return list(runs.values())


def decode_ordering_key(value: bytes | None) -> str | None:
    """Return the ordering key of a record, None if it has none; raise UndecodableEvent where it is damaged."""
    try:
        return value.decode() if value else None
    except UnicodeDecodeError as exc:
        raise UndecodableEvent(f"the record's ordering key {value!r:.80} is damaged") from exc


def decode_record(event_id: str, fields: dict[bytes, bytes], seal: Seal | None = None) -> EventRecord:
    """Return an event's record from its hash; raise UndecodableEvent where anything in it is damaged.

    A record whose contents were dropped by `retention=0` has only its header: name and payload are gone.
    """
    header = decode_header(fields[b"m"])
    body = fields.get(b"e")
    event = decode_event(body) if body is not None else StoredEvent(v=FORMAT, n="", t=0)
    payload, context = decode_contents(event, event_id, seal)
    found = decode_runs(event_id, fields, seal)
    damaged = [run.error for run in found if isinstance(run, DamagedEntry)]
    if damaged:
        raise UndecodableEvent(damaged[0])
    runs = [run for run in found if isinstance(run, RunRecord)]
    is_settled = header.status == "dispatched" and all(run.is_settled for run in runs)
    return EventRecord(
        id=event_id,
        name=event.n,
        payload=payload,
        context=context,
        timestamp=from_micros(event.t),
        source=event.s,
        account_id=event.a,
        to_job=event.j,
        replay_of=event.r,
        ordering_key=decode_ordering_key(fields.get(b"k")),
        headers=event.h or {},
        parent_run=event.u,
        status="settled" if is_settled else header.status,
        deliver_at=_moment(header.due_ms),
        delivered_at=_moment(header.delivered_ms),
        canceled_at=_moment(header.canceled_ms),
        runs=runs,
    )
