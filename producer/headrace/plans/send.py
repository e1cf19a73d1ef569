"""Sends events, in one round trip if no ordering key needs more, to each partition its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, repeat
from typing import Any

import msgspec

from headrace.calls import sending
from headrace.calls.call import Call
from headrace.errors import CallError, DamagedRecord, EventConflict, HeadraceError, ServerFull
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import SentEvent
from headrace.plans.plan import Plan
from headrace.plans.prepare import Replicas


def send(
    partitions: Partitions,
    events: Sequence[Outgoing],
    token: str,
    seal: Seal | None = None,
    replicas: Replicas | None = None,
) -> Plan[list[SentEvent]]:
    """Send every event; return the answers in the order of the events.

    Batches of one ordering key go one after the other; once one fails, what follows in its partition is not sent.

    Raises:
        EventConflict, DamagedRecord, ServerFull, CallError: `sent` of the error holds the answers of what was sent.
    """
    if not events:
        return []
    if len(partitions) == 1:
        results = yield from _send_to(partitions.first, events, token, seal, replicas)
    else:
        results = yield from _send_to_each(partitions, events, token, seal, replicas)
    sent = [result for result in results if isinstance(result, SentEvent)]
    for result in results:
        if isinstance(result, EventConflict | DamagedRecord):
            result.sent = sent
            raise result
        if isinstance(result, ServerFull) and sent:
            raise ServerFull(
                f"the server reached its maxmemory after {len(sent)} of {len(events)} events; "
                "`sent` of this error holds those; send the others again once it has drained",
                sent,
            ) from result
        if isinstance(result, CallError):
            result.sent = sent
            raise result
    return sent


def note_safe_repeat(error: CallError) -> None:
    """Say of a send that may have arrived that it can be repeated."""
    if error.may_be_done:
        error.add("sending an event again with the same id can't deliver it twice")


def _send_to(
    keys: Keys, events: Sequence[Outgoing], token: str, seal: Seal | None, replicas: Replicas | None
) -> Plan[list[SentEvent | HeadraceError]]:
    """Return what became of each event; behind them the failure that ended the send, if there was one."""
    results: list[SentEvent | HeadraceError] = []
    batches, numbers = sending.batches(events), count()
    rounds = _rounds(batches) if batches[1:] else [batches]
    for each in rounds:
        asked: list[Call[Any]] = [
            sending.send(keys, batch, f"{token}{number}", seal) for batch, number in zip(each, numbers, strict=False)
        ]
        if replicas is not None:
            asked.append(sending.wait_replicas(replicas.count, max(replicas.timeout_ms // len(rounds), 1)))
        try:
            answers = yield asked
        except CallError as exc:
            answers = [exc] * len(asked)
        found, failure = _results_of(each, answers)
        results += found
        if failure is not None:
            return [*results, *[failure] * (len(events) - len(results)), failure]
    return results


def _rounds(batches: list[Sequence[Outgoing]]) -> list[list[Sequence[Outgoing]]]:
    """Return the batches in groups, in order: a round trip each, in which no ordering key is in two batches.

    Of two batches that are sent together the first may fail and the second succeed, and so overtake it.
    """
    rounds: list[list[Sequence[Outgoing]]] = [[]]
    seen: set[str] = set()
    for batch in batches:
        ordering_keys = {event.terms.ordering_key for event in batch if event.terms.ordering_key}
        if seen.isdisjoint(ordering_keys):
            rounds[-1].append(batch)
            seen |= ordering_keys
        else:
            rounds.append([batch])
            seen = ordering_keys
    return rounds


def _results_of(
    batches: Sequence[Sequence[Outgoing]], answers: Sequence[Any]
) -> tuple[list[SentEvent | HeadraceError], HeadraceError | None]:
    """Return what became of each event of a round, and the first failure of a whole call in it."""
    results: list[SentEvent | HeadraceError] = []
    failure: HeadraceError | None = None
    for batch, answer in zip(batches, answers, strict=False):
        if isinstance(answer, HeadraceError):
            failure = failure or answer
            results += [answer] * len(batch)
        else:
            results += answer
    for reached in answers[len(batches) :]:  # one answer, if it was asked how many replicas have them
        if isinstance(reached, HeadraceError):
            failure = failure or reached
        else:
            results = [_with_replicas(result, reached) for result in results]
    return results, failure


def _with_replicas(result: SentEvent | HeadraceError, count: int) -> SentEvent | HeadraceError:
    return msgspec.structs.replace(result, replicas=count) if isinstance(result, SentEvent) else result


def _send_to_each(
    partitions: Partitions, events: Sequence[Outgoing], token: str, seal: Seal | None, replicas: Replicas | None
) -> Plan[list[SentEvent | HeadraceError]]:
    """Send to each partition its own events, in their order, side by side; return as `_send_to` does."""
    places: dict[Keys, list[int]] = {}
    for place, event in enumerate(events):
        places.setdefault(partitions.of(event.terms.ordering_key or event.event_id), []).append(place)
    if replicas is not None:  # where one server has them all, it waits for one after the other
        replicas = Replicas(replicas.count, max(replicas.timeout_ms // len(places), 1))
    plans = {
        _send_to(keys, [events[place] for place in those], f"{token}{keys.partition}-", seal, replicas): those
        for keys, those in places.items()
    }
    asked = {plan: next(plan) for plan in plans}
    placed: list[tuple[int, SentEvent | HeadraceError]] = []
    while asked:
        try:
            answers = iter((yield [call for calls in asked.values() for call in calls]))
        except CallError as exc:
            answers = repeat(exc)
        for plan, calls in list(asked.items()):
            try:
                asked[plan] = plan.send([next(answers) for _ in calls])
            except StopIteration as done:
                del asked[plan]
                placed += zip([*plans[plan], len(events)], done.value, strict=False)  # a failure may be behind them
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]
