"""The chatty app, with a processor of structlog that raises for all lines but those that it expects."""

from __future__ import annotations

from typing import Any

import structlog

from tests.apps.chatty import app

__all__ = ["app"]


def add_tenant(_logger: Any, _method: str, line: Any) -> Any:
    if line["level"] != "info":
        line["tenant"] = line["tenant_id"]
    return line


structlog.configure(
    processors=[structlog.processors.add_log_level, add_tenant, structlog.processors.JSONRenderer()],
)
