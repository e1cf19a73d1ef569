"""The one server that everything is measured on, and what it says of its own work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import redis

from headrace_worker.dev.embedded import EmbeddedServer

_STEADY_S = 3.0


class Snapshot(msgspec.Struct, frozen=True):
    """What the server has done and holds at one moment.

    Attributes:
        commands: all that were carried out, those called inside scripts too.
        cpu_s: seconds of CPU of the whole process.
        memory: bytes of data and what they need, without what the allocator keeps.
        received: bytes on the wire to the server.
        sent: bytes on the wire from it.
    """

    commands: int
    cpu_s: float
    memory: int
    received: int
    sent: int


class Server:
    """A running server and a connection to it."""

    def __init__(self, embedded: EmbeddedServer) -> None:
        self._embedded = embedded
        self.url = embedded.tcp_url
        self.client: Any = redis.Redis.from_url(self.url, single_connection_client=True)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._embedded.pid

    def snapshot(self) -> Snapshot:
        """Return what the server says of itself now."""
        info = self.client.info("everything")
        return Snapshot(
            commands=int(info["total_commands_processed"]),
            cpu_s=float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
            memory=int(info["used_memory"]),
            received=int(info["total_net_input_bytes"]),
            sent=int(info["total_net_output_bytes"]),
        )

    def memory(self) -> int:
        """Return the bytes of data and what they need."""
        return int(self.client.info("memory")["used_memory"])

    def reset(self) -> None:
        """Nothing is stored, no script is known, and memory is steady: the buffers of clients gone are freed."""
        self.client.flushall(asynchronous=False)
        self.client.script_flush("SYNC")
        self.client.function_flush("SYNC")
        deadline = time.monotonic() + _STEADY_S
        last = -1
        while (now := self.memory()) != last and time.monotonic() < deadline:
            last = now
            time.sleep(0.05)

    def version(self) -> str:
        """Return the server's name and version, and what it takes memory from: freeing much of it holds some up."""
        info = self.client.info("everything")
        allocator = info["mem_allocator"]
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']} ({allocator})"
        return f"Redis {info['redis_version']} ({allocator})"


@contextlib.contextmanager
def running_server(binary: Path | None = None, *, appendonly: bool = False) -> Iterator[Server]:
    """Start a server on a free port of this machine and ends it; its data are in memory alone unless asked."""
    with EmbeddedServer(binary=binary, unix_socket=False, appendonly=appendonly) as embedded:
        server = Server(embedded)
        try:
            yield server
        finally:
            server.client.close()
