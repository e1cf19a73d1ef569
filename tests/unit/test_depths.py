"""The depths of a namespace are read without prometheus-client, which only the room `metrics` imports."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import pytest

from headrace.calls.call import Argument
from headrace.formats.partitions import Partitions
from headrace_worker.inspect.depths import Depths, read_depths
from tests.support.house import read_package


def test_depths_add_up_over_partitions() -> None:
    """In-flight runs do not wait, and the entries of canceled ones are not there; a difference below 0 counts as 0."""
    partitions = Partitions("n", 2)
    first, second = partitions.all
    answers: dict[Sequence[Argument], int] = {
        ("XLEN", first.events): 1, ("XLEN", second.events): 2, ("ZCARD", first.due): 3, ("ZCARD", second.due): 4,
        ("XLEN", first.dead): 5, ("XLEN", second.dead): 6,
        ("XLEN", first.queue("app", "mail")): 9, ("XPENDING", first.queue("app", "mail"), "workers"): 2,
        ("XLEN", second.queue("app", "mail")): 1, ("XPENDING", second.queue("app", "mail"), "workers"): 0,
        ("XLEN", second.queue("app", "slow")): 1, ("XPENDING", second.queue("app", "slow"), "workers"): 2,
        ("XPENDING", first.queue("app", "mail"), "workers", "-", "+", 1_000): 1,
        ("XPENDING", second.queue("app", "mail"), "workers", "-", "+", 1_000): 0,
        ("XPENDING", second.queue("app", "slow"), "workers", "-", "+", 1_000): 0,
    }  # fmt: skip
    plan = read_depths(partitions)
    asked = [call.args for call in next(plan)]
    assert asked == [("SMEMBERS", first.queues), ("SMEMBERS", second.queues)]
    calls = plan.send([["app/mail"], ["app/mail", "app/slow"]])
    assert len(calls) == len(answers)
    with pytest.raises(StopIteration) as end:
        plan.send([answers[call.args] for call in calls])
    assert end.value.value == Depths(3, 7, 11, {"app/mail": 9, "app/slow": 0})


def test_only_metrics_imports_prometheus_client() -> None:
    """Neither at a module's top nor inside a function."""
    worker = read_package("worker/headrace_worker")
    importers = {
        worker.room_of(module)
        for module, tree in worker.sources.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"))
        or (isinstance(node, ast.Import) and any(each.name.startswith("prometheus_client") for each in node.names))
    }
    assert importers == {"metrics"}
