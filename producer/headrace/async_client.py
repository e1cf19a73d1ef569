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
from headrace.plans import cancel, dead_letters, read, retry, runs, wait
from headrace.plans.checks import check_server, has_workers
from headrace.plans.plan import Plan
from headrace.plans.prepare import Given, Item, Replicas, SendOptions
from headrace.plans.runs import RunFilter

T = TypeVar("T")


class AsyncClient(BaseClient):
    """The same operations as `Client`, awaited; for the tasks of one event loop."""

    _transport: AnyAsyncTransport

    async def send_event(  # noqa: PLR0913 - each is an option, given by name
        self,
        event: Given,
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> SentEvent:
        """See `Client.send_event`."""
        options = SendOptions(
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            account_id=account_id,
            ordering_key=ordering_key,
            dedupe_for=dedupe_for,
        )
        replicas = self._replicas_of(wait_replicas, wait_replicas_timeout)
        return (await self._send([event], options, replicas, numbered=False))[0]

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
    ) -> list[SentEvent]:
        """See `Client.send_events`."""
        options = SendOptions(
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            account_id=account_id,
            ordering_key=ordering_key,
            dedupe_for=dedupe_for,
        )
        replicas = self._replicas_of(wait_replicas, wait_replicas_timeout)
        return await self._send(events, options, replicas, numbered=True)

    async def get_event(self, event_id: str) -> EventRecord:
        """See `Client.get_event`."""
        return await self._run(read.get_event(self.partitions, event_id, self._seal), partial=True)

    async def get_run(self, run_id: str) -> RunRecord:
        """See `Client.get_run`."""
        return await self._run(read.get_run(self.partitions, run_id, self._seal), partial=True)

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
    ) -> RunPage:
        """See `Client.list_runs`."""
        asked = RunFilter(job=job, status=status, event_id=event_id, event_name=event_name, since=since, until=until)
        return await self._run(runs.list_runs(self.partitions, asked, cursor, limit, seal=self._seal), partial=True)

    async def iter_runs(
        self,
        *,
        job: str | None = None,
        status: RunStatus | Collection[RunStatus] | None = None,
        event_id: str | None = None,
        event_name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[RunRecord]:
        """See `Client.iter_runs`."""
        cursor: str | None = None
        given = RunFilter(job=job, status=status, event_id=event_id, event_name=event_name, since=since, until=until)
        while True:
            page = await self._run(runs.list_runs(self.partitions, given, cursor, 100, seal=self._seal), partial=True)
            for run in page.runs:
                yield run
            if (cursor := page.cursor) is None:
                return

    async def iter_dead_letters(self) -> AsyncIterator[DeadLetter]:
        """See `Client.iter_dead_letters`."""
        cursor: str | None = None
        while True:
            page = await self.list_dead_letters(cursor=cursor)
            for letter in page.entries:
                yield letter
            if (cursor := page.cursor) is None:
                return

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

    async def list_dead_letters(self, *, cursor: str | None = None, limit: int = 100) -> DeadLetterPage:
        """See `Client.list_dead_letters`."""
        return await self._run(dead_letters.list_dead_letters(self.partitions, cursor, limit, self._seal))

    async def get_dead_letter(self, entry_id: str) -> DeadLetter:
        """See `Client.get_dead_letter`."""
        return await self._run(dead_letters.get_dead_letter(self.partitions, entry_id, self._seal))

    async def wait_for_event(self, event_id: str, timeout: float | timedelta) -> EventRecord:
        """See `Client.wait_for_event`."""
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

    async def _send(
        self,
        events: Iterable[Item],
        options: SendOptions,
        replicas: Replicas | None = None,
        *,
        numbered: bool,
        id_kind: str = "s",
    ) -> list[SentEvent]:
        """Send events; for subclasses in packages of this project, which name the kind that the events' own ids are."""
        plan = self._plan_to_send(events, options, replicas, numbered=numbered, id_kind=id_kind)
        return await self._run(plan, partial=True)

    async def _run(self, plan: Plan[T], *, partial: bool = False) -> T:
        advance: Callable[[Any], Sequence[Call[Any]]] = plan.send
        answers: Any = None
        while True:
            try:
                asked = advance(answers)
            except StopIteration as done:
                result: T = done.value
                return result
            if not self._is_checked:
                await self._check_server()
            try:
                answers, advance = await self._transport.run(asked, partial=partial), plan.send
            except CallError as exc:
                answers, advance = exc, plan.throw

    async def _check_server(self) -> None:
        self._is_checked = True
        try:
            self._is_checked = await self._run(check_server(self.partitions), partial=True)
        except HeadraceError:
            self._is_checked = False
            raise
