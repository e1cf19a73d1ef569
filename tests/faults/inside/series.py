"""Plays many faults from inside, several at once, as they mostly wait."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.faults.inside.fault import KINDS, LIVES, Kind, Life
from tests.faults.inside.places import room_of
from tests.faults.inside.scenario import Case, Result, reached_places, run_scenario

_SEED = 1
"""Chooses the places of the short series; the same ones each time, as long as the code has them."""


def lives_by_place(folder: Path, binary: Path | None = None, lives: Sequence[Life] = LIVES) -> dict[str, Life]:
    """Return the places that a started worker reaches, and in which life; the first that does."""
    with ThreadPoolExecutor(len(lives)) as threads:
        reached = list(threads.map(lambda life: reached_places(folder / f"reached-{life}", life, binary), lives))
    found: dict[str, Life] = {}
    for life, found_with in zip(lives, reached, strict=True):
        for place in found_with:
            found.setdefault(place, life)
    return found


def all_cases(lives: dict[str, Life], kinds: Sequence[Kind] = KINDS) -> list[Case]:
    """Return each of these places with each kind of fault."""
    return [Case(place, kind, life) for kind in kinds for place, life in sorted(lives.items())]


def short_series(lives: dict[str, Life], most: int) -> list[Case]:
    """Return one place of each of so many rooms, drawn from those that are reached, with the kinds in turn."""
    draw = random.Random(_SEED)
    by_room: dict[str, list[str]] = {}
    for place in sorted(lives):
        by_room.setdefault(room_of(place), []).append(place)
    chosen = [draw.choice(of_room) for _, of_room in sorted(by_room.items())]
    draw.shuffle(chosen)
    return [Case(place, KINDS[number % len(KINDS)], lives[place]) for number, place in enumerate(chosen[:most])]


def play_all(
    cases: Sequence[Case], folder: Path, at_once: int, binary: Path | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
) -> list[Result]:  # fmt: skip
    """Return what came of each fault, in the order in which they ended."""
    return list(_played(cases, folder, at_once, binary, on_result))


def _played(
    cases: Sequence[Case], folder: Path, at_once: int, binary: Path | None, on_result: Callable[[Result], None]
) -> Iterator[Result]:
    with ThreadPoolExecutor(at_once) as threads:
        waits = [
            threads.submit(run_scenario, case, folder / f"{number:04}-{case.kind.name}", binary)
            for number, case in enumerate(cases)
        ]
        try:
            for wait in as_completed(waits):
                on_result(wait.result())
                yield wait.result()
        finally:
            threads.shutdown(cancel_futures=True)
