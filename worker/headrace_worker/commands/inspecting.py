"""Opens the client of the commands that look at workers, queues and counts."""

from __future__ import annotations

from headrace_worker.inspect.inspector import Inspector
from headrace_worker.terminal.server import Server


def open_inspector(server: Server) -> Inspector:
    """Return the client for a command's server."""
    return Inspector(server.url, namespace=server.namespace, partitions=server.partitions)
