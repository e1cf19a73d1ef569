"""What commands print with --json is a promise: no key is renamed or removed within a major version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.json_shapes import FILE, changes, commands_with_json, seen

PROMISED = json.loads(FILE.read_text("utf-8"))


def test_each_command_with_json_has_its_shape() -> None:
    """`make json-shapes` writes those of new commands; tests/support/json_shapes.py has to run them first."""
    assert sorted(PROMISED) == sorted(commands_with_json())


@pytest.mark.leaves_records
def test_documents_are_as_they_were(url: str, namespace: str, tmp_path: Path) -> None:
    """A key that programs read is there, with the types that it had; a new one is promised from now on."""
    broken, new = changes(PROMISED, seen(url, namespace, tmp_path))
    assert not broken, "programs read these; within a major version none may be renamed, removed or of another type"
    assert not new, "keys may be added: make json-shapes writes tests/data/json_shapes.json anew"


def test_a_key_that_was_renamed_is_told_from_a_new_one() -> None:
    """It is gone under its old name; a type that has changed is no better."""
    before = {"runs show": {"document": {"id": "text", "attempt": "integer", "error": "null | object"}}}
    now = {"runs show": {"document": {"id": "text", "number": "integer", "error": "object"}}}
    assert changes(before, now) == (
        [
            "runs show, document, attempt: integer, is now gone",
            "runs show, document, error: null | object, is now object",
        ],
        ["runs show, document, number: integer"],
    )
    assert changes(before, before) == ([], [])
    assert changes(before, {}) != ([], [])
