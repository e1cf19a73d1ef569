"""Quiets and stops workers by their names, in all partitions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.errors import InvalidArgument
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace.plans.read import as_id
from headrace_worker.protocol.leases import Wanted, instruct


class Instructed(msgspec.Struct, frozen=True):
    """Whether a worker will do what is wanted of it: `is_alive` is false for one that is unknown or has expired."""

    worker: str
    is_alive: bool


def instruct_workers(partitions: Partitions, names: Iterable[str], wanted: Wanted) -> Plan[list[Instructed]]:
    """Let live workers quiet or stop, which they see with the next renewals of their leases."""
    if isinstance(names, str):
        raise InvalidArgument("names", f"must be several names, not the text {names!r}")
    of, count = list(names), len(partitions)
    answers = (yield [instruct(keys, as_id(name), wanted) for name in of for keys in partitions.all]) if of else []
    return [Instructed(name, any(answers[place * count : (place + 1) * count])) for place, name in enumerate(of)]
