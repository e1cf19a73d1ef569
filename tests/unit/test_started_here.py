"""All that goes on by itself is started by a module that is there for it, so that its end is known."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.processes import ROOT

FOLDER = ROOT / "worker" / "headrace_worker"
STARTERS = frozenset(
    {
        "create_task", "ensure_future", "call_later", "call_at", "call_soon", "call_soon_threadsafe",
        "add_done_callback", "Thread", "Timer", "to_thread", "run_in_executor", "TaskGroup", "Task", "start_new_thread",
        "add_reader", "add_writer", "add_signal_handler",
    }
)  # fmt: skip
"""What starts something that goes on by itself, by its name."""
STARTING = ("guard.py", "restarting.py")
"""The modules that are there to start things: in a worker, and in what is around workers."""
ELSEWHERE = {
    "process/process.py:_run_to_end:add_done_callback": "the end of the worker's own task ends the loop",
    "process/process.py:submit:add_done_callback": "of functions of jobs, which asyncio submits; it counts them",
    "process/child.py:__init__:add_reader": "the line of a supervised process; what it reads can't fail",
    "logs/writer.py:_start_thread:start_new_thread": "writes lines, and is started again where it has ended",
    "logs/writer.py:_write_beside:start_new_thread": "writes one line beside a writer that stands still",
    "logs/logger.py:put:start_new_thread": "writes last words, where nothing else may be left",
    "testing/attempt.py:_run_here:Thread": "has the event loop of one attempt, and ends with it",
    **{
        f"testing/{place}:to_thread": "in the event loop of a test"
        for place in (
            "kit.py:_run",
            "kit.py:travel",
            "kit.py:_run_until_idle",
            "settling.py:_run_until_settled",
        )
    },
}
"""Where else something is started, and why."""


def starts_in(tree: ast.AST, within: str = "") -> Iterator[tuple[str, str]]:
    """Yield each call of a starter: the function that it is in, and the starter."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else within
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in STARTERS:
                yield within, name
        yield from starts_in(node, inner)


def test_everything_is_started_where_its_end_is_known() -> None:
    """But for what is listed, with its reason; and what is listed is there."""
    found = {
        f"{path.relative_to(FOLDER)}:{function}:{name}"
        for path in FOLDER.rglob("*.py")
        if path.name not in STARTING
        for function, name in starts_in(ast.parse(path.read_text()))
    }
    assert sorted(found - set(ELSEWHERE)) == []
    assert sorted(set(ELSEWHERE) - found) == [], "not there any more"
