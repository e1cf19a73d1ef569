"""Counts commands by MONITOR: those that came over the wire, and those that scripts called inside the server.

INFO's own counter mixes the two. MONITOR slows the server down, so nothing else is measured meanwhile.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections import Counter
from typing import Self
from urllib.parse import urlsplit

from bench.server import Server

_LINE = re.compile(rb'\+\d+\.\d+ \[\d+ (\S+)\] "([^"]*)"(?: "([0-9a-f]{40})")?')
"""`+1700000000.000000 [0 127.0.0.1:5000] "XADD" …`; in place of the address `lua` for what a script called."""


class Monitor:
    """Counts from `__enter__` to `__exit__`.

    Attributes:
        outer: commands that came over the wire, by name, without the runner's own.
        inner: commands that scripts called, by name.
        scripts: calls of scripts by their SHA1.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = f"end-{secrets.token_hex(8)}"
        self._own = str(server.client.client_info()["addr"])
        self.outer: Counter[str] = Counter()
        self.inner: Counter[str] = Counter()
        self.scripts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        where = urlsplit(self._server.url)
        self._socket = socket.create_connection((where.hostname or "", where.port or 0))
        self._socket.sendall(b"MONITOR\r\n")
        self._lines = self._socket.makefile("rb", 1 << 20)
        if self._lines.readline() != b"+OK\r\n":
            raise RuntimeError("the server does not let us MONITOR it")
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.client.echo(self._end)  # the last line to be read
        self._thread.join(30)
        self._lines.close()
        self._socket.close()

    def _count(self) -> None:
        end = self._end.encode()
        for line in self._lines:
            match = _LINE.match(line)
            if match is None:
                continue
            where, command = match[1].decode(), match[2].decode().upper()
            if where == "lua":
                self.inner[command] += 1
            elif where != self._own:
                self.outer[command] += 1
                if match[3]:
                    self.scripts[match[3].decode()] += 1
            elif end in line:
                return
