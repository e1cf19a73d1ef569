"""The producer's face for an event loop: the same methods as `client` has, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace.base import BaseClient, whoami
from headrace.calls.auditing import Note
from headrace.calls.call import Call
from headrace.connect import AnyAsyncTransport, open_async_transport
from headrace.errors import CallError, ConfigurationError, HeadraceError, WaitTimeout
from headrace.formats.keys import Keys
from headrace.lists import audit, dead_letters, delayed, events, runs
from headrace.lists.dead_letters import DeadLetterFilter
from headrace.lists.events import EventFilter
from headrace.lists.runs import RunFilter
from headrace.model.audit import AuditEntry
from headrace.model.event import (
    CanceledRun,
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
from headrace.model.list_index import ListIndex
from headrace.model.page import Page
from headrace.model.queue import Limit, QueueControls
from headrace.model.tree import EventTree
from headrace.plans import cancel, list_index, queues, read, retry, send, tree, wait
from headrace.plans.checks import check_server, has_workers, read_server_time
from headrace.plans.plan import Plan
from headrace.plans.prepare import AnyEvent, Item, Replicas, SendOptions
from headrace.plans.side_by_side import CHEAP_AT_ONCE, one_by_one, result_of, side_by_side
from headrace.transport.deadline import Deadline

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

        Raises:
            InvalidEvent, EventConflict, ServerFull, ServerUnreachable: as `send_event` does.
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
        timeout: float | timedelta | None = None,
    ) -> Page[EventRecord]:
        """Return a page of events, newest first by when they were first sent; delayed ones are among them.

        It goes back as far as `get_list_index` says. Delayed events alone, whenever they were sent, come from `due`
        itself, all that there are, those that are due first.

        A page looks at 2,000 entries, or at 500 records, at most, and says how far it looked; it may hold fewer than
        `limit` events, or none, and have a cursor.

        Args:
            name: only events with this name.
            source: only events from this source.
            account_id: only events of this account.
            state: only events in this state, or in one of several; `unmatched` for those that no job matched.
            since: only events that were sent at this time or later, as far as they are remembered; an aware datetime.
            until: as `since`, but at this time or before.
            cursor: the `cursor` of the page before.
            limit: how many events at most; 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: one of them breaks its rule.
        """
        asked = EventFilter(name=name, source=source, account_id=account_id, state=state, since=since, until=until)
        return await self._run(
            events.list_events(self.partitions, asked, cursor, limit, seal=self._seal), timeout, partial=True
        )

    async def iter_events(  # noqa: PLR0913 - each narrows the list, given by name
        self,
        *,
        name: str | None = None,
        source: str | None = None,
        account_id: str | None = None,
        state: EventState | Collection[EventState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncIterator[EventRecord]:
        """Yield all events that `list_events` lists, page by page; what can't be read is left out.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_events(
                name=name, source=source, account_id=account_id, state=state, since=since, until=until, cursor=cursor,
                timeout=timeout,
            )  # fmt: skip
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
        behind: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
        timeout: float | timedelta | None = None,
    ) -> Page[RunRecord]:
        """Return a page of runs; the page says how far it looked, and its `damaged` names what can't be read.

        Where they are from, and their order, depends on the states that are asked for:

        - only `executing`, `queued` or `waiting`: from the queues and from `due` themselves, all that there are. First
          those that have been in their queue longest, or that are due first. Runs that wait behind another one of their
          job and ordering key are a list of their own, by `behind`.
        - only final ones, without an event's name: by when they settled, the newest first.
        - any others: by when their events were sent, the newest first.

        The last two go back as far as `get_list_index` says. A page looks at 2,000 entries, or at 500 records, at most;
        it may hold fewer than `limit` runs, or none, and have a cursor all the same.

        Args:
            job: only runs of this job, `<app>/<job id>`.
            status: only runs in this state, such as `failed`, or in one of several.
            event_id: only the runs of this event, which are one page.
            event_name: only runs of events with this name.
            queue: only runs of this queue, `<app>/<queue>`.
            worker: only runs that this worker executes, or has executed last.
            older_than: only runs that have been executing for so long, in seconds or as a timedelta; with
                `status="executing"` alone.
            behind: only runs that wait behind another one of their job and ordering key, by lines; with
                `status="waiting"` alone. Their time is when their event was delivered; with `until` those are among
                them that have become the first of their line since then. As lines move on, a run may be listed twice.
            since: only runs that settled, or whose events were sent, at this time or later; open runs that came into
                their queue, or are due, then or later. An aware datetime.
            until: as `since`, but at this time or before.
            cursor: the `cursor` of the page before.
            limit: how many runs, about: the runs of one event stay together. 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: one of them breaks its rule.
            EventNotFound: no event is known under `event_id`.
        """
        asked = RunFilter(
            job=job, status=status, event_id=event_id, event_name=event_name, queue=queue, worker=worker,
            older_than=older_than, behind=behind, since=since, until=until,
        )  # fmt: skip
        return await self._run(
            runs.list_runs(self.partitions, asked, cursor, limit, seal=self._seal), timeout, partial=True
        )

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
        behind: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncIterator[RunRecord]:
        """Yield all runs that `list_runs` lists, page by page; what can't be read is left out.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_runs(
                job=job, status=status, event_id=event_id, event_name=event_name, queue=queue, worker=worker,
                older_than=older_than, behind=behind, since=since, until=until, cursor=cursor, timeout=timeout,
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
        timeout: float | timedelta | None = None,
    ) -> Page[DelayedEntry]:
        """Return a page of what is delayed, soonest first: events before their time, and runs that wait.

        A page looks at 500 entries at most, whose records say whether they are still delayed.

        Args:
            since: only what is due at this time or later; an aware datetime.
            until: as `since`, but at this time or before.
            cursor: the `cursor` of the page before.
            limit: how many entries at most; 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: one of them breaks its rule.
        """
        return await self._run(
            delayed.list_delayed(self.partitions, since, until, cursor, limit, self._seal), timeout, partial=True
        )

    async def iter_delayed(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncIterator[DelayedEntry]:
        """Yield all that `list_delayed` lists, page by page; what can't be read is left out.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_delayed(since=since, until=until, cursor=cursor, timeout=timeout)
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
        timeout: float | timedelta | None = None,
    ) -> Page[DeadLetter]:
        """Return a page of dead letters, newest first; a page looks at 2,000 of them at most.

        Args:
            job: only dead letters of this job, `<app>/<job id>`.
            reason: only those with this reason, such as `failed`.
            error: only those whose error has this text in it.
            since: only those that failed at this time or later; an aware datetime.
            until: as `since`, but at this time or before.
            cursor: the `cursor` of the page before.
            limit: how many at most; 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: one of them breaks its rule.
        """
        asked = DeadLetterFilter(job=job, reason=reason, error=error, since=since, until=until)
        return await self._run(
            dead_letters.list_dead_letters(self.partitions, asked, cursor, limit, self._seal), timeout, partial=True
        )

    async def iter_dead_letters(
        self,
        *,
        job: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters that `list_dead_letters` lists, page by page.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_dead_letters(
                job=job, reason=reason, error=error, since=since, until=until, cursor=cursor, timeout=timeout
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
        timeout: float | timedelta | None = None,
    ) -> Page[DeadLetterGroup]:
        """Return the newest 2,000 dead letters by job, reason and type of error, the largest group first.

        It is one page: `searched` says how far it looked. See `list_dead_letters` for the arguments; raise
        InvalidArgument if one of them breaks its rule.
        """
        asked = DeadLetterFilter(job=job, reason=reason, error=error, since=since, until=until)
        return await self._run(
            dead_letters.group_dead_letters(self.partitions, asked, self._seal), timeout, partial=True
        )

    async def pause_queue(
        self, queue: str, *, reason: str | None = None, timeout: float | timedelta | None = None
    ) -> QueueControls:
        """Let no run of a queue start any more, whatever would bring it there; runs that workers have already go on.

        A run counts as started once a worker has taken it from the queue, so it may begin a moment after the call.

        Args:
            queue: `<app>/<queue>`.
            reason: one line for the person who looks at the queue later.

        Raises:
            QueueNotFound: there is no such queue.
            PermissionMissing: the user may not; it needs the rights of an operator, as in deploy/acl.
        """
        return await self._run(queues.pause_queue(self.partitions, queue, reason), timeout)

    async def resume_queue(self, queue: str, *, timeout: float | timedelta | None = None) -> QueueControls:
        """Let the runs of a paused queue start again; raise QueueNotFound, PermissionMissing."""
        return await self._run(queues.resume_queue(self.partitions, queue), timeout)

    async def limit_queue(self, queue: str, limit: Limit, *, timeout: float | timedelta | None = None) -> QueueControls:
        """Limit how many runs of a queue may be in flight at once, over all workers, from now on.

        Runs that are in flight go on; none starts until there are fewer than the limit.

        Args:
            queue: `<app>/<queue>`.
            limit: at least the number of partitions; None for any number; `declared` for what the code says.

        Raises:
            InvalidArgument: the limit is none of these.
            QueueNotFound: there is no such queue.
            PermissionMissing: the user may not; it needs the rights of an operator, as in deploy/acl.
        """
        return await self._run(queues.limit_queue(self.partitions, queue, limit), timeout)

    async def list_queue_controls(self, *, timeout: float | timedelta | None = None) -> list[QueueControls]:
        """Return what is set for queues at run time: those that are paused, or have another limit than declared."""
        return await self._run(queues.list_queue_controls(self.partitions), timeout)

    async def get_list_index(self, *, timeout: float | timedelta | None = None) -> ListIndex:
        """Return how far back the lists of events and of ended runs go by time and by name, and how much they keep."""
        return await self._run(list_index.get_list_index(self.partitions), timeout)

    async def keep_listed(self, entries: int, *, timeout: float | timedelta | None = None) -> ListIndex:
        """Set how much the lists of events and of ended runs keep; they go back as far as that from now on.

        It holds for the whole namespace. What they have dropped already they do not get back.

        Args:
            entries: how many of each a partition keeps, about: 10,000, as it is at first, to 1,000,000. An entry is
                what one batch has sent or ended, twenty at most, and takes 50 to 900 bytes of the server's memory.

        Raises:
            InvalidArgument: `entries` is no such number.
            PermissionMissing: the user may not.
        """
        return await self._run(list_index.keep_listed(self.partitions, entries), timeout)

    async def has_workers(self, *, timeout: float | timedelta | None = None) -> bool | None:
        """Return whether a worker of the namespace is alive, whatever its app; None if this user may not ask."""
        return await self._run(has_workers(self.partitions), timeout, partial=True)

    async def server_time(self, *, timeout: float | timedelta | None = None) -> datetime:
        """Return the time by the server's clock, by which lists have what was sent, has settled or has failed."""
        return await self._run(read_server_time(), timeout)

    async def cancel_event(
        self,
        event_id: str,
        *,
        runs: bool = False,
        reason: str | None = None,
        wait: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> EventRecord:
        """Cancel a delayed event, so that no job sees it; the `status` of the record says whether it is canceled.

        An event that was delivered before stays delivered.

        Args:
            runs: of an event that was delivered, cancel all open runs, as `cancel_run` does; one that no worker has
                looked at yet gets none.
            reason: why, for the runs; 1 to 256 characters.
            wait: with `runs`, wait so many seconds for the functions of those that execute to end.

        Raises:
            EventNotFound: no such event is known.
            InvalidArgument: the reason or `wait` breaks its rule.
            StillExecuting: the function of one goes on after `wait`.
        """
        wait_s = cancel.seconds_of_wait(wait)
        plan = cancel.cancel_event(self.partitions, event_id, self._retention, self._seal, runs=runs, reason=reason)
        found = await self._run(plan, timeout, partial=True)
        going = await self._still_executing(found.runs, wait_s)
        return result_of(cancel.event_after_wait(found, going, wait_s))

    async def reschedule_event(
        self,
        event_id: str,
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> EventRecord:
        """Let a delayed event be due at another time; the `status` of the record says whether it is delayed still.

        An event that was delivered or canceled before stays as it is.

        Args:
            deliver_at: an aware datetime; one in the past delivers now.
            deliver_after: seconds >= 0 from now, or a timedelta; give one of the two.

        Raises:
            EventNotFound: no such event is known.
            InvalidArgument: neither or both are given, or one breaks its rule.
        """
        due = self._due_of(deliver_at, deliver_after)
        plan = cancel.reschedule_event(self.partitions, event_id, due, self._seal)
        return await self._run(plan, timeout, partial=True)

    async def replay_event(
        self,
        event_id: str,
        *,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent | None:
        """Send an event again as a new one, `<id>~r1`, `~r2` …, whose record names the original (`replay_of`).

        Jobs get it as any other event, with the contents, source, account and ordering key of the original. To queue a
        run of it once more is `retry_run`.

        Args:
            if_no_runs: send it only if neither the event nor a replay of it has a run, or may still get one; None is
                returned otherwise. Of clients that ask at once, one sends it.
            deliver_after: seconds >= 0 from now, or a timedelta.

        Raises:
            EventNotFound: no such event is known.
            ContentsGone: its contents are not kept any more.
            SealedEvent: it is sealed, and this client has no codec that opens it: a seal holds for one id.
            InvalidArgument: its id is too long to have something behind it.
        """
        plan = self._plan_to_replay(event_id, deliver_after, if_no_runs=if_no_runs)
        return await self._run(plan, timeout, partial=True)

    async def cancel_run(
        self,
        run_id: str,
        *,
        reason: str | None = None,
        wait: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> CanceledRun:
        """Cancel a run for good, whether it is queued, waits or executes; `answer` says what that has come to.

        It never comes back: no retry, no other worker and no dead worker's rescue begins it again. An async function
        that executes is cancelled within a second; a plain one goes on unless it looks at `ctx.is_canceled`. Whatever
        either comes to is dropped; until then it counts for the limit of its queue. A run that has ended before stays
        as it is.

        Args:
            reason: 1 to 256 characters; becomes the message of the run's error.
            wait: wait so many seconds for the function of a run that executes to end; `answer` is `stopped` then.

        Raises:
            RunNotFound: no such run is known.
            StillExecuting: the run is canceled, and its function goes on after `wait`.
            InvalidArgument: the reason breaks its rule.
        """
        wait_s = cancel.seconds_of_wait(wait)
        plan = cancel.cancel_run(self.partitions, run_id, self._retention, reason, self._seal)
        found = await self._run(plan, timeout, partial=True)
        going = await self._still_executing([found], wait_s)
        return result_of(cancel.run_after_wait(found, going, wait_s))

    async def cancel_runs(
        self,
        run_ids: Iterable[str],
        *,
        reason: str | None = None,
        queued: bool = False,
        wait: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[CanceledRun | HeadraceError]:
        """Cancel runs as `cancel_run` does, a few round trips for 25; return what each has come to, or its error.

        Give a few hundred at a time.

        Args:
            queued: only those that wait in a queue for a worker, or behind another one of their ordering key;
                RunNotQueued is the error of the others.
            wait: seconds for all of them together.
        """
        wait_s = cancel.seconds_of_wait(wait)
        plans = [
            cancel.cancel_run(self.partitions, each, self._retention, reason, self._seal, queued=queued)
            for each in run_ids
        ]
        found = await self._run(side_by_side(plans), timeout, partial=True)
        going = await self._still_executing(found, wait_s)
        return [cancel.run_after_wait(each, going, wait_s) for each in found]

    async def cancel_events(
        self,
        event_ids: Iterable[str],
        *,
        runs: bool = False,
        reason: str | None = None,
        wait: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[EventRecord | HeadraceError]:
        """Cancel events as `cancel_event` does, a few round trips for 25; return the record of each, or its error."""
        wait_s = cancel.seconds_of_wait(wait)
        plans = [
            cancel.cancel_event(self.partitions, each, self._retention, self._seal, runs=runs, reason=reason)
            for each in event_ids
        ]
        found = await self._run(side_by_side(plans), timeout, partial=True)
        runs_of = [run for each in found if isinstance(each, cancel.CanceledEvent) for run in each.runs]
        going = await self._still_executing(runs_of, wait_s)
        return [cancel.event_after_wait(each, going, wait_s) for each in found]

    async def replay_events(
        self,
        event_ids: Iterable[str],
        *,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[SentEvent | HeadraceError | None]:
        """Replay events as `replay_event` does, one after the other; return what each has come to, or its error."""
        plans = [self._plan_to_replay(each, deliver_after, if_no_runs=if_no_runs) for each in event_ids]
        return await self._run(one_by_one(plans), timeout, partial=True)

    async def retry_runs(
        self, run_ids: Iterable[str], *, canceled: bool = False, timeout: float | timedelta | None = None
    ) -> list[RunRecord | HeadraceError]:
        """Retry runs as `retry_run` does, a round trip for 25; return the record of each, or its error.

        Those of one ordering key are queued in the given order.
        """
        plan = retry.retry_runs(self.partitions, list(run_ids), self._seal, canceled=canceled)
        return await self._run(plan, timeout, partial=True)

    async def discard_dead_letters(
        self, entry_ids: Iterable[str], *, timeout: float | timedelta | None = None
    ) -> list[HeadraceError | None]:
        """Delete dead letters, a round trip for 500; return the error of each that is not there, None for the others.

        The records of their runs stay as they are, and the runs can still be retried while those are kept.
        """
        plans = [dead_letters.discard_dead_letter(self.partitions, each) for each in entry_ids]
        return await self._run(side_by_side(plans, CHEAP_AT_ONCE), timeout, partial=True)

    async def audit(  # noqa: PLR0913 - each is noted
        self,
        verb: str,
        asked: Mapping[str, Any],
        *,
        reason: str | None = None,
        done: int = 1,
        failed: int = 0,
        left_out: int = 0,
        via: str = "library",
        timeout: float | timedelta | None = None,
    ) -> None:
        """Note for `list_audit` what an operator has done; the commands of `headrace` do so themselves.

        Args:
            verb: what was done, such as `runs cancel`.
            asked: the ids, or the filter, that it was done to, by their names.
            left_out: how many of those that were looked at it was not to be done to.
            via: what it was done with.
        """
        note = Note(whoami(), via, verb, dict(asked), reason, done, failed, left_out)
        await self._run(audit.record(self.partitions, note), timeout)

    async def list_audit(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
        timeout: float | timedelta | None = None,
    ) -> Page[AuditEntry]:
        """Return a page of what operators have done, newest first; about 10,000 entries are kept.

        Raises:
            InvalidArgument: an argument breaks its rule.
        """
        return await self._run(audit.list_audit(self.partitions, since, until, cursor, limit), timeout)

    async def retry_run(
        self, run_id: str, *, canceled: bool = False, timeout: float | timedelta | None = None
    ) -> RunRecord:
        """Queue a run that ended without success again, from attempt 1, and delete its dead letter.

        A lost run is queued again, too: its record says queued or executing, and another program has deleted its entry.

        Args:
            canceled: also a run that was canceled.

        Raises:
            RunNotFound: no such run is known.
            RunNotRetryable: it has not ended without success and is not lost, or its payload is not kept any more.
        """
        plan = retry.retry_run(self.partitions, run_id, self._seal, canceled=canceled)
        return await self._run(plan, timeout, partial=True)

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
        return await self._wait(event_id, timeout, lambda keys: wait.watch(keys, event_id, self._seal))

    async def wait_for_run(self, run_id: str, timeout: float | timedelta) -> RunRecord:
        """Return the record of a run once it has ended.

        Raises:
            WaitTimeout: the run is still open after `timeout` seconds; nothing is stopped.
            RunNotFound, EventNotFound: no such run is known, or not even its event.
        """
        event_id = wait.event_of(run_id)
        return await self._wait(event_id, timeout, lambda keys: wait.watch_run(keys, run_id, self._seal), run_id)

    async def follow_events(self, *, name: str | Collection[str] | None = None) -> AsyncIterator[ListedEvent]:
        """Yield the events that are sent from now on, delayed ones too, without end: id, name and time.

        The server is asked twice a second. Raise InvalidArgument if a name is none.

        Args:
            name: only events with this name, or with one of several.
        """
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

    async def _still_executing(
        self, canceled: Iterable[CanceledRun | HeadraceError], wait_s: float | None
    ) -> list[CanceledRun]:
        """Return those whose functions go on after so many seconds; none where there is no wait."""
        if wait_s is None:
            return []
        going, deadline, pause_s = cancel.asked(canceled), time.monotonic() + wait_s, cancel.FIRST_PAUSE_S
        while going:
            going = await self._run(cancel.still_executing(self.partitions, going), partial=True)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if going:
                await asyncio.sleep(min(left, pause_s))
                pause_s = min(2 * pause_s, self._follow_s)
        return going

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
        _check_loop()
        self._is_checked = True
        try:
            self._is_checked = await self._run(check_server(self.partitions), partial=True, deadline=deadline)
        except HeadraceError:
            self._is_checked = False
            raise


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError as exc:
        raise ConfigurationError("AsyncClient needs asyncio; under trio call a Client in a thread") from exc
