"""Notes what an operator has done, and reads it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Call, as_fields, as_text
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.keys import Keys
from headrace.model.audit import AuditEntry

AUDIT_ENTRIES = 10_000
"""How many entries, about, are kept."""


class Note(msgspec.Struct, frozen=True):
    """What is noted; see `AuditEntry`."""

    who: str
    via: str
    verb: str
    asked: dict[str, Any]
    reason: str | None
    done: int
    failed: int
    left_out: int = 0


def note(keys: Keys, what: Note) -> Call[str]:
    """Note what was done; read the entry's id."""
    entry = ("XADD", keys.audit, "MAXLEN", "~", AUDIT_ENTRIES, "*", "v", msgspec.json.encode(what, enc_hook=str))
    return Call(entry, as_text)


def read_audit(keys: Keys, end: str | None, count: int, since: str) -> Call[list[AuditEntry]]:
    """Read entries, newest first, from the one before an id on; what can't be read is left out."""
    return Call(("XREVRANGE", keys.audit, f"({end}" if end else "+", since or "-", "COUNT", count), _read)


def _read(reply: list[Any]) -> list[AuditEntry]:
    return [_entry(as_text(entry_id), as_fields(fields)) for entry_id, fields in reply if fields is not None]


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> AuditEntry:
    try:
        found = msgspec.json.decode(fields.get(b"v", b""), type=Note)
    except (msgspec.DecodeError, UnicodeError) as exc:
        found = Note("-", "-", "unreadable", {"error": str(exc)}, None, 0, 0)
    at = from_millis(min(int(entry_id.partition("-")[0]), MAX_MILLIS))
    return AuditEntry(id=entry_id, at=at, **msgspec.structs.asdict(found))
