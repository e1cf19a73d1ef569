"""An app's typed events, described for other programs."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest

from headrace_worker import App, DefinitionError
from headrace_worker.app.documents import asyncapi, json_schema


class Address(msgspec.Struct, rename="camel"):
    zip_code: str


class NewUser(msgspec.Struct, rename="camel"):
    __event__: ClassVar[str] = "new.user"
    user_id: str
    addresses: list[Address] = []


class Other(pydantic.BaseModel):
    x: int


class Paid(pydantic.BaseModel):
    __event__: ClassVar[str] = "paid/now"
    other: Other


class Twin(msgspec.Struct):
    __event__: ClassVar[str] = "new.user"


def _app(*kinds: Any, version: str | None = None) -> App:
    app = App("shop", version=version)
    for number, kind in enumerate(kinds):
        app.job(id=f"job-{number}", schema=kind)(lambda: None)
    return app


def _references(document: Any) -> list[str]:
    if isinstance(document, list):
        return [found for each in document for found in _references(each)]
    if not isinstance(document, dict):
        return []
    own = [document["$ref"]] if "$ref" in document else []
    return own + [found for each in document.values() for found in _references(each)]


def _at(document: Any, reference: str) -> Any:
    for step in reference.removeprefix("#/").split("/"):
        document = document[step]
    return document


def test_json_schema_describes_an_event_of_each_name() -> None:
    """By the encoded names; classes of msgspec and models of pydantic side by side."""
    document = json_schema(_app(NewUser | Paid, NewUser))
    assert [each["properties"]["name"]["const"] for each in document["oneOf"]] == ["new.user", "paid/now"]
    payload = document["oneOf"][0]["properties"]["payload"]
    assert _at(document, payload["$ref"])["required"] == ["userId"]
    assert _at(document, "#/$defs/new.user.Address")["properties"] == {"zipCode": {"type": "string"}}
    assert _at(document, "#/$defs/paid_2f_now.Other")["required"] == ["x"]


@pytest.mark.parametrize("make", [json_schema, asyncapi])
def test_each_reference_leads_somewhere(make: Any) -> None:
    """And the document is JSON."""
    document = json.loads(msgspec.json.encode(make(_app(NewUser | Paid, NewUser))))
    references = _references(document)
    assert len(references) >= 3
    assert all(_at(document, each) for each in references)


def test_asyncapi_has_a_channel_for_each_event_and_an_operation_for_each_job() -> None:
    """An app without a version has one all the same, as the format asks for it."""
    document = asyncapi(_app(NewUser | Paid, NewUser, version="3"))
    assert (document["asyncapi"], document["info"]) == ("3.0.0", {"title": "shop", "version": "3"})
    assert {key: each["address"] for key, each in document["channels"].items()} == {
        "new.user": "new.user",
        "paid_2f_now": "paid/now",
    }
    assert list(document["operations"]) == ["job-0.new.user", "job-0.paid_2f_now", "job-1.new.user"]
    assert asyncapi(_app(Paid))["info"]["version"] == "0"


def test_what_can_t_be_described_is_refused() -> None:
    """No typed event, two classes of one, or a payload that JSON can't hold."""
    with pytest.raises(DefinitionError, match="app 'shop' has no typed events"):
        json_schema(App("shop"))
    with pytest.raises(DefinitionError, match=r"event 'new\.user' has two classes, NewUser and Twin; declare it once"):
        asyncapi(_app(NewUser, Twin))
    odd = msgspec.defstruct("Odd", [("code", msgspec.msgpack.Ext)], namespace={"__event__": "odd"})
    with pytest.raises(DefinitionError, match="event 'odd': Odd has no JSON Schema"):
        json_schema(_app(odd))
