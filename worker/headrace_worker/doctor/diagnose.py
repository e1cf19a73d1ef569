"""The plan of `headrace doctor`: what is asked, in which order, and what is left out where nothing answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from headrace import HeadraceError
from headrace.calls.checking import server_time
from headrace.errors import CallError
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.doctor.asking import questions, read_appendfsync
from headrace_worker.doctor.finding import Diagnosis, Notes
from headrace_worker.doctor.partition import Partition, look_at, look_for_workers
from headrace_worker.doctor.queues import look_at_queues
from headrace_worker.doctor.rights import note_unread, try_rights
from headrace_worker.doctor.server import look_at_appendfsync, look_at_clock, look_at_server, takes_writes
from headrace_worker.doctor.work import look_at_dead_letters, look_at_records, look_at_routes

Clock = Callable[[], float]


def diagnose(partitions: Partitions, clock: Clock, token: str) -> Plan[Diagnosis]:
    """Return what is wrong with a namespace and its servers, in at most twenty round trips. To be run with `partial`.

    Args:
        clock: this machine's time, in seconds since 1970.
        token: what the scratch keys are named by.
    """
    notes = Notes()
    there = yield from _ask(partitions, notes)
    servers = _one_each(there)
    for partition in servers:
        look_at_server(partition.server, _where(partition, len(servers)), notes)
    for partition in there:
        look_at(partition, _where(partition, len(partitions)), notes)
    if len(there) == len(partitions):
        look_for_workers(there, notes)
    yield from _look_closer(partitions, there, servers, notes, clock)
    for partition in servers:
        if takes_writes(partition.server):
            yield from _guarded("rights", try_rights(partition.keys, token, notes), notes)
    note_unread(partitions.namespace, there, notes)
    return notes.diagnosis()


def _ask(partitions: Partitions, notes: Notes) -> Plan[list[Partition]]:
    """Return the partitions that answer; note the others."""
    asked = [questions(keys) for keys in partitions.all]
    answers = iter((yield [question.call for each in asked for question in each]))
    found = [
        Partition(keys, each, [next(answers) for _ in each], notes)
        for keys, each in zip(partitions.all, asked, strict=True)
    ]
    for partition in found:
        if partition.away is not None:
            notes.add(
                "error", "partitions", f"partition {partition.keys.partition} can't be asked: {partition.away}",
                "start the node of the cluster that serves it", partition=partition.keys.partition,
            )  # fmt: skip
    return [partition for partition in found if partition.away is None]


def _look_closer(
    partitions: Partitions, there: Sequence[Partition], servers: Sequence[Partition], notes: Notes, clock: Clock
) -> Plan[None]:
    """Look at what takes questions of its own; the lists, which read all partitions, only if all answer."""
    looks: list[tuple[str, Plan[None]]] = [
        ("clock", _look_at_clock(clock, notes)),
        ("appendfsync", _look_at_appendfsync(servers, notes)),
        ("queues", look_at_queues(partitions, there, notes)),
        ("routes", look_at_routes([each.keys for each in there], notes)),
    ]
    if len(there) == len(partitions):
        looks += [
            ("dead letters", look_at_dead_letters(partitions, notes)),
            ("records", look_at_records(partitions, notes)),
        ]
    for check, look in looks:
        yield from _guarded(check, look, notes)


def _guarded(check: str, look: Plan[None], notes: Notes) -> Plan[None]:
    """Look at one thing; an error leaves only that one out."""
    try:
        yield from look
    except CallError as exc:
        notes.left_out(check, exc)


def _look_at_clock(clock: Clock, notes: Notes) -> Plan[None]:
    before_s = clock()
    (answer,) = yield [server_time()]
    if isinstance(answer, HeadraceError):
        notes.left_out("clock", answer)
    else:
        look_at_clock(before_s, clock(), answer, notes)


def _look_at_appendfsync(servers: Sequence[Partition], notes: Notes) -> Plan[None]:
    answers = yield [call for each in servers for call in read_appendfsync(each.keys)]
    for partition, answer in zip(servers, answers[1::2], strict=True):
        if isinstance(answer, HeadraceError):
            notes.left_out("appendfsync", answer)
        elif partition.server.get("aof_enabled") != "0":
            look_at_appendfsync(answer, _where(partition, len(servers)), notes)


def _one_each(partitions: Iterable[Partition]) -> list[Partition]:
    """Return one partition of each server; of all those that may not say what they are, one."""
    servers: dict[str | None, Partition] = {}
    for partition in partitions:
        servers.setdefault(partition.server.get("run_id"), partition)
    return list(servers.values())


def _where(partition: Partition, count: int) -> str:
    return f" of partition {partition.keys.partition}" if count > 1 else ""
