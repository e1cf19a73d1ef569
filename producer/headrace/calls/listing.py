"""What the pages of listings are read with: each function builds one call and says how its reply is read. Pure."""

from __future__ import annotations

from typing import Any

from headrace.calls.call import Call, as_text
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.formats.seal import Seal
from headrace.model.event import DeadLetter, Sealed
from headrace.model.ids import split_run_id


def read_dead(
    keys: Keys, cursor: str | None, count: int, seal: Seal | None = None, since: str = "-"
) -> Call[list[DeadLetter]]:
    """Read dead letters, newest first, from the one before the cursor on; `since` is the oldest that is read."""
    end = f"({cursor}" if cursor else "+"
    return Call(("XREVRANGE", keys.dead, end, since, "COUNT", count), lambda reply: _read_dead(reply, seal))


def read_dead_entry(keys: Keys, entry_id: str, seal: Seal | None = None) -> Call[list[DeadLetter]]:
    """Read one dead letter; none when it is not known."""
    return Call(("XRANGE", keys.dead, entry_id, entry_id), lambda reply: _read_dead(reply, seal))


def delete_dead_entry(keys: Keys, entry_id: str) -> Call[int]:
    """Delete one dead letter; read 0 when it is not known."""
    return Call(("XDEL", keys.dead, entry_id), int)


def _read_dead(reply: list[Any], seal: Seal | None) -> list[DeadLetter]:
    return [_read_dead_entry(as_text(entry_id), fields, seal) for entry_id, fields in reply if fields is not None]


def _read_dead_entry(entry_id: str, fields: list[bytes], seal: Seal | None) -> DeadLetter:
    values = {as_text(fields[i]): fields[i + 1] for i in range(len(fields) - 2, -1, -2)}
    run = as_text(values["run"]) if "run" in values else None
    parts = split_run_id(run) if run else None
    error, error_type = values.get("error", b""), None
    if run:
        outcome, sealed = codec.decode_outcome(error, run, seal)
        outcome = sealed.as_error() if isinstance(sealed, Sealed) else outcome
        error_text = f"{outcome.type}: {outcome.message}" if outcome else ""
        error_type = outcome.type if outcome else None
    else:
        error_text = as_text(error)
    return DeadLetter(
        id=entry_id,
        run_id=run,
        job=parts[1] if parts else None,
        reason=as_text(values.get("reason", b"unknown")),
        error=error_text,
        error_type=error_type,
        dead_at=codec.from_millis(min(int(entry_id.partition("-")[0]), codec.MAX_MICROS // 1000)),
        raw={name[4:]: value for name, value in values.items() if name.startswith("raw.")},
    )
