"""An app with jobs that can't be meant."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from headrace_worker import App, event_trigger


class Paid(msgspec.Struct):
    __event__: ClassVar[str] = "paid"


class PaidToo(msgspec.Struct):
    __event__: ClassVar[str] = "paid"


app = App("odd")


@app.job(id="never", trigger=event_trigger("a", filter={"a": [{"$gt": 5, "$lt": 3}]}))
async def never() -> None: ...


@app.job(id="two", trigger=event_trigger("b"))
@app.job(id="one", trigger=event_trigger("b"))
async def twice() -> None: ...


@app.job(id="receipt")
async def receipt(payload: Paid) -> None: ...


@app.job(id="thanks")
async def thanks(payload: PaidToo) -> None: ...
