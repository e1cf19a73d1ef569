"""`headrace app schema` prints what other programs need to know of an app's events."""

from __future__ import annotations

import json

from tests.support.commands import Headrace, fails


def test_the_schema_of_an_app_is_printed(headrace: Headrace) -> None:
    """It needs no server; it is JSON Schema, unless AsyncAPI is asked for."""
    result = headrace("app", "schema", "tests.apps.typed:app", HEADRACE_URL=None)
    assert json.loads(result.stdout)["$defs"]["new.user.NewUser"]["required"] == ["user_id"]
    document = json.loads(headrace("app", "schema", "tests.apps.typed:app", "--format", "asyncapi").stdout)
    assert document["info"] == {"title": "typed", "version": "7"}
    assert list(document["operations"]) == ["welcome.new.user"]


def test_an_app_without_typed_events_has_no_schema(headrace: Headrace) -> None:
    """So is one that can't be loaded."""
    fails(headrace("app", "schema", "tests.apps.typed:untyped"), 2, "app 'untyped' has no typed events", "__event__")
    fails(headrace("app", "schema", "tests.apps.typed:nothing"), 2, "can't load 'tests.apps.typed:nothing'")
    fails(headrace("app", "schema", "tests.apps.typed:app", "--format", "xml"), 2, "--format", "asyncapi")
