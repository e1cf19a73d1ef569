"""Sends the events of a file, each a line of JSON; all are checked before the first is sent."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Self

import msgspec

from headrace import Client, Event, HeadraceError, InvalidArgument, InvalidEvent, SendOptions, SentEvent
from headrace.plans.prepare import prepare

BATCH_EVENTS = 500


class BadLine(InvalidArgument):
    """A line is no event that can be sent; nothing was sent. `line` is the line's number, from 1."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__("file", reason, f"line {line}: {reason}; nothing was sent")


class SendingStopped(HeadraceError):
    """A batch could not be sent, so no later batch was tried.

    Attributes:
        sent: how many events are known to be with the server.
        first: the number of the batch's first line.
        last: the number of the batch's last line.
    """

    def __init__(self, sent: int, first: int, last: int, cause: HeadraceError) -> None:
        self.sent = sent
        self.first = first
        self.last = last
        super().__init__(
            f"lines {first} to {last}: {cause}; {sent} events were sent, lines from {last + 1} on were not"
        )


class EventFile:
    """Checked events, all of which can be sent."""

    def __init__(self, lines: Sequence[tuple[int, bytes]], options: SendOptions) -> None:
        self._lines = lines
        self._options = options

    @classmethod
    def read(cls, file: Iterable[bytes], options: SendOptions) -> Self:
        """Return the events of a file's lines; skip empty lines and a byte order mark.

        Raises:
            BadLine: the first line that is no event.
        """
        lines = [(number, line) for number, line in enumerate(_without_mark(file), 1) if line.strip()]
        for number, line in lines:
            try:
                prepare([_decode(line)], options, now=lambda: datetime.now(UTC), numbered=False)
            except UnicodeDecodeError as exc:
                raise BadLine(number, f"is no UTF-8, at byte {exc.start}: {exc.reason}") from exc
            except RecursionError as exc:
                raise BadLine(number, "is nested too deep") from exc
            except msgspec.MsgspecError as exc:
                raise BadLine(number, _without_root(str(exc))) from exc
            except InvalidEvent as exc:
                raise BadLine(number, f"{exc.field}: {exc.reason}") from exc
        return cls(lines, options)

    def __len__(self) -> int:
        return len(self._lines)

    def send(self, client: Client) -> Iterator[list[SentEvent]]:
        """Send the events, and yield the answers to each batch.

        Raises:
            SendingStopped: a batch failed; names its lines, and how many events were sent.
        """
        sent = 0
        for start in range(0, len(self._lines), BATCH_EVENTS):
            batch = self._lines[start : start + BATCH_EVENTS]
            try:
                answers = client.send_events(
                    [_decode(line) for _, line in batch], **msgspec.structs.asdict(self._options)
                )
            except HeadraceError as exc:
                sent += len(getattr(exc, "sent", ()))
                raise SendingStopped(sent, batch[0][0], batch[-1][0], exc) from exc
            sent += len(answers)
            yield answers


def _without_mark(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file without the byte order mark that some editors write."""
    for place, line in enumerate(file):
        yield line.removeprefix(codecs.BOM_UTF8) if place == 0 else line


_decode = msgspec.json.Decoder(Event).decode


def _without_root(message: str) -> str:
    """Return msgspec's message with paths as the file's author knows them: `.payload` for `$.payload`."""
    return message.replace("`$.", "`").replace(" - at `$`", "")
