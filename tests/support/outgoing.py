"""Events as a client prepares them for a send, at a fixed moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace import InvalidEvent
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import SendOptions, prepare

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
NONE = SendOptions()


def prepare_all(*given: Any, options: SendOptions = NONE, **settings: Any) -> list[Outgoing]:
    """Return what is sent for these events."""
    return prepare(given, options, now=lambda: NOW, **settings)


def prepare_one(given: Any, options: SendOptions = NONE, **settings: Any) -> Outgoing:
    """Return what is sent for this event."""
    (outgoing,) = prepare_all(given, options=options, **settings)
    return outgoing


def refuse(*given: Any, options: SendOptions = NONE, **settings: Any) -> InvalidEvent:
    """Return the error that refuses these events."""
    with pytest.raises(InvalidEvent) as caught:
        prepare_all(*given, options=options, **settings)
    assert str(caught.value).endswith("; nothing was sent")
    return caught.value
