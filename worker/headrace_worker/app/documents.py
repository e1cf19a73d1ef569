"""What an app says of its typed events to other programs: as JSON Schema, and as AsyncAPI. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headrace_worker.app.app import App
from headrace_worker.app.job import Job
from headrace_worker.app.json_schema import schema_of
from headrace_worker.errors import DefinitionError

_Document = dict[str, Any]


def json_schema(app: App) -> _Document:
    """Return the JSON Schema (2020-12) of the events of an app: an event of each name, with its payload.

    Raises:
        DefinitionError: the app has no typed event, or JSON can't hold the payload of one.
    """
    defined: _Document = {}
    events = [
        {
            "title": name,
            "type": "object",
            "properties": {"name": {"const": name}, "payload": _payload(name, kind, "#/$defs/", defined)},
            "required": ["name", "payload"],
        }
        for name, kind in typed_events(app).items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Events of {app.name}",
        "oneOf": events,
        "$defs": defined,
    }


def asyncapi(app: App) -> _Document:
    """Return the AsyncAPI 3.0 document of an app: a channel for each typed event, an operation for each of its jobs.

    Raises:
        DefinitionError: the app has no typed event, or JSON can't hold the payload of one.
    """
    schemas: _Document = {}
    messages = {
        _key(name): {
            "name": name,
            "title": kind.__name__,
            "payload": _payload(name, kind, "#/components/schemas/", schemas),
        }
        for name, kind in typed_events(app).items()
    }
    channels = {
        key: {"address": message["name"], "messages": {key: {"$ref": f"#/components/messages/{key}"}}}
        for key, message in messages.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": app.name, "version": app.version or "0"},
        "defaultContentType": "application/msgpack",
        "channels": channels,
        "operations": dict(_operation(job, name) for job, name in _subscriptions(app)),
        "components": {"messages": messages, "schemas": schemas},
    }


def typed_events(app: App) -> dict[str, Any]:
    """Return the classes of the typed events that jobs of an app subscribe to, by the events' names, sorted."""
    found: dict[str, Any] = {}
    for job in app.jobs.values():
        for kind in job.trigger.types:
            if found.setdefault(kind.__event__, kind) is not kind:
                names = f"{found[kind.__event__].__qualname__} and {kind.__qualname__}"
                raise DefinitionError(f"event {kind.__event__!r} has two classes, {names}; declare it once")
    if not found:
        raise DefinitionError(f"app {app.name!r} has no typed events: no job's payload has a class with an __event__")
    return dict(sorted(found.items()))


def _subscriptions(app: App) -> Iterator[tuple[Job, str]]:
    for job in sorted(app.jobs.values(), key=lambda each: each.id):
        for kind in job.trigger.types:
            yield job, kind.__event__


def _operation(job: Job, name: str) -> tuple[str, _Document]:
    key = _key(name)
    return f"{job.id}.{key}", {
        "action": "receive",
        "title": job.id,
        "channel": {"$ref": f"#/channels/{key}"},
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
    }


def _payload(name: str, kind: Any, place: str, defined: _Document) -> _Document:
    """Return the schema of an event's payload; add what it refers to, under keys that begin with the event's name."""
    prefix = f"{_key(name)}."
    try:
        schema = schema_of(kind, f"{place}{prefix}{{}}")
    except Exception as exc:  # a type's own code may raise anything
        raise DefinitionError(f"event {name!r}: {kind.__name__} has no JSON Schema: {exc}") from exc
    defined.update({prefix + part: found for part, found in schema.pop("$defs", {}).items()})
    return schema


def _key(name: str) -> str:
    """Return an event's name as a key of a document, which may have letters, digits, `.`, `-` and `_` only."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda found: f"_{ord(found[0]):x}_", name)
