"""A server that answers a worker's calls as a test has scripted: answers that no real server gives on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace import HeadraceError, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig
from headrace_worker.app.routes import fingerprint_of
from headrace_worker.membership.member import Member
from headrace_worker.membership.setup import WorkerSetup


class ScriptedServer:
    """Answers each call with what `answer` returns, and raises errors where a transport raises them."""

    def __init__(self, answer: Callable[[Call[Any]], Any]) -> None:
        self.answer = answer

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        """Return the answers in order; with `partial`, those that are errors among them."""
        answers = [self.answer(call) for call in calls]
        for answer in answers:
            if isinstance(answer, HeadraceError) and (isinstance(answer, ServerUnreachable) or not partial):
                raise answer
        return answers


def member_over(server: ScriptedServer | None = None, app: App | None = None, **settings: Any) -> Member:
    """Return a member whose calls go to this server."""
    config = WorkerConfig(**settings)
    member = Member.of(WorkerSetup.of(app or App("app"), Partitions("test"), "redis://localhost:1", config))
    if server is not None:
        member.server.commands = server  # type: ignore[assignment]
    return member


def name_of(call: Call[Any]) -> str:
    """Return the name of a call's script, or its command."""
    return call.script.name if call.script else str(call.args[0])


def stored_routes(blob: bytes) -> list[bytes]:
    """Return the fields of an app's routes to which one worker has subscribed."""
    fingerprint = fingerprint_of(blob).encode()
    return [b"s:" + fingerprint, blob, b"n:" + fingerprint, b"1", b"w:w", fingerprint]
