"""The producer's face for an event loop: the same methods as `client` has, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace.base import BaseClient
from headrace.calls.call import Call
from headrace.connect import AnyAsyncTransport, open_async_transport
from headrace.errors import CallError, HeadraceError, WaitTimeout
from headrace.model.event import (
    DeadLetter,
    DeadLetterPage,
    EventRecord,
    RunPage,
    RunRecord,
    RunStatus,
    SentEvent,
)
from headrace.model.tree import EventTree
from headrace.plans import cancel, dead_letters, read, retry, runs, send, tree, wait
from headrace.plans.checks import check_server, has_workers
from headrace.plans.plan import Plan
from headrace.plans.prepare import AnyEvent, Item, Replicas, SendOptions
from headrace.plans.runs import RunFilter
from headrace.transport.deadline import Deadline

T = TypeVar("T")


class AsyncClient(BaseClient):
    """The same operations as `Client`, awaited; for the tasks of one event loop."""

    _transport: AnyAsyncTransport

    async def send_event(  # noqa: PLR0913 - each is an option, given by name
        self,
        event: AnyEvent,
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
        dedupe_for: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent:
        """Send an event: to every job that it matches, at once or at its time. The server has it once this returns.

        Sending an id again while it is delayed replaces payload, context and due time; once it is delivered or
        canceled nothing happens, the answer's `duplicate` is true, and its `status` says which.

        Args:
            event: an Event, a mapping with the same keys, or a typed event (see `TypedEvent`).
            deliver_at: an aware datetime; one in the past delivers now.
            deliver_after: seconds >= 0, or a timedelta; not together with `deliver_at`.
            account_id: reaches the job as `ctx.account.id`.
            wait_replicas: the answer comes once so many replicas have the event, or the time is up; its `replicas`
                says how many have it. Too few are no error: the event is with the master.
            wait_replicas_timeout: how long that may take; at most 5 seconds.
            ordering_key: runs of events with the same key begin in the order in which they were sent, one at a time
                for each job; 1 to 256 characters.
            dedupe_for: seconds, or a timedelta, for which the event's id is remembered at least once the event has
                settled; see `Event.id`, which it needs.
            timeout: seconds or a timedelta for this call, in place of the client's; a wait for replicas comes on top.

        Raises:
            InvalidEvent: a field or option breaks its rule; nothing was sent.
            EventConflict: the id is known under another name or source; nothing changed.
            ServerFull: the server is full; nothing was sent.
            ServerUnreachable: the server was not reached in all attempts, or not in time. If `may_be_done`, whether
                the event arrived is not known, and sending it again with the same id can't deliver it twice.
        """
        options = SendOptions(
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            account_id=account_id,
            ordering_key=ordering_key,
            dedupe_for=dedupe_for,
        )
        replicas = self._replicas_of(wait_replicas, wait_replicas_timeout)
        return (await self._send([event], options, replicas, numbered=False, timeout=timeout))[0]

    async def send_events(  # noqa: PLR0913 - each is an option, given by name
        self,
        events: Iterable[Item],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
        dedupe_for: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[SentEvent]:
        """Send events; return the answers in the order of the events. See `send_event`.

        Each of them is an event, or a pair of an event and its `SendOptions`, which go before the call's own.

        They go in one round trip, in batches of at most 500 events and 4 MB. Batches with events of one ordering key
        go one after the other: if one fails, those behind it are not sent, so no event overtakes another of its key.
        The error's `sent` holds what was sent all the same, of a ServerFull as well.
        """
        options = SendOptions(
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            account_id=account_id,
            ordering_key=ordering_key,
            dedupe_for=dedupe_for,
        )
        replicas = self._replicas_of(wait_replicas, wait_replicas_timeout)
        return await self._send(events, options, replicas, numbered=True, timeout=timeout)

    async def get_event(self, event_id: str, *, timeout: float | timedelta | None = None) -> EventRecord:
        """Return the record of an event and of its runs; raise EventNotFound, DamagedRecord."""
        return await self._run(read.get_event(self.partitions, event_id, self._seal), timeout, partial=True)

    async def get_tree(self, event_id: str, *, depth: int = 3, timeout: float | timedelta | None = None) -> EventTree:
        """Return an event with its runs, the events that they have sent, those events' runs, and so on.

        At most a hundred events, and of each run the first hundred that it has sent; what an attempt has sent is known
        once the attempt has ended.

        Args:
            depth: how many levels of events below the event; 1 to 5.

        Raises:
            EventNotFound, DamagedRecord: of the event itself; `EventTree.error` says it of those below.
        """
        return await self._run(tree.get_tree(self.partitions, event_id, depth, self._seal), timeout, partial=True)

    async def get_run(self, run_id: str, *, timeout: float | timedelta | None = None) -> RunRecord:
        """Return the record of a run; raise RunNotFound, DamagedRecord."""
        return await self._run(read.get_run(self.partitions, run_id, self._seal), timeout, partial=True)

    async def list_runs(  # noqa: PLR0913 - each narrows the listing, given by name
        self,
        *,
        job: str | None = None,
        status: RunStatus | Collection[RunStatus] | None = None,
        event_id: str | None = None,
        event_name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
        timeout: float | timedelta | None = None,
    ) -> RunPage:
        """Return a page of runs, newest first; the page's `damaged` names what can't be read.

        Runs are listed by when they settled if only final statuses are asked for, without an event's name; otherwise by
        when their events were sent. About 10,000 of each are remembered in a partition.

        Args:
            job: only runs of this job, `<app>/<job id>`.
            status: only runs in this state, such as `failed`, or in one of several.
            event_id: only the runs of this event, which are one page.
            event_name: only runs of events with this name.
            since: only runs that settled, or whose events were sent, at this time or later; an aware datetime.
            until: as `since`, but at this time or before.
            cursor: the `cursor` of the page before.
            limit: how many runs, about: the runs of one event stay together. 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: one of them breaks its rule.
            EventNotFound: no event is known under `event_id`.
        """
        asked = RunFilter(job=job, status=status, event_id=event_id, event_name=event_name, since=since, until=until)
        return await self._run(
            runs.list_runs(self.partitions, asked, cursor, limit, seal=self._seal), timeout, partial=True
        )

    async def iter_runs(  # noqa: PLR0913 - each narrows the listing, given by name
        self,
        *,
        job: str | None = None,
        status: RunStatus | Collection[RunStatus] | None = None,
        event_id: str | None = None,
        event_name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncIterator[RunRecord]:
        """Yield all runs that `list_runs` lists, page by page; what can't be read is left out.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        given = RunFilter(job=job, status=status, event_id=event_id, event_name=event_name, since=since, until=until)
        while True:
            page = await self._run(
                runs.list_runs(self.partitions, given, cursor, 100, seal=self._seal), timeout, partial=True
            )
            for run in page.runs:
                yield run
            if (cursor := page.cursor) is None:
                return

    async def iter_dead_letters(self, *, timeout: float | timedelta | None = None) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters, newest first, page by page; each page may take `timeout`."""
        cursor: str | None = None
        while True:
            page = await self.list_dead_letters(cursor=cursor, timeout=timeout)
            for letter in page.entries:
                yield letter
            if (cursor := page.cursor) is None:
                return

    async def has_workers(self, *, timeout: float | timedelta | None = None) -> bool | None:
        """Return whether a worker of the namespace is alive, whatever its app; None if this user may not ask."""
        return await self._run(has_workers(self.partitions), timeout, partial=True)

    async def cancel_event(self, event_id: str, *, timeout: float | timedelta | None = None) -> EventRecord:
        """Cancel a delayed event, so that no job sees it; the `status` of the record says whether it is canceled.

        An event that was delivered before stays delivered. Raise EventNotFound.
        """
        return await self._run(
            cancel.cancel_event(self.partitions, event_id, self._retention, self._seal), timeout, partial=True
        )

    async def retry_run(self, run_id: str, *, timeout: float | timedelta | None = None) -> RunRecord:
        """Queue a run that ended without success again, from attempt 1, and delete its dead letter.

        A lost run is queued again, too: its record says queued or executing, and another program has deleted its entry.

        Raises:
            RunNotFound: no such run is known.
            RunNotRetryable: it has not ended without success and is not lost, or its payload is not kept any more.
        """
        return await self._run(retry.retry_run(self.partitions, run_id, self._seal), timeout, partial=True)

    async def list_dead_letters(
        self, *, cursor: str | None = None, limit: int = 100, timeout: float | timedelta | None = None
    ) -> DeadLetterPage:
        """Return a page of dead letters, newest first."""
        return await self._run(dead_letters.list_dead_letters(self.partitions, cursor, limit, self._seal), timeout)

    async def get_dead_letter(self, entry_id: str, *, timeout: float | timedelta | None = None) -> DeadLetter:
        """Return one dead letter; raise DeadLetterNotFound."""
        return await self._run(dead_letters.get_dead_letter(self.partitions, entry_id, self._seal), timeout)

    async def wait_for_event(self, event_id: str, timeout: float | timedelta) -> EventRecord:
        """Return the record of an event once every run of it has ended, or the event was canceled.

        Each read while it waits may take the client's own timeout.

        Raises:
            WaitTimeout: the event is still open after `timeout` seconds; nothing is stopped.
            EventNotFound: no such event is known.
        """
        timeout_s, failures = wait.seconds(timeout), 0
        deadline = time.monotonic() + timeout_s
        keys = await self._run(read.find_partition(self.partitions, event_id))
        listener = self._transport.listener(keys.events)
        try:
            while True:
                record = await self._run(wait.watch(keys, event_id, self._seal), partial=True)
                left = deadline - time.monotonic()
                if record.is_settled:
                    return record
                if left <= 0:
                    raise WaitTimeout(event_id, timeout_s)
                try:
                    if not listener.subscribed:
                        await listener.subscribe(keys.settled_channel(event_id))
                    # The first message says that the subscription stands, so the record is read once more then.
                    await listener.get_message(timeout=min(left, self._reread_s))
                    failures = 0
                except Exception as exc:  # noqa: BLE001 - what it is, `_delay_s` tells
                    failures += 1
                    await listener.aclose()
                    await asyncio.sleep(self._delay_s(exc, failures))
                    listener = self._transport.listener(keys.events)
        finally:
            await listener.aclose()

    async def close(self) -> None:
        """Close the connections of the client; a later call opens new ones, with the same settings."""
        if self._has_transport:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open_transport(self) -> Any:
        return open_async_transport(self.url, attempts=self._attempts)

    async def _send(
        self,
        events: Iterable[Item],
        options: SendOptions,
        replicas: Replicas | None = None,
        *,
        numbered: bool,
        parent_run: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[SentEvent]:
        """Send events; for subclasses in packages of this project, which name the run that sends them."""
        plan = self._plan_to_send(events, options, replicas, numbered=numbered, parent_run=parent_run)
        try:
            return await self._run(plan, partial=True, deadline=self._until(timeout, replicas))
        except CallError as exc:
            send.note_safe_repeat(exc)
            raise

    async def _run(
        self,
        plan: Plan[T],
        timeout: float | timedelta | None = None,
        *,
        partial: bool = False,
        deadline: Deadline | None = None,
    ) -> T:
        if deadline is None:
            deadline = self._until(timeout)
        advance: Callable[[Any], Sequence[Call[Any]]] = plan.send
        answers: Any = None
        while True:
            try:
                asked = advance(answers)
            except StopIteration as done:
                result: T = done.value
                return result
            if not self._is_checked:
                await self._check_server(deadline)
            try:
                answers = await self._transport.run(asked, partial=partial, deadline=deadline)
                advance = plan.send
            except CallError as exc:
                answers, advance = exc, plan.throw

    async def _check_server(self, deadline: Deadline | None) -> None:
        self._is_checked = True
        try:
            self._is_checked = await self._run(check_server(self.partitions), partial=True, deadline=deadline)
        except HeadraceError:
            self._is_checked = False
            raise
