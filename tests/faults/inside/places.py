"""Finds the places at which a fault can strike: every function of the modules that a worker's process executes.

Writes strikes into the code, too: as the first and the last thing that each function does. Pure, and imports none of
what it looks at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "headrace_worker"
FOLDER = Path(__file__).resolve().parents[3] / "worker" / PACKAGE
STRIKE, STRIKE_AWAITED, STRIKE_LATE = "_inside_strike", "_inside_strike_awaited", "_inside_strike_late"
"""What the code of a place calls; the module's loader puts all into the module."""

_ROOTS = ("process.process", "process.log_setup", "metrics.prometheus")
"""What a worker's process is started with; the rooms are these and all that they import."""

ROOMS_LEFT_OUT = {
    "protocol": "builds and reads calls to the server; test_every_cut.py lets each call fail",
}
"""Modules of a worker that no fault strikes, and why."""

PLACES_LEFT_OUT = {
    "worker:_Running._fail": "the watchdog's last step: it ends the worker",
    "worker:_Running._end": "the watchdog's last step: it ends the worker",
    "process.process:_end_broken": "the watchdog's last step: it ends the process",
    "tasks.signals:receive_stop_signals.handle": "called by Python itself for a signal; what it calls may fail",
    "tasks.signals:end_process": "the last step of an answer to a signal: it ends the process",
    "process.process:_Process._end_process": "the last step of a process that leaves threads behind",
}
"""Places that no fault strikes, and why."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def rooms() -> list[str]:
    """Return the names of the modules that a worker's process executes, without the package's."""
    found: set[str] = set()
    left = list(_ROOTS)
    while left:
        room = left.pop()
        if room not in found and room.partition(".")[0] not in ROOMS_LEFT_OUT and _path(room).exists():
            found.add(room)
            left += _imported(ast.parse(_path(room).read_text()))
    return sorted(found)


def places() -> list[str]:
    """Return the places of all rooms at which a fault may strike, as `<module>:<qualified name>`."""
    return [place for room in rooms() for place in every_place(room) if place not in PLACES_LEFT_OUT]


def every_place(room: str) -> list[str]:
    """Return the places of a room, those that are left out, too."""
    writer = _Writer(room)
    writer.visit(ast.parse(_path(room).read_text()))
    return writer.found


def room_of(place: str) -> str:
    """Return the module of a place."""
    return place.partition(":")[0]


def with_strikes(room: str, source: bytes) -> ast.Module:
    """Return the code of a module in which each place calls a strike first and last, with the place's name."""
    tree = ast.parse(source)
    _Writer(room).visit(tree)
    return ast.fix_missing_locations(tree)


def _path(room: str) -> Path:
    return FOLDER / f"{room.replace('.', '/')}.py"


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of the package that one imports, as names in it; those for types alone, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            _, _, below = (node.module or "").partition(".")
            yield below
            yield from (f"{below}.{alias.name}" for alias in node.names)


class _Writer(ast.NodeTransformer):
    """Notes the name of every place, and writes its strike."""

    def __init__(self, room: str) -> None:
        self.found: list[str] = []
        self._named: list[str] = []
        self._room = room
        self._scope: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return node  # it is there for types: nothing executes it
        return self._inside(node, node.name)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._with_strike(node, node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._with_strike(node, node.name)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._with_strike(node, f"<lambda in line {node.lineno}>")

    def _with_strike(self, node: _Function, name: str) -> ast.AST:
        place = f"{self._room}:{'.'.join([*self._scope, name])}"
        if number := self._named.count(place):  # two lambdas of one line, or the setter of a property
            self._named.append(place)
            place += f" ({number + 1})"
        self._named.append(place)
        self._inside(node, name)
        self.found.append(place)
        if place in PLACES_LEFT_OUT:
            return node
        strike: ast.expr = _call(STRIKE, place)
        if isinstance(node, ast.Lambda):
            both = ast.Tuple([ast.BoolOp(ast.Or(), [strike, node.body]), _call(STRIKE_LATE, place)], ast.Load())
            node.body = ast.Subscript(both, ast.Constant(0), ast.Load())
            return node
        if isinstance(node, ast.AsyncFunctionDef):
            strike = ast.Await(_call(STRIKE_AWAITED, place))
        first = 0 if ast.get_docstring(node) is None else 1
        work = node.body[first:] or [ast.Pass()]
        guarded = ast.Try(work, handlers=[], orelse=[], finalbody=[ast.Expr(_call(STRIKE_LATE, place))])
        node.body[first:] = [ast.Expr(strike), guarded]
        return node

    def _inside(self, node: ast.ClassDef | _Function, name: str) -> ast.AST:
        self._scope.append(name)
        self.generic_visit(node)
        self._scope.pop()
        return node


def _call(function: str, place: str) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), [ast.Constant(place)], [])
