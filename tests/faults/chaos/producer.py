"""A producer in a process of its own: `python -m tests.faults.chaos.producer SEED RATE KEYS`, until SIGTERM.

What it sends is drawn from its seed; some of it has one of so many ordering keys, which are its own. A send that fails
is tried again with the same ids, or given up; whether its events arrived is not known then. HEADRACE_CHAOS_DIARY names
the folder of the diaries.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ulid import ULID

from headrace import Client, Event, HeadraceError, NotFound
from tests.faults.chaos.app import RETENTION, STEP, jobs_of
from tests.faults.chaos.history import Acknowledged, Canceled, Diary, Repeated, Sending, now

_TRIES = 3
_NAMES = {"load": 200, "parent": 20, "doomed": 10, "long": 10, "deaf": 3, "block": 1, STEP: 40}
"""What is sent how often."""
_OWN_IDS = "chaos é {} \r\n:/"
_REPEATED_AFTER_S = 1.0


class Sender:
    """Sends events and writes down what became of each."""

    def __init__(self, client: Client, diary: Diary, rng: random.Random) -> None:
        self._client = client
        self._diary = diary
        self._rng = rng
        self._delivered: list[tuple[float, Event]] = []

    def send(self, name: str, count: int = 1, delay_s: float = 0.0, key: str = "") -> list[Sending]:
        """The events are with the server, or given up after three tries; returns them."""
        events = [self._event(name) for _ in range(count)]
        delay_ms = round(delay_s * 1000)
        lines = []
        for event in events:
            jobs = jobs_of(name, event.payload)
            lines.append(Sending(**now(), id=str(event.id), name=name, jobs=jobs, delay_ms=delay_ms, key=key))
        self._diary.add(*lines)
        for _ in range(_TRIES):
            try:
                self._send(events, delay_s, key)
                break
            except HeadraceError:
                time.sleep(0.2)
        return lines

    def cancel(self, event_id: str) -> None:
        """The delayed event is canceled, if the server says so."""
        try:
            record = self._client.cancel_event(event_id)
        except (HeadraceError, NotFound):
            return
        if record.status == "canceled":
            self._diary.add(Canceled(**now(), id=event_id))

    def repeat(self) -> None:
        """An event that was delivered a while ago is sent again with its id."""
        while self._delivered and self._delivered[0][0] < time.monotonic() - _REPEATED_AFTER_S:
            _, event = self._delivered.pop(0)
            if self._rng.random() < 0.02:
                try:
                    (sent,) = self._client.send_events([event])
                except HeadraceError:
                    continue
                self._diary.add(Repeated(**now(), id=str(event.id), duplicate=sent.duplicate))

    def _send(self, events: Sequence[Event], delay_s: float, key: str) -> None:
        options: dict[str, Any] = {}
        if delay_s:
            options["deliver_after"] = delay_s
        if key:  # a release that knows of no keys is not asked for them
            options["ordering_key"] = key
        answers = self._client.send_events(events, **options)
        lines = [
            Acknowledged(
                **now(),
                id=sent.id,
                due_ms=_millis(sent.deliver_at),
                delivered_ms=_millis(sent.delivered_at),
                duplicate=sent.duplicate,
            )
            for sent in answers
        ]
        self._diary.add(*lines)
        if not (delay_s or key):
            self._delivered += [(time.monotonic(), event) for event in events]

    def _event(self, name: str) -> Event:
        number = self._rng.randrange(12)
        event_id = str(ULID())
        if self._rng.random() < 0.1:
            event_id = _OWN_IDS.format(event_id)
        size = 20_000 if self._rng.random() < 0.01 else self._rng.randrange(200)
        payload: dict[str, Any] = {"n": number, "third": number % 3 == 0, "text": "x" * size}
        return Event(name, payload=payload, id=event_id)


def _millis(moment: Any) -> int:
    return round(moment.timestamp() * 1000) if moment is not None else 0


@contextmanager
def _operating(diary: Diary, seed: int) -> Iterator[Callable[[Sequence[Sending]], None]]:
    """Yield what cancels runs of events and replays some; with a release that knows of neither nothing is done."""
    if not hasattr(Client, "cancel_run"):
        yield lambda _: None
        return
    from tests.faults.chaos.operator import Operator

    operator = Operator(diary, random.Random(seed))
    yield operator.operate
    operator.close()


def main(seed: int, rate: float, keys: int) -> None:
    """Return when SIGTERM has come and what was begun is done."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    rng = random.Random(seed)
    diary = Diary(Path(os.environ["HEADRACE_CHAOS_DIARY"]))
    with Client(retention=RETENTION) as client, _operating(diary, seed) as operate:
        sender = Sender(client, diary, rng)
        often = {name: weight for name, weight in _NAMES.items() if keys or name != STEP}
        names, weights = list(often), list(often.values())
        delayed: list[tuple[float, str]] = []
        while not over.is_set():
            name = rng.choices(names, weights)[0]
            is_many = name in ("load", STEP)
            count = rng.choice((1, 1, 2, 5, 10)) if is_many else 1
            delay_s = rng.uniform(0.05, 5.0) if is_many and rng.random() < 0.25 else 0.0
            key = f"{seed} é {{}}:{rng.randrange(keys)}" if name == STEP else ""
            sent = sender.send(name, count, delay_s, key)
            operate(sent)
            if delay_s > 2 and rng.random() < 0.3:
                delayed.append((time.monotonic() + rng.uniform(0, delay_s), sent[0].id))
            while delayed and delayed[0][0] <= time.monotonic():
                sender.cancel(delayed.pop(0)[1])
            sender.repeat()
            over.wait(rng.expovariate(1) * count / rate)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
