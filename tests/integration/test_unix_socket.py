"""A server on a Unix socket with a full backlog lets new connections wait, and loses none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from headrace import AsyncClient, Event, ServerUnreachable
from headrace.calls.call import Call
from headrace.transport.single import AsyncTransport

PING: Call[bytes] = Call(("PING",), bytes)


class Full:
    """A listener whose backlog has no room left, as it accepts no connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fillers: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._fillers.append(socket.socket(socket.AF_UNIX))
                self._fillers[-1].settimeout(0)
                self._fillers[-1].connect(str(path))

    def close(self) -> None:
        for each in (*self._fillers, self._listener):
            each.close()

    @contextlib.asynccontextmanager
    async def opened(self, url: str) -> AsyncIterator[None]:
        """Let all waiting connections through to the server, and close them at the end."""
        serving: set[asyncio.Task[Any]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(cast("asyncio.Task[Any]", asyncio.current_task()))
            theirs, ours = await asyncio.open_unix_connection(url.removeprefix("unix://"))
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))

        async with await asyncio.start_unix_server(serve, sock=self._listener):
            yield
            for filler in self._fillers:
                filler.close()
            await asyncio.gather(*serving)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(65_536):
        sink.write(chunk)
    sink.close()
    await sink.wait_closed()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Full]:
    full = Full(tmp_path / "full.sock")
    yield full
    full.close()


async def test_a_connect_waits_while_the_backlog_is_full(full: Full, url: str, namespace: str) -> None:
    """The first call is answered once there is room, and no attempt has failed by then."""
    async with AsyncClient(f"unix://{full.path}", namespace=namespace, attempts=1) as client:
        sending = asyncio.ensure_future(client.send_event(Event("asked"), deliver_after=60))
        await asyncio.wait([sending], timeout=0.1)
        assert not sending.done()
        async with full.opened(url):
            sent = await asyncio.wait_for(sending, 30)
            assert (await client.cancel_event(sent.id)).status == "canceled"
            await client.close()


async def test_a_connect_does_not_wait_for_ever(full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as long as any connect may; then the server counts as unreachable."""
    monkeypatch.setattr("headrace.transport.pool.CONNECT_TIMEOUT_S", 0.05)
    transport = AsyncTransport(f"unix://{full.path}", attempts=1)
    with pytest.raises(ServerUnreachable, match="can't be reached"):
        await transport.run([PING])
    await transport.close()


async def test_a_connect_without_a_listener_fails_at_once(tmp_path: Path) -> None:
    """Only a full backlog is waited for."""
    transport = AsyncTransport(f"unix://{tmp_path / 'nobody.sock'}", attempts=1)
    with pytest.raises(ServerUnreachable, match="can't be reached"):
        await asyncio.wait_for(transport.run([PING]), 4)
    await transport.close()
