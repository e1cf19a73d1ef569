"""Reads an event with what came of it, a level in at most two round trips. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls import records
from headrace.errors import DamagedRecord, EventNotFound, InvalidArgument
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord
from headrace.model.tree import EventTree
from headrace.plans.plan import Plan
from headrace.plans.read import as_id, readable

MAX_DEPTH = 5
MAX_EVENTS = 100

_Read = EventRecord | DamagedRecord | None


class _Node(msgspec.Struct):
    id: str
    read: _Read
    below: dict[str, list[_Node]] = {}
    left_out: int = 0


def get_tree(partitions: Partitions, event_id: str, depth: int, seal: Seal | None = None) -> Plan[EventTree]:
    """Return an event with what came of it, at most so many levels of events below it; raise EventNotFound."""
    if not (type(depth) is int and 1 <= depth <= MAX_DEPTH):
        raise InvalidArgument("depth", f"must be 1 to {MAX_DEPTH} levels, not {depth!r}")
    (read,) = yield from _read_all(partitions, [as_id(event_id)], seal)
    if read is None:
        raise EventNotFound(event_id)
    if isinstance(read, DamagedRecord):
        raise read
    root = _Node(event_id, read)
    seen, level = {event_id}, [root]
    for _ in range(depth):
        level = yield from _read_below(partitions, level, seen, seal)
    for node in level:
        node.left_out = len(_sent_by(node, seen))
    return _tree_of(root)


def _sent_by(node: _Node, seen: set[str]) -> list[tuple[str, str]]:
    """Return the events that the runs of an event have sent, each with its run; none that the tree has already."""
    runs = node.read.runs if isinstance(node.read, EventRecord) else []
    return [(run.id, sent) for run in runs for sent in run.sent_events if sent not in seen]


def _read_below(partitions: Partitions, level: Sequence[_Node], seen: set[str], seal: Seal | None) -> Plan[list[_Node]]:
    """Read the events that were sent by runs of these, up to the limit; return them."""
    wanted: list[tuple[_Node, str, str]] = []
    for node in level:
        for run, sent in _sent_by(node, seen):
            if len(seen) >= MAX_EVENTS:
                node.left_out += 1
            elif sent not in seen:
                seen.add(sent)
                wanted.append((node, run, sent))
    found: list[_Node] = []
    answers = yield from _read_all(partitions, [sent for _, _, sent in wanted], seal)
    for (node, run, sent), read in zip(wanted, answers, strict=True):
        child = _Node(sent, read)
        node.below = {**node.below, run: [*node.below.get(run, []), child]}
        found.append(child)
    return found


def _read_all(partitions: Partitions, ids: Sequence[str], seal: Seal | None) -> Plan[list[_Read]]:
    """Return the record of each event: its id's partition has it or, if it had an ordering key, another."""
    found: list[_Read] = [None] * len(ids)
    for round_trip in ("home", "others") if len(partitions) > 1 else ("home",):
        asked: list[tuple[int, Keys]] = []
        for place, each in enumerate(ids):
            home = partitions.of(each)
            if found[place] is None:
                asked += [(place, keys) for keys in ([home] if round_trip == "home" else partitions.but(home))]
        answers = (yield [records.read_record(keys, ids[place], seal) for place, keys in asked]) if asked else []
        for (place, keys), answer in zip(asked, answers, strict=True):
            found[place] = found[place] or _read_of(keys, ids[place], answer)
    return found


def _read_of(keys: Keys, event_id: str, answer: Any) -> _Read:
    try:
        record: EventRecord | None = readable(keys, event_id, answer)
    except DamagedRecord as exc:
        return exc
    return record


def _tree_of(node: _Node) -> EventTree:
    return EventTree(
        id=node.id,
        record=node.read if isinstance(node.read, EventRecord) else None,
        error=str(node.read) if isinstance(node.read, DamagedRecord) else None,
        sent={run: [_tree_of(each) for each in below] for run, below in node.below.items()},
        left_out=node.left_out,
    )
