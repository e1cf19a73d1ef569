"""Sends events in one round trip, to each partition its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls import sending
from headrace.calls.call import Call
from headrace.errors import CallError, DamagedRecord, EventConflict, HeadraceError, ServerError, ServerFull
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
    """Send every event, in one round trip; return the answers in the order of the events.

    Raises:
        EventConflict, DamagedRecord, ServerFull, ServerError: `sent` of the error holds the answers of what was sent.
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
                f"the server reached its maxmemory after {len(sent)} of {len(results)} events; "
                "`sent` of this error holds those; send the others again once it has drained",
                sent,
            ) from result
        if isinstance(result, ServerError):
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
    """Return what became of each event; behind them the error of the look at the replicas, if there is one."""
    batches = sending.batches(events)
    asked: list[Call[Any]] = [sending.send(keys, batch, f"{token}{n}", seal) for n, batch in enumerate(batches)]
    if replicas is None:
        return _results_of(batches, (yield asked))
    *answers, count = yield [*asked, sending.wait_replicas(replicas.count, replicas.timeout_ms)]
    results = _results_of(batches, answers)
    if isinstance(count, HeadraceError):
        return [*results, count]
    return [_with_replicas(result, count) for result in results]


def _results_of(batches: Sequence[Sequence[Outgoing]], answers: Sequence[Any]) -> list[SentEvent | HeadraceError]:
    results: list[SentEvent | HeadraceError] = []
    for batch, answer in zip(batches, answers, strict=True):
        results += [answer] * len(batch) if isinstance(answer, HeadraceError) else answer
    return results


def _with_replicas(result: SentEvent | HeadraceError, count: int) -> SentEvent | HeadraceError:
    return msgspec.structs.replace(result, replicas=count) if isinstance(result, SentEvent) else result


def _send_to_each(
    partitions: Partitions, events: Sequence[Outgoing], token: str, seal: Seal | None, replicas: Replicas | None
) -> Plan[list[SentEvent | HeadraceError]]:
    """Send to each partition its own events, in their order, all in one round trip; return as `_send_to` does."""
    places: dict[Keys, list[int]] = {}
    for place, event in enumerate(events):
        places.setdefault(partitions.of(event.ordering_key or event.event_id), []).append(place)
    if replicas is not None:  # where one server has them all, it waits for one after the other
        replicas = Replicas(replicas.count, max(replicas.timeout_ms // len(places), 1))
    plans = [
        _send_to(keys, [events[place] for place in those], f"{token}{keys.partition}-", seal, replicas)
        for keys, those in places.items()
    ]
    asked = [next(plan) for plan in plans]
    answers = yield [call for each in asked for call in each]
    placed: list[tuple[int, SentEvent | HeadraceError]] = []
    for plan, each, those in zip(plans, asked, places.values(), strict=True):
        own, answers = answers[: len(each)], answers[len(each) :]
        try:
            plan.send(own)
        except StopIteration as done:
            placed += zip([*those, len(events)], done.value, strict=False)  # an error may be behind them
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]
