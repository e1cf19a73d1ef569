"""Which fault comes when and for how long: drawn from a seed, so that the same seed draws the same. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import msgspec

WARM_UP_S = 2.0
LAST_S = 5.0
LONGEST_SLOT_S = 2.3
"""One fault begins in each slot of time."""


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault.

    Attributes:
        shortest_s, longest_s: how long it lasts.
        is_servers: it happens to the server, and so never beside another that does.
        at_most: how often it may happen in one run.
        apart_from: the kind that would make it worthless, so it comes half a round before or after that.
    """

    shortest_s: float = 0.0
    longest_s: float = 0.0
    is_servers: bool = False
    at_most: int = 1_000_000
    apart_from: str = ""


class Step(msgspec.Struct, frozen=True):
    """A fault that is to begin at a time after the start, in seconds, and the number from which it draws the rest."""

    at_s: float
    kind: str
    lasts_s: float
    draw: int


def schedule(seed: int, duration_s: float, kinds: Mapping[str, Kind], last: Sequence[str] = ()) -> tuple[Step, ...]:
    """Return the faults of a run: every kind once in a random order, then every kind once more, until time is over.

    A run of a minute has every kind, however many there are. Those in `last` come once more at the end: a fault
    hidden in a live worker's pending entries shows only if no later fault kills the worker.
    """
    rng = random.Random(seed)
    slot_s = min((duration_s - WARM_UP_S - LAST_S) / len(kinds), LONGEST_SLOT_S)
    steps: list[Step] = []
    for place, kind in enumerate(_decks(rng, kinds)):
        at_s = WARM_UP_S + (place + rng.random()) * slot_s
        lasts_s = rng.uniform(kinds[kind].shortest_s, kinds[kind].longest_s)
        if at_s >= duration_s - LAST_S:
            break
        steps.append(Step(round(at_s, 3), kind, round(lasts_s, 3), rng.getrandbits(32)))
    slot_s = LAST_S / max(len(last), 1)
    for place, kind in enumerate(last):
        at_s = duration_s - LAST_S + place * slot_s
        steps.append(Step(round(at_s, 3), kind, kinds[kind].longest_s, rng.getrandbits(32)))
    return tuple(steps)


def _decks(rng: random.Random, kinds: Mapping[str, Kind]) -> Iterator[str]:
    left = {name: kind.at_most for name, kind in kinds.items()}
    while True:
        deck = [name for name in kinds if left[name] > 0]
        rng.shuffle(deck)
        _part(deck, kinds)
        for name in deck:
            left[name] -= 1
            yield name


def _part(deck: list[str], kinds: Mapping[str, Kind]) -> None:
    """Put each kind that needs it half a round away from the one that it names."""
    for name in [name for name in deck if kinds[name].apart_from in deck]:
        deck.remove(name)
        half = deck.index(kinds[name].apart_from) + (len(deck) + 1) // 2
        deck.insert(half % (len(deck) + 1), name)
