"""An app whose jobs have a queue each, and a later release of it that has fewer."""

from __future__ import annotations

from headrace_worker import App, event_trigger


def _make(*queues: str) -> App:
    app = App("queues")
    for queue in queues:

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job() -> None:
            """Do nothing."""

    return app


app = _make("one", "two", "three")
fewer = _make("one")
