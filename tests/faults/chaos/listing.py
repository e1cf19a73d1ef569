"""Follows the server's listing of what settled, so that each settling is in the history, even one it forgets later."""

from __future__ import annotations

import contextlib
from typing import Any

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.formats.codec import STATUS_LETTER
from headrace.formats.keys import Keys
from headrace.transport.single import Transport
from tests.faults.chaos.history import Diary, Settled, now

_STATUS = {letter.encode(): status for status, letter in STATUS_LETTER.items()}
_PAGE = 1_000
_Entry = tuple[bytes, list[bytes]]


class Listing:
    """Reads the new entries of `runs` when asked to."""

    def __init__(self, url: str, keys: Keys, diary: Diary) -> None:
        self._transport = Transport(url, attempts=1)
        self._stream = keys.runs
        self._diary = diary
        self._last = "0-0"

    def follow(self) -> None:
        """What has settled so far is in the history, if the server can be asked."""
        with contextlib.suppress(HeadraceError):
            while entries := self._next_page():
                at = now()["at"]
                self._diary.add(*(line for entry in entries for line in _settled(at, entry)))
                self._last = entries[-1][0].decode()

    def close(self) -> None:
        """The connection is closed."""
        self._transport.close()

    def _next_page(self) -> list[_Entry]:
        def read(reply: Any) -> list[_Entry]:
            return [(entry_id, pairs) for entry_id, pairs in reply]

        call = Call(("XRANGE", self._stream, f"({self._last}", "+", "COUNT", _PAGE), read)
        page: list[_Entry] = self._transport.run([call])[0]
        return page


def _settled(at: float, entry: _Entry) -> list[Settled]:
    """Return the runs of an entry: pairs of run and status, of which two may be of the same run."""
    ms = int(entry[0].partition(b"-")[0])
    pairs = zip(entry[1][::2], entry[1][1::2], strict=True)
    return [Settled(at=at, ms=ms, run=run.decode(), status=_STATUS[letter]) for run, letter in pairs]
