"""The lease's thread stops when asked to, and renews no name that is not registered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace import ServerUnreachable
from headrace.calls.call import Call
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.lease import Answer, Lease
from headrace_worker.membership.reporter import Reporter
from headrace_worker.membership.watch import Watch
from headrace_worker.protocol.leases import Fenced, Renewed
from tests.support.calls import arguments_of
from tests.support.scripted_server import ScriptedServer, member_over
from tests.support.waiting import await_until

HELD = [b"held", 1, 1, b"1", 60_000, [], [], 1_700_000_000_000, 0, 0, b"0", b""]


class _Server:
    """Answers renewals, each with the next of its replies, and keeps them; takes every report."""

    def __init__(self, *replies: Any) -> None:
        self.asked: list[Call[Any]] = []
        self.renewed = threading.Semaphore(0)
        self.answered_at = 0.0
        self._replies = list(replies)

    def run(self, calls: Sequence[Call[Any]], *, partial: bool) -> list[Any]:
        assert partial
        self.answered_at = time.monotonic()
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        self.asked.append(calls[0])
        self.renewed.release()
        if isinstance(reply, Exception):
            raise reply
        return [calls[0].read(reply), *(1 for _ in calls[1:])]

    def close(self) -> None:
        """Nothing is to be closed."""


class _Setup:
    """A lease over a server that only answers."""

    def __init__(self, server: _Server, lease_s: float = 600) -> None:
        self.server = server
        self.answers: list[tuple[str, Answer]] = []
        self.member = member_over(lease=lease_s, stall=2 * lease_s + 60)
        self.identity = self.member.identity
        self.identity.is_registered.set()
        self.faults: list[str] = []
        self.watch = Watch(self.member.setup.config, InFlight(10), self.member.guard)
        self.lease = Lease(
            self.member,
            self.watch,
            lambda name, answer: self.answers.append((name, answer)),
            lambda: 8,
            lambda verdict, _: self.faults.append(verdict.fault),
            Reporter(self.member, InFlight(10)),
        )
        self.lease._transport = server  # type: ignore[assignment]

    async def renewals(self, count: int) -> None:
        """So many renewals have been asked for."""
        for _ in range(count):
            assert await asyncio.to_thread(self.server.renewed.acquire, timeout=20)


async def test_it_renews_at_once_and_when_asked_to() -> None:
    """And tells the event loop what the answer was, with the name that was renewed."""
    setup = _Setup(_Server(HELD))
    setup.lease.start()
    await setup.renewals(1)
    setup.lease.renew_now()
    await setup.renewals(1)
    await asyncio.wait_for(setup.lease.stop(), 20)
    assert setup.answers == [(setup.identity.name, Renewed(True, True, "1", 60_000, [], [], 1_700_000_000_000))] * 2  # noqa: FBT003 - in order


async def test_a_stop_just_before_the_wait_is_not_missed() -> None:
    """Wherever in its round the thread is then, it does not sleep through a third of a lease."""
    setup = _Setup(_Server(HELD))
    wake = setup.lease._wake
    clear = wake.clear

    def stopped_before_clearing() -> None:
        setup.lease.end()
        clear()

    wake.clear = stopped_before_clearing  # type: ignore[method-assign]
    setup.lease.start()
    await setup.renewals(1)
    if not setup.lease._over:
        setup.lease.renew_now()
    assert setup.lease._thread is not None
    await asyncio.to_thread(setup.lease._thread.join, 10)
    assert not setup.lease._thread.is_alive()


async def test_a_name_is_renewed_only_while_it_is_registered() -> None:
    """One that the server does not know yet would be taken for a fenced one, and dropped with all its runs."""
    setup = _Setup(_Server(HELD))
    setup.lease.start()
    await setup.renewals(1)
    old = setup.identity.name
    setup.identity.take_new_name()
    setup.lease.renew_now()
    assert not await asyncio.to_thread(setup.server.renewed.acquire, timeout=0.1)
    setup.identity.is_registered.set()
    setup.lease.renew_now()
    await setup.renewals(1)
    await setup.lease.stop()
    names = [arguments_of(call)["worker"] for call in setup.server.asked]
    assert names == [old, setup.identity.name]
    assert old != setup.identity.name


@pytest.mark.parametrize("fault", [ServerUnreachable("gone"), RuntimeError("what")], ids=repr)
async def test_no_failure_ends_the_thread(fault: Exception) -> None:
    """The next renewal is tried all the same."""
    setup = _Setup(_Server(fault, fault, HELD), lease_s=3)
    setup.lease.start()
    await setup.renewals(3)
    await await_until(lambda: any(isinstance(answer, Renewed) for _, answer in setup.answers), what="the third answer")
    await setup.lease.stop()


async def test_a_lease_that_ends_soon_brings_the_renewal_forward() -> None:
    """Sooner than a third of the lease where another's lease may end before."""
    setup = _Setup(
        _Server(
            [b"held", 1, 1, b"1", 20, [], [], 1, 0, 0, b"0", b""],
            [b"held", 1, 1, b"1", -5, [], [], 1, 0, 0, b"0", b""],
            HELD,
        )
    )
    setup.lease.start()
    await setup.renewals(3)
    assert not await asyncio.to_thread(setup.server.renewed.acquire, timeout=0.1)
    await setup.lease.stop()


async def test_a_fenced_name_is_reported_once_a_round() -> None:
    """The event loop decides what becomes of it."""
    setup = _Setup(_Server([b"fenced"]))
    setup.lease.start()
    await setup.renewals(1)
    await setup.lease.stop()
    await asyncio.sleep(0)
    assert setup.answers == [(setup.identity.name, Fenced())]


async def test_the_lease_is_counted_from_when_it_was_asked_for() -> None:
    """The server counts from the arrival of the call, which may be long before its answer arrives."""
    setup = _Setup(_Server(HELD))
    setup.lease.start()
    await setup.renewals(1)
    await setup.lease.stop()
    assert 0 < setup.identity.lease_until <= setup.server.answered_at + 600


async def test_a_fenced_name_has_no_lease() -> None:
    """What is read under it must not begin."""
    setup = _Setup(_Server([b"fenced"]))
    setup.lease.start()
    await setup.renewals(1)
    await setup.lease.stop()
    assert setup.identity.lease_until == 0


class _Registry(ScriptedServer):
    """Answers what a worker asks for its registration, and can do something meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] | None = None) -> None:
        super().__init__(self._answer)
        self.answered_at = 0.0
        self._meanwhile = meanwhile

    def _answer(self, _: Call[Any]) -> int:
        self.answered_at = time.monotonic()
        if self._meanwhile is not None:
            self._meanwhile()
        return 1


async def test_a_registration_is_a_lease_from_when_it_was_asked_for() -> None:
    """As a renewal is."""
    member = _Setup(_Server(HELD)).member
    member.server.commands = registry = _Registry()  # type: ignore[assignment]
    await member.register()
    assert 0 < member.identity.lease_until <= registry.answered_at + 600
    assert member.identity.is_registered.is_set()


async def test_a_name_that_was_given_up_meanwhile_is_not_registered() -> None:
    """Another one was taken while the server had the registration: that one has no lease yet."""
    member = _Setup(_Server(HELD)).member
    member.server.commands = _Registry(member.identity.take_new_name)  # type: ignore[assignment]
    await member.register()
    assert not member.identity.is_registered.is_set()
    assert member.identity.lease_until == 0


@pytest.mark.parametrize(("stops", "movement"), [(False, "moves"), (True, "resigns")])
async def test_a_renewal_says_whether_the_worker_moves_or_stops(stops: bool, movement: str) -> None:  # noqa: FBT001
    """A stopping one resigns."""
    setup = _Setup(_Server(HELD))
    if stops:
        setup.identity.stopping.set()
    setup.lease.start()
    await setup.renewals(1)
    await setup.lease.stop()
    (call,) = setup.server.asked
    assert (arguments_of(call)["movement"], arguments_of(call)["slots"]) == (movement, 8)
