"""The peer's side of the bench, run in the peer's environment: `python -m bench.side PEER send|probe|work|about`.

All but `work` answer with one line of JSON. Only the standard library is imported, and the peer's module.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.metadata
import inspect
import json
import os
import platform
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple, Protocol

Payload = dict[str, Any]

PAYLOAD: Payload = {"userId": "u_1234567890", "plan": "pro", "email": "someone@example.org", "seats": 12, "trial": True}
"""What every job is sent with: about 100 bytes as JSON."""
WARM_SENDS = 50
WARM_PROBES = 20
_PROBE_TIMEOUT_S = 5.0


class Sender(NamedTuple):
    """How a peer sends: one job a call and, where it can, many a call. Either may be async."""

    one: Callable[[Payload], Any]
    many: Callable[[list[Payload]], Any] | None = None


class PeerModule(Protocol):
    """What a module in `bench.peers` has.

    Attributes:
        PACKAGES: the distributions whose versions are reported, the peer's own first.
        SETTINGS: what is set that is not the peer's default, in one line for the documentation.
    """

    PACKAGES: tuple[str, ...]
    SETTINGS: str

    def sender(self) -> AbstractContextManager[Sender] | AbstractAsyncContextManager[Sender]:
        """Connects, and gives the means to send."""

    def work(self) -> None:
        """Run one worker process until it is ended; its jobs call `Tally.mark` and do nothing else."""


def url() -> str:
    """Return the server's URL, `redis://HOST:PORT/0`."""
    return os.environ["BENCH_URL"]


@contextlib.asynccontextmanager
async def _connected(peer: PeerModule) -> AsyncIterator[Sender]:
    made = peer.sender()
    if isinstance(made, AbstractAsyncContextManager):
        async with made as sender:
            yield sender
    else:
        with made as sender:
            yield sender


async def send(peer: PeerModule, one: int, many: int, batch: int) -> dict[str, Any]:
    """Send jobs one by one, each after the reply to the one before, then in batches; says how long each took."""
    async with _connected(peer) as sender:
        warm = min(one, WARM_SENDS)
        await _send_one_by_one(sender, warm)  # connections are open and scripts loaded then
        one_s = await _send_one_by_one(sender, one)
        many_s = await _send_in_batches(sender, many, batch) if sender.many else None
        sent = warm + one + (many if many_s else 0)
        return {"one": one, "one_s": one_s, "many": many, "many_s": many_s, "sent": sent}


async def _send_one_by_one(sender: Sender, count: int) -> float:
    one = sender.one
    begun = time.perf_counter()
    if inspect.iscoroutinefunction(one):
        for _ in range(count):
            await one(PAYLOAD)
    else:
        for _ in range(count):
            one(PAYLOAD)
    return time.perf_counter() - begun


async def _send_in_batches(sender: Sender, count: int, batch: int) -> float:
    begun = time.perf_counter()
    for sent in range(0, count, batch):
        await _call(sender.many, [PAYLOAD] * min(batch, count - sent))
    return time.perf_counter() - begun


async def _call(function: Any, argument: object) -> None:
    answer = function(argument)
    if inspect.isawaitable(answer):
        await answer


async def probe(peer: PeerModule, count: int, pause_s: float) -> dict[str, Any]:
    """Send probes one at a time; give for each the ms from just before its send to the first line of its job."""
    latencies: list[float] = []
    lost = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answers:
        answers.bind(("127.0.0.1", 0))
        answers.settimeout(_PROBE_TIMEOUT_S)
        port = answers.getsockname()[1]
        async with _connected(peer) as sender:
            for _ in range(WARM_PROBES + count):
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                at = time.monotonic_ns()
                await _call(sender.one, {**PAYLOAD, "port": port, "at": at})
                begun = _await_answer(answers, at)
                if begun is None:
                    lost += 1
                else:
                    latencies.append((begun - at) / 1e6)
    return {"ms": latencies[WARM_PROBES:], "lost": lost}


def _await_answer(answers: socket.socket, at: int) -> int | None:
    while True:
        try:
            answer = json.loads(answers.recv(1024))
        except TimeoutError:
            return None
        if answer["at"] == at:
            return int(answer["ns"])


def about(peer: PeerModule) -> dict[str, Any]:
    """Say what is measured: versions and settings."""
    return {
        "settings": peer.SETTINGS,
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in peer.PACKAGES},
    }


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.side")
    parser.add_argument("peer")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("about")
    commands.add_parser("work")
    sending = commands.add_parser("send")
    for option in ("--one", "--many", "--batch"):
        sending.add_argument(option, type=int, required=True)
    probing = commands.add_parser("probe")
    probing.add_argument("--count", type=int, required=True)
    probing.add_argument("--pause", type=float, required=True)
    args = parser.parse_args()

    peer: Any = importlib.import_module(f"bench.peers.{args.peer}")
    match args.command:
        case "work":
            peer.work()
            return
        case "send":
            answer = asyncio.run(send(peer, args.one, args.many, args.batch))
        case "probe":
            answer = asyncio.run(probe(peer, args.count, args.pause))
        case _:
            answer = about(peer)
    print(json.dumps(answer), flush=True)
    os._exit(0)  # ArdiQ's extension sometimes crashes where an interpreter ends in good order


if __name__ == "__main__":
    main()
