"""What is stored of a run beside its state: its last ten attempts, and the events that it has sent. Pure.

A record's field `a:<app>/<job id>` has a line an attempt, oldest first: `<number> <kind> <worker> <started ms>
<ended ms> <note>`. A note is a dash, the error's type and message as a JSON array, behind `=` the base64 of what a
codec has made of that array, or behind `~` the base64 of the whole outcome as the run's field had it. Field
`c:<app>/<job id>` is a JSON array of the ids of events. A line or a field that can't be read is left out: neither is
part of any guarantee, and a later release may have other kinds.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, get_args

import msgspec

from headrace.errors import SealedEvent
from headrace.formats.codec import MAX_MILLIS, decode_outcome, from_millis
from headrace.formats.seal import NO_CODEC, Seal
from headrace.model.event import Attempt, AttemptKind, RunError, Sealed

MAX_SENT: Final = 100
"""So many events of a run are named in its record."""
_MESSAGE_BYTES = 256
_SENT_BYTES = 8_192
_OUTCOME_BYTES = 12_288
"""What workers record of an error is rarely longer, with what a codec adds to it."""
_PART = "attempt"

_note_decoder = msgspec.json.Decoder(tuple[str, str])
_sent_decoder = msgspec.json.Decoder(list[str])


def encode_note(error: RunError | None, run: str, seal: Seal | None) -> str:
    """Return the note of an attempt's error; raise whatever the codec does."""
    if error is None:
        return "-"
    note = msgspec.json.encode((_cut(error.type), _cut(error.message)))
    return note.decode() if seal is None else "=" + b64encode(seal.close(note, _PART, run)).decode("ascii")


def note_of_outcome(outcome: bytes, run: str, seal: Seal | None) -> str:
    """Return the note of the attempt that a run ended with, from the outcome that the run's field holds.

    What can't be opened here, or not be sealed again, is kept as it is stored, or left out if it is too long.
    """
    error, output = decode_outcome(outcome, run, seal)
    if not isinstance(output, Sealed):
        with suppress(Exception):  # the application's codec may raise anything
            return encode_note(error, run, seal)
    if len(outcome) <= _OUTCOME_BYTES:
        return "~" + b64encode(outcome).decode("ascii")
    why = f"its {len(outcome):,} bytes are too many for an attempt, and the retry could not open or seal them"
    return encode_note(RunError("NotKept", why), run, None)


def _cut(text: str) -> str:
    return text.encode()[:_MESSAGE_BYTES].decode("utf-8", "ignore")


def encode_sent(ids: Sequence[str]) -> str:
    """Return the ids of the first events that a run has sent, as they are stored."""
    named, size = list(dict.fromkeys(ids))[:MAX_SENT], 0
    kept: list[str] = []
    for each in named:
        size += len(each.encode())
        if size > _SENT_BYTES:
            break
        kept.append(each)
    return msgspec.json.encode(kept).decode()


def decode_sent(value: bytes | None) -> list[str]:
    """Return the ids of the events that a run has sent."""
    try:
        return _sent_decoder.decode(value) if value else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def decode_attempts(value: bytes | None, run: str, seal: Seal | None) -> list[Attempt]:
    """Return the attempts of a run, oldest first."""
    if not value:
        return []
    attempts = (_decode_line(line, run, seal) for line in value.split(b"\n"))
    return [attempt for attempt in attempts if attempt is not None]


def _decode_line(line: bytes, run: str, seal: Seal | None) -> Attempt | None:
    try:
        number, kind, worker, started, ended, note = line.decode().split(" ", 5)
        moments = [int(started), int(ended)]
        if kind not in get_args(AttemptKind) or not all(0 <= moment <= MAX_MILLIS for moment in moments):
            return None
        return Attempt(
            number=int(number),
            kind=kind,  # type: ignore[arg-type] # it is one of them
            worker=None if worker == "-" else worker,
            started_at=from_millis(moments[0]) if moments[0] else None,
            ended_at=from_millis(moments[1]),
            error=_decode_note(note, run, seal),
        )
    except ValueError:  # msgspec's and base64's are such
        return None


def _decode_note(note: str, run: str, seal: Seal | None) -> RunError | None:
    if note == "-":
        return None
    if note.startswith("~"):
        error, output = decode_outcome(b64decode(note[1:]), run, seal)
        if isinstance(output, Sealed):
            return output.as_error()
        return error and RunError(_cut(error.type), _cut(error.message))
    if note.startswith("="):
        sealed = b64decode(note[1:])
        if seal is None:
            return Sealed(sealed, NO_CODEC).as_error()
        try:
            note = seal.open(sealed, _PART, run).decode()
        except SealedEvent as exc:
            return Sealed(sealed, str(exc)).as_error()
    return RunError(*_note_decoder.decode(note))
