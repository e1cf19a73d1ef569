"""Apps with and without typed events, for the commands that look at an app's definition."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from headrace_worker import App, event_trigger


class NewUser(msgspec.Struct):
    __event__: ClassVar[str] = "new.user"
    user_id: str


app = App("typed", version="7")
untyped = App("untyped")


@app.job(id="welcome")
def welcome(payload: NewUser) -> str:
    return payload.user_id


@untyped.job(id="audit", trigger=event_trigger("new.user"))
def audit(payload: dict[str, str]) -> None: ...
