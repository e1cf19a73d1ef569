"""Jobs that fail in every way there is, each with its payload in the message of its exception."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from headrace_worker import Abort, App, Retry, RetryAfter, event_trigger

_ONCE = Retry(max_attempts=1)


class Payload(msgspec.Struct):
    secret: int


class _Unencodable:
    def __init__(self, payload: Any) -> None:
        self.payload = payload

    def __repr__(self) -> str:
        return str(self.payload)


def _make(*, log_errors: bool) -> App:
    app = App("secrets", log_errors=log_errors)

    @app.job(id="raises", trigger=event_trigger("raises"), retry=Retry(max_attempts=2, min_delay=0.01, jitter=False))
    async def raises(payload: Any) -> None:
        raise ValueError(f"{payload['secret']}{payload['forged']}")

    @app.job(id="waits", trigger=event_trigger("waits"), retry=Retry(max_attempts=2))
    async def waits(payload: Any) -> None:
        raise RetryAfter(0.01, f"{payload['secret']}{payload['forged']}")

    @app.job(id="loud", trigger=event_trigger("loud"))
    def loud(payload: Any) -> None:
        raise Abort(f"{payload['secret']}{payload['forged']}")

    @app.job(id="invalid", trigger=event_trigger("invalid"))
    async def invalid(payload: Payload) -> None:
        """It is never called."""

    @app.job(id="output", trigger=event_trigger("output"), retry=_ONCE)
    async def output(payload: Any) -> Any:
        return _Unencodable(payload)

    @app.job(id="blocked", trigger=event_trigger("blocked"), retry=_ONCE, timeout=0.05)
    def blocked(payload: Any) -> None:
        time.sleep(0.2)
        raise ValueError(f"{payload['secret']}{payload['forged']}")

    return app


app = _make(log_errors=False)
talking = _make(log_errors=True)
