"""An app with sources, filters and examples, whose jobs do nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace_worker import App, event_trigger

app = App("shop")
ADULTS = {"plan": ["pro", "team"], "user": {"age": [{"$gte": 18}]}}


class User(msgspec.Struct):
    """What `welcome` reads of its payload."""

    id: str


@app.job(
    id="welcome",
    trigger=event_trigger("user.created", source=["web", "api"], filter=ADULTS, context_filter={"region": ["eu"]}),
    queue="mail",
    examples={"ann": User("u_1"), "bob": {"id": "u_2", "name": "Bob"}},
)
async def welcome(payload: User) -> str:
    return payload.id


@app.job(id="audit", trigger=event_trigger("user.created", "user.deleted"))
async def audit(payload: Any) -> Any:
    return payload
