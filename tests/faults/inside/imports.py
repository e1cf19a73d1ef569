"""Lets this process import the worker's modules with a strike at the beginning and the end of each function."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

from tests.faults.inside import places
from tests.faults.inside.fault import Fault


def strike_in(rooms: Iterable[str], fault: Fault) -> None:
    """Write the fault into these modules of the worker, as they are imported from now on."""
    loaded = [name for name in sys.modules if name.partition(".")[0] == places.PACKAGE]
    if loaded:
        raise RuntimeError(f"imported already, and without the fault: {', '.join(loaded)}")
    sys.meta_path.insert(0, _Finder(frozenset(rooms), fault))


class _Finder(MetaPathFinder):
    def __init__(self, rooms: frozenset[str], fault: Fault) -> None:
        self._rooms = rooms
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, room = fullname.partition(".")
        if package != places.PACKAGE or room not in self._rooms:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return spec_from_file_location(fullname, found.origin, loader=_Loader(fullname, found.origin, self._fault))


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, fault: Fault) -> None:
        super().__init__(fullname, path)
        self._fault = fault

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)  # past the cache of compiled modules, which are without strikes
        tree = places.with_strikes(fullname.partition(".")[2], self.get_data(path))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, places.STRIKE, self._fault.strike)
        setattr(module, places.STRIKE_AWAITED, self._fault.strike_awaited)
        setattr(module, places.STRIKE_LATE, self._fault.strike_late)
        super().exec_module(module)
