"""An app whose payloads, outputs and errors can't be read on the server."""

import msgspec
from sealing import codec

from headrace_worker import App, event_trigger

app = App("clinic", codec=codec)


class Result(msgspec.Struct):
    patient: str
    value: float


@app.job(id="alarm", trigger=event_trigger("lab.result", filter={"value": [{"$gt": 7}]}))
async def alarm(payload: Result) -> str:
    return f"called about {payload.patient}"


@app.job(id="file", trigger=event_trigger("lab.result"))
def file(payload: Result) -> None:
    print("filed", payload.value)
