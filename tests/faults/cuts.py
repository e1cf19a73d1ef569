"""Where a line can be cut: at every request, before it, within it, before its reply and within that."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Literal

from headrace.scripts import load
from tests.support.proxy import Cut, has_data

CutPoint = Literal["before the request", "within the request", "before the reply", "within the reply"]
CUT_POINTS: tuple[CutPoint, ...] = ("before the request", "within the request", "before the reply", "within the reply")

_READS = ("XREADGROUP", "take", "BLPOP")
_TRIAL = b":scratch:"
"""A part of the keys on which a worker tries at its start what its user may do."""


class ChosenCut(Cut):
    """Cut the line at each request that a function chooses by the request's kind; keep where that was."""

    def __init__(self, point: CutPoint, choose: Callable[[str], bool]) -> None:
        """Cut nothing yet.

        Args:
            choose: is asked once for each request, with its kind.
        """
        kind: Literal["request", "reply"] = "reply" if "reply" in point else "request"
        super().__init__(b"", kind, times=1_000_000, is_within="within" in point)
        self._choose = choose
        self._turn = threading.Lock()
        self.kinds: Counter[str] = Counter()
        """The kinds of the requests at which it has cut."""

    def fits(self, request: bytes) -> bool:
        """Accept every request: each is a candidate."""
        return bool(request)

    def take(self, request: bytes, reply: bytes | None = None) -> bool:
        """Cut here, if the function chooses this request."""
        kind = kind_of(request)
        if reply is not None and kind.startswith(_READS) and not kind.endswith("own"):
            kind += " with something" if has_data(reply) else " in vain"
        with self._turn:
            is_chosen = self._choose(kind)
            if is_chosen:
                self.kinds[kind] += 1
        return is_chosen and super().take(request)


def once_a_kind(ordinal: int, *, trials: bool) -> Callable[[str], bool]:
    """Return what chooses the request with this number, from 0, of each kind; or none of the checks at a start."""
    seen: Counter[str] = Counter()

    def choose(kind: str) -> bool:
        seen[kind] += 1
        return seen[kind] == ordinal + 1 and (trials or not kind.startswith("trial"))

    return choose


def each_nth(nth: int, first: int) -> Callable[[str], bool]:
    """Return what chooses each nth request after a worker's first renewal, as it might never start otherwise."""
    numbers = itertools.count()
    has_started = False

    def choose(kind: str) -> bool:
        nonlocal has_started
        has_started = has_started or kind == "renew"
        return has_started and next(numbers) % nth == first

    return choose


def kind_of(request: bytes) -> str:
    """Return the kind of a request: a script's verb, or a command with what sets it apart from others of its name."""
    return f"trial of {_name_of(request)}" if _TRIAL in request else _name_of(request)


def _name_of(request: bytes) -> str:
    parts = request.split(b"\r\n")[2::2]
    name = parts[0].decode().upper()
    if name in {"EVALSHA", "EVAL"}:
        return _verbs().get(parts[1], "script") + (" whole" if name == "EVAL" else "")
    if name == "XREADGROUP":
        what = "new" if parts[-1] == b">" else "own"
        return f"{name} {parts[2].decode()} {what}"
    return f"{name} {parts[1].decode()}" if name == "CLIENT" else name


@cache
def _verbs() -> dict[bytes, str]:
    names = [path.name for path in files("headrace.scripts").iterdir()]
    verbs = [load(name[:-4]) for name in names if name.endswith(".lua") and not name.startswith("_")]
    return {key: verb.name for verb in verbs for key in (verb.sha.encode(), verb.text.encode())}
