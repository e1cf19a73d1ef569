"""Quiets and stops workers by their names, in all partitions; and the client for that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace import Client
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace.plans.read import as_id
from headrace_worker.protocol.leases import Wanted, instruct


class Instructed(msgspec.Struct, frozen=True):
    """Whether a worker will do what is wanted of it: `is_alive` is false for one that is unknown or has expired."""

    worker: str
    is_alive: bool


def instruct_workers(partitions: Partitions, names: Sequence[str], wanted: Wanted) -> Plan[list[Instructed]]:
    """Let live workers quiet or stop, which they see with the next renewals of their leases."""
    answers = yield [instruct(keys, as_id(name), wanted) for name in names for keys in partitions.all]
    count = len(partitions)
    return [Instructed(name, any(answers[place * count : (place + 1) * count])) for place, name in enumerate(names)]


class WorkerClient(Client):
    """A client that tells workers what to do, too."""

    def quiet_workers(self, names: Sequence[str]) -> list[Instructed]:
        """Let workers end the runs that they have and fetch no more; they go on to lead and to dispatch."""
        return self._run(instruct_workers(self.partitions, names, "quiet"))

    def stop_workers(self, names: Sequence[str]) -> list[Instructed]:
        """Let workers stop as on SIGTERM; what supervises a process may start another in its place."""
        return self._run(instruct_workers(self.partitions, names, "stop"))
