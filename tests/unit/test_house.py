"""The packages are made of rooms, whose imports go one way, and the design page shows them as they are."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.house import PACKAGES, ROOT, Package, read_package

MOST_MODULES = 14
"""In a room, its `__init__` not counted: what one can look over."""
GROUND = frozenset({"errors", "config", "clock", "current_run"})
"""Modules beside the rooms that a room may import without saying so."""


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Package:
    return read_package(request.param)


def rows_of(package: Package) -> list[set[str]]:
    """Return the rooms that each row of the design page's table of a package names."""
    text = (ROOT / "docs/design.md").read_text("utf-8")
    path = package.folder.relative_to(ROOT)
    (table,) = re.findall(rf"^\| in `{path}` \|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[1:]]


def test_no_room_is_crowded(package: Package) -> None:
    """A room that grows over the bound is to be divided by subject."""
    crowded = {room: len(modules - {room}) for room, modules in package.rooms.items()}
    assert not {room: count for room, count in crowded.items() if count > MOST_MODULES}


def test_rooms_import_each_other_in_no_circle(package: Package) -> None:
    """Each has a floor."""
    assert min(package.floors.values()) == 0


def test_design_page_names_each_room_once_and_in_order(package: Package) -> None:
    """Imports go from the upper rows to the lower ones, or along a row."""
    rows = rows_of(package)
    place = {room: number for number, row in enumerate(rows) for room in row}
    assert sum(map(len, rows)) == len(place)
    assert set(place) == set(package.rooms)
    upwards = [
        f"{room} imports {other}"
        for room, others in package.arrows.items()
        for other in others
        if place[other] < place[room]
    ]
    assert not upwards


def test_each_room_says_what_it_is_for_and_what_it_imports(package: Package) -> None:
    """What belongs here, what does not, and the rooms that it does import."""
    for room in package.folders & set(package.rooms):
        said = " ".join((ast.get_docstring(package.sources[room]) or "").split())
        found = re.fullmatch(r".+ Here: .+ Not here: .+ Imports: (.+)\.", said)
        assert found, f"the docstring of {room}/__init__.py has not its three lines"
        listed = set() if found[1] == "no other room" else set(found[1].split(", "))
        assert listed == package.arrows[room] - GROUND, room
