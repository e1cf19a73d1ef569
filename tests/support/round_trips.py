"""Counts what a client asks for, by round trip."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Client


class Asked:
    """The calls of a client, by round trip."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[int] = []
        self.commands: list[str] = []
        transport: Any = client._transport
        run = transport.run

        def counted(calls: Any, **given: Any) -> Any:
            self.trips.append(len(calls))
            self.commands += [call.args[0] for call in calls]
            return run(calls, **given)

        monkeypatch.setattr(transport, "run", counted)
