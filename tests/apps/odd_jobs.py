"""An app with jobs that can't be meant."""

from __future__ import annotations

from headrace_worker import App, event_trigger

app = App("odd")


@app.job(id="never", trigger=event_trigger("a", filter={"a": [{"$gt": 5, "$lt": 3}]}))
async def never() -> None: ...


@app.job(id="two", trigger=event_trigger("b"))
@app.job(id="one", trigger=event_trigger("b"))
async def twice() -> None: ...
