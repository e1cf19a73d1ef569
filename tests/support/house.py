"""Counts the rooms of both packages: which imports which, on how many floors, and how long functions are.

A room is a folder of modules; a module beside the rooms counts as a room of its own. `make house` prints the figures.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("producer/headrace", "worker/headrace_worker")


class Package(msgspec.Struct, frozen=True):
    """One package's modules, by their dotted names below it, and what each imports of it."""

    folder: Path
    sources: dict[str, ast.Module]
    imports: dict[str, set[str]]

    @property
    def rooms(self) -> dict[str, set[str]]:
        """The modules of each room."""
        found: dict[str, set[str]] = {}
        for module in self.sources:
            found.setdefault(self.room_of(module), set()).add(module)
        found.pop("", None)
        return found

    def room_of(self, module: str) -> str:
        """Return the folder of a module or, beside the rooms, the module itself; empty for the package's own."""
        if module in self.folders:
            return module
        folder = module.rpartition(".")[0]
        return folder or module

    @property
    def folders(self) -> set[str]:
        """The names of the rooms that are folders."""
        return {name.rpartition(".")[0] for name in self.sources if "." in name}

    @property
    def arrows(self) -> dict[str, set[str]]:
        """Which other rooms the modules of each room import."""
        return {
            room: {self.room_of(other) for module in modules for other in self.imports[module]} - {room, ""}
            for room, modules in self.rooms.items()
        }

    @property
    def floors(self) -> dict[str, int]:
        """Return the floor of each room: 0 if it imports no other; one above the highest that it imports."""
        arrows, floors = self.arrows, dict[str, int]()
        while len(floors) < len(arrows):
            there = {room for room, below in arrows.items() if room not in floors and below <= floors.keys()}
            if not there:
                raise ValueError(f"rooms import each other in a circle: {sorted(arrows.keys() - floors.keys())}")
            floors |= {room: max((floors[each] + 1 for each in arrows[room]), default=0) for room in there}
        return floors

    @property
    def function_lengths(self) -> list[tuple[int, str]]:
        """The lines of each function, and its name."""
        return sorted(
            ((node.end_lineno or 0) - node.lineno + 1, f"{module}:{node.name}")
            for module, tree in self.sources.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )


def read_package(path: str) -> Package:
    """Return a package of this repository, read and not imported."""
    folder = ROOT / path
    sources = {
        ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix("__init__").rstrip("."): ast.parse(
            file.read_text("utf-8")
        )
        for file in folder.rglob("*.py")
        if file.stem != "__main__"
    }
    imports = {module: set(_imported(tree, folder.name, sources)) for module, tree in sources.items()}
    return Package(folder, sources, imports)


def _imported(tree: ast.Module, package: str, modules: Collection[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != package:
            continue
        below = (node.module or "").partition(".")[2]
        for alias in node.names:
            inner = f"{below}.{alias.name}".lstrip(".")
            yield inner if inner in modules else below


def main() -> None:
    """Print the figures of both packages, and the lines of the tests."""
    for path in PACKAGES:
        package = read_package(path)
        floors, arrows = package.floors, package.arrows
        inner = sum(len(each) for each in package.imports.values())
        print(f"{path}: {len(package.sources)} modules, {inner} imports of modules")
        print(f"  {len(floors)} rooms on {max(floors.values()) + 1} floors, {sum(map(len, arrows.values()))} arrows")
        for room in sorted(floors, key=lambda each: (-floors[each], each)):
            print(f"  {floors[room]:3}  {room} ({len(package.rooms[room])}) → {', '.join(sorted(arrows[room]))}")
        lengths = package.function_lengths
        median = statistics.median(size for size, _ in lengths)
        print(f"  {_lines(package.folder):,} lines; functions: median {median:g}")
        print("  longest:", ", ".join(f"{name} {size}" for size, name in lengths[:-4:-1]))
    print(f"tests: {_lines(ROOT / 'tests'):,} lines")


def _lines(folder: Path) -> int:
    return sum(len(file.read_text("utf-8").splitlines()) for file in folder.rglob("*.py"))


if __name__ == "__main__":
    main()
