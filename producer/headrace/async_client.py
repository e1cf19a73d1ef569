"""The producer's face for an event loop: the same methods as `client` has, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace.base import BaseClient
from headrace.connect import AnyAsyncTransport, open_async_transport
from headrace.errors import HeadraceError, WaitTimeout
from headrace.formats.keys import Keys
from headrace.lists import dead_letters, delayed, events, runs
from headrace.lists.dead_letters import DeadLetterFilter
from headrace.lists.events import EventFilter
from headrace.lists.runs import RunFilter
from headrace.model.event import (
    DeadLetter,
    DeadLetterGroup,
    DelayedEntry,
    EventRecord,
    EventState,
    ListedEvent,
    RunRecord,
    RunStatus,
    SentEvent,
)
from headrace.model.page import Page
from headrace.plans import cancel, read, retry, wait
from headrace.plans.checks import check_server, has_workers
from headrace.plans.plan import Plan
from headrace.plans.prepare import AnyEvent, SendOptions

T = TypeVar("T")
Settling = TypeVar("Settling", EventRecord, RunRecord)


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
    ) -> SentEvent:
        """See `Client.send_event`."""
        options = SendOptions(deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key)
        return (await self._send([event], options, numbered=False))[0]

    async def send_events(  # noqa: PLR0913 - each is an option, given by name
        self,
        events: Iterable[AnyEvent],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """See `Client.send_events`."""
        options = SendOptions(deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key)
        return await self._send(events, options, numbered=True)

    async def get_event(self, event_id: str) -> EventRecord:
        """See `Client.get_event`."""
        return await self._run(read.get_event(self.partitions, event_id, self._seal), partial=True)

    async def get_run(self, run_id: str) -> RunRecord:
        """See `Client.get_run`."""
        return await self._run(read.get_run(self.partitions, run_id, self._seal), partial=True)

    async def list_events(  # noqa: PLR0913 - each narrows the list, given by name
        self,
        *,
        name: str | None = None,
        source: str | None = None,
        account_id: str | None = None,
        state: EventState | Collection[EventState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[EventRecord]:
        """See `Client.list_events`."""
        asked = EventFilter(name=name, source=source, account_id=account_id, state=state, since=since, until=until)
        return await self._run(events.list_events(self.partitions, asked, cursor, limit, seal=self._seal), partial=True)

    async def iter_events(
        self,
        *,
        name: str | None = None,
        source: str | None = None,
        account_id: str | None = None,
        state: EventState | Collection[EventState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[EventRecord]:
        """See `Client.iter_events`."""
        cursor: str | None = None
        while True:
            page = await self.list_events(
                name=name,
                source=source,
                account_id=account_id,
                state=state,
                since=since,
                until=until,
                cursor=cursor,
            )
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def list_runs(  # noqa: PLR0913 - each narrows the list, given by name
        self,
        *,
        job: str | None = None,
        status: RunStatus | Collection[RunStatus] | None = None,
        event_id: str | None = None,
        event_name: str | None = None,
        queue: str | None = None,
        worker: str | None = None,
        older_than: float | timedelta | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[RunRecord]:
        """See `Client.list_runs`."""
        asked = RunFilter(
            job=job, status=status, event_id=event_id, event_name=event_name, queue=queue, worker=worker,
            older_than=older_than, since=since, until=until,
        )  # fmt: skip
        return await self._run(runs.list_runs(self.partitions, asked, cursor, limit, seal=self._seal), partial=True)

    async def iter_runs(  # noqa: PLR0913 - each narrows the list, given by name
        self,
        *,
        job: str | None = None,
        status: RunStatus | Collection[RunStatus] | None = None,
        event_id: str | None = None,
        event_name: str | None = None,
        queue: str | None = None,
        worker: str | None = None,
        older_than: float | timedelta | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[RunRecord]:
        """See `Client.iter_runs`."""
        cursor: str | None = None
        while True:
            page = await self.list_runs(
                job=job, status=status, event_id=event_id, event_name=event_name, queue=queue, worker=worker,
                older_than=older_than, since=since, until=until, cursor=cursor,
            )  # fmt: skip
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def list_delayed(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[DelayedEntry]:
        """See `Client.list_delayed`."""
        return await self._run(
            delayed.list_delayed(self.partitions, since, until, cursor, limit, self._seal), partial=True
        )

    async def iter_delayed(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DelayedEntry]:
        """See `Client.iter_delayed`."""
        cursor: str | None = None
        while True:
            page = await self.list_delayed(since=since, until=until, cursor=cursor)
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def list_dead_letters(  # noqa: PLR0913 - each narrows the list, given by name
        self,
        *,
        job: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[DeadLetter]:
        """See `Client.list_dead_letters`."""
        asked = DeadLetterFilter(job=job, reason=reason, error=error, since=since, until=until)
        return await self._run(
            dead_letters.list_dead_letters(self.partitions, asked, cursor, limit, self._seal), partial=True
        )

    async def iter_dead_letters(
        self,
        *,
        job: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DeadLetter]:
        """See `Client.iter_dead_letters`."""
        cursor: str | None = None
        while True:
            page = await self.list_dead_letters(
                job=job, reason=reason, error=error, since=since, until=until, cursor=cursor
            )
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def dead_letter_groups(
        self,
        *,
        job: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Page[DeadLetterGroup]:
        """See `Client.dead_letter_groups`."""
        asked = DeadLetterFilter(job=job, reason=reason, error=error, since=since, until=until)
        return await self._run(dead_letters.group_dead_letters(self.partitions, asked, self._seal), partial=True)

    async def has_workers(self) -> bool | None:
        """See `Client.has_workers`."""
        return await self._run(has_workers(self.partitions), partial=True)

    async def cancel_event(self, event_id: str) -> EventRecord:
        """See `Client.cancel_event`."""
        return await self._run(
            cancel.cancel_event(self.partitions, event_id, self._retention, self._seal), partial=True
        )

    async def retry_run(self, run_id: str) -> RunRecord:
        """See `Client.retry_run`."""
        return await self._run(retry.retry_run(self.partitions, run_id, self._seal), partial=True)

    async def get_dead_letter(self, entry_id: str) -> DeadLetter:
        """See `Client.get_dead_letter`."""
        return await self._run(dead_letters.get_dead_letter(self.partitions, entry_id, self._seal))

    async def wait_for_event(self, event_id: str, timeout: float | timedelta) -> EventRecord:
        """See `Client.wait_for_event`."""
        return await self._wait(event_id, timeout, lambda keys: wait.watch(keys, event_id, self._seal))

    async def wait_for_run(self, run_id: str, timeout: float | timedelta) -> RunRecord:
        """See `Client.wait_for_run`."""
        event_id = wait.event_of(run_id)
        return await self._wait(event_id, timeout, lambda keys: wait.watch_run(keys, run_id, self._seal), run_id)

    async def follow_events(self, *, name: str | Collection[str] | None = None) -> AsyncIterator[ListedEvent]:
        """See `Client.follow_events`."""
        names = events.check_names(name)
        places = await self._run(events.latest(self.partitions), partial=True)
        while True:
            found = await self._run(events.sent_since(self.partitions, places), partial=True)
            for event in found:
                if names is None or event.name in names:
                    yield event
            if not found:
                await asyncio.sleep(self._follow_s)

    async def close(self) -> None:
        """See `Client.close`."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open_transport(self) -> Any:
        return open_async_transport(self.url, attempts=self._attempts)

    async def _wait(
        self,
        event_id: str,
        timeout: float | timedelta,
        look: Callable[[Keys], Plan[Settling]],
        run_id: str | None = None,
    ) -> Settling:
        """Return what a plan finds once it has settled; look again whenever its event may have."""
        timeout_s, failures = wait.seconds(timeout), 0
        deadline = time.monotonic() + timeout_s
        keys = await self._run(read.find_partition(self.partitions, event_id))
        listener = self._transport.listener(keys.events)
        try:
            while True:
                record = await self._run(look(keys), partial=True)
                left = deadline - time.monotonic()
                if record.is_settled:
                    return record
                if left <= 0:
                    raise WaitTimeout(event_id, timeout_s, run_id)
                try:
                    if not listener.subscribed:
                        await listener.subscribe(keys.settled_channel(event_id))
                    # The first message says that the subscription stands, so the record is read once more then.
                    await listener.get_message(timeout=min(left, self._reread_s if run_id is None else self._follow_s))
                    failures = 0
                except Exception as exc:  # noqa: BLE001 - what it is, `_delay_s` tells
                    failures += 1
                    await listener.aclose()
                    await asyncio.sleep(self._delay_s(exc, failures))
                    listener = self._transport.listener(keys.events)
        finally:
            await listener.aclose()

    async def _send(
        self,
        events: Iterable[AnyEvent],
        options: SendOptions,
        *,
        numbered: bool,
        id_kind: str = "s",
    ) -> list[SentEvent]:
        """Send events; for subclasses in packages of this project, which name the kind that the events' own ids are."""
        plan = self._plan_to_send(events, options, numbered=numbered, id_kind=id_kind)
        return await self._run(plan, partial=True)

    async def _run(self, plan: Plan[T], *, partial: bool = False) -> T:
        answers: Any = None
        while True:
            try:
                asked = plan.send(answers)
            except StopIteration as done:
                result: T = done.value
                return result
            if not self._is_checked:
                await self._check_server()
            answers = await self._transport.run(asked, partial=partial)

    async def _check_server(self) -> None:
        self._is_checked = True
        try:
            self._is_checked = await self._run(check_server(self.partitions), partial=True)
        except HeadraceError:
            self._is_checked = False
            raise
