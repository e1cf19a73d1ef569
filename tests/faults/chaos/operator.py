"""Cancels some of the runs that a producer's events make, and replays some of the events."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from headrace import Client, HeadraceError, SentEvent
from headrace_worker.operate.app_client import AppClient
from tests.faults.chaos.app import RETENTION
from tests.faults.chaos.history import Acknowledged, CancelAnswered, CancelAsked, Diary, Sending, now

_CANCELED, _REPLAYED = 0.05, 0.03
"""Of so many events a run is canceled, and so many are replayed."""
_LONG_CANCELED, _LONG_AFTER_S = 0.4, 1.0
"""Of those whose runs are long, more, and while a worker has them."""
_REPLAYED_NAMES = frozenset({"load", "parent", "doomed", "step"})
_AFTER_S = (0.0, 0.0, 0.02, 1.0)
"""So long after its delivery: most runs end soon."""
_REPLAY = "~r1"
_Act = Callable[[Sending], None]


def is_replay(event_id: str) -> bool:
    """Whether that is the id of a replay."""
    return event_id.endswith(_REPLAY)


def second_of(replay: str) -> str:
    """Return the id that a second replay of the same event would have; each is replayed once."""
    return f"{replay.removesuffix(_REPLAY)}~r2"


def replay(client: AppClient, diary: Diary, event: Sending, job: str | None = None) -> str:
    """The event is sent again, to one job alone if that is named; return the id, which is known beforehand.

    Each event is replayed once.
    """
    replay_id = _note(diary, event, job)
    sent = client.replay_event(event.id, job=job)
    assert sent is not None
    assert sent.id == replay_id
    _acknowledge(diary, sent)
    return replay_id


def replay_by_two(client: AppClient, diary: Diary, event: Sending, job: str) -> str:
    """Two ask at once that the event is sent to a job which has no run of it; return the id of what one of them sends.

    Each event is replayed so once; a second replay of it would be unknown to the checker.
    """
    replay_id = _note(diary, event, job)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(client.replay_event, event.id, job=job, if_no_runs=True) for _ in range(2)]
    sent = [each.result() for each in asked if not isinstance(each.exception(), HeadraceError)]
    for each in sent:
        if each is not None:
            _acknowledge(diary, each)
    return replay_id


def _note(diary: Diary, event: Sending, job: str | None) -> str:
    """A replay of the event is about to be sent; return its id."""
    again = msgspec.structs.replace(event, **now(), id=event.id + _REPLAY)
    if job is not None:  # so no other job gets it, whatever names it subscribes to
        again = msgspec.structs.replace(again, name="", jobs=(job,))
    diary.add(again)
    return again.id


def _acknowledge(diary: Diary, sent: SentEvent) -> None:
    delivered_ms = round(sent.delivered_at.timestamp() * 1000) if sent.delivered_at else 0
    diary.add(Acknowledged(**now(), id=sent.id, delivered_ms=delivered_ms))


class Operator:
    """Does one thing once to each event of its choice, and writes down what became of it."""

    def __init__(self, diary: Diary, rng: random.Random) -> None:
        self._client = AppClient(retention=RETENTION)
        # A request that is repeated is answered as canceled, too, where the first had asked a worker.
        self._once = Client(retention=RETENTION, attempts=1)
        self._diary = diary
        self._rng = rng
        self._due: list[tuple[float, _Act, Sending]] = []

    def operate(self, events: Iterable[Sending]) -> None:
        """Some of these events are chosen for later, and what is due now is done."""
        for event in events:
            draw = self._rng.random()
            due = time.monotonic() + event.delay_ms / 1000 + self._rng.choice(_AFTER_S)
            if event.name == "long":
                if draw < _LONG_CANCELED:
                    self._due.append((time.monotonic() + _LONG_AFTER_S, self._cancel, event))
            elif draw < _CANCELED:
                self._due.append((due, self._cancel, event))
            elif draw < _CANCELED + _REPLAYED and event.name in _REPLAYED_NAMES and not event.delay_ms:
                self._due.append((due, self._replay, event))
        over = [each for each in self._due if each[0] <= time.monotonic()]
        self._due = [each for each in self._due if each not in over]
        for _, act, event in over:
            try:
                act(event)
            except HeadraceError:
                continue

    def close(self) -> None:
        """Nothing is done any more."""
        self._client.close()
        self._once.close()

    def _cancel(self, event: Sending) -> None:
        run = f"{event.id}:{self._rng.choice(event.jobs)}"
        self._diary.add(CancelAsked(**now(), run=run))
        answer = self._once.cancel_run(run).answer
        self._diary.add(CancelAnswered(**now(), run=run, answer=answer))

    def _replay(self, event: Sending) -> None:
        replay(self._client, self._diary, event)
