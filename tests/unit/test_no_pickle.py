"""Nothing that comes from outside is ever turned into code or into objects of any class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import headrace
import headrace_worker

_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "yaml"}
_FUNCTIONS = {"eval", "exec", "compile", "__import__"}
_SOURCES = [
    path for package in (headrace, headrace_worker) for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
]


def _faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.split(".")[0] in _MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
                yield name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module))]):
                yield from [module] * (module.split(".")[0] in _MODULES)


def test_no_module_of_either_package_can_unpickle() -> None:
    """No source imports a serializer that makes arbitrary objects, or evaluates text as code."""
    assert len(_SOURCES) > 50
    found = {path.name: list(_faults(ast.parse(path.read_text("utf-8")))) for path in _SOURCES}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_search_finds_what_it_is_for() -> None:
    """Each of the ways in which it could be done is seen."""
    code = "import pickle\nfrom marshal import loads\neval('1')\nimportlib.import_module('dill')\nimport a.pickle\n"
    assert sorted(_faults(ast.parse(code))) == ["dill", "eval", "marshal", "pickle"]
