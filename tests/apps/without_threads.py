"""An app whose process can't start a thread from its import on."""

from __future__ import annotations

from tests.apps.threads import app, refuse_threads

__all__ = ["app"]

refuse_threads(True)  # noqa: FBT003 - that is all it is about
