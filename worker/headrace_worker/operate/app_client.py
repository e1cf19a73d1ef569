"""The clients that look at apps, jobs, workers and queues, and change them. To change them needs an operator's rights.

`AppClient` is for threads, `AsyncAppClient` for an event loop: the same methods, awaited; a test holds the two equal.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace import AsyncClient, Client, Event, HeadraceError, Page, SentEvent
from headrace.base import BaseClient
from headrace.plans.plan import Plan
from headrace.plans.prepare import AnyEvent, SendOptions, prepare
from headrace.plans.side_by_side import one_by_one
from headrace_worker.app.app import App
from headrace_worker.doctor.diagnose import diagnose
from headrace_worker.doctor.finding import Diagnosis
from headrace_worker.inspect.apps import AppInfo, list_apps
from headrace_worker.inspect.explanation import Explanation, explain_event, explain_send
from headrace_worker.inspect.jobs import JobDetail, RegisteredJob, find_job, get_job, list_jobs
from headrace_worker.inspect.queues import QueueInfo, get_queue, list_queues
from headrace_worker.inspect.tallies import Stats, read_stats
from headrace_worker.inspect.workers import WorkerDetail, WorkerInfo, get_worker, list_workers
from headrace_worker.operate.forget_app import ForgottenApp, forget_app
from headrace_worker.operate.instruct_workers import Instructed, instruct_workers
from headrace_worker.operate.register_app import RegisteredApp, register_app
from headrace_worker.operate.send_to_job import Asked, find_enabled, trigger_job
from headrace_worker.operate.switch_job import SwitchedJob, disable_job, enable_job


class _AppPlans(BaseClient):
    """The plans that need the client's settings."""

    def _plan_to_send_one(self, event: Event, options: SendOptions, job: str) -> Plan[list[SentEvent]]:
        return self._plan_to_send([event], options, None, numbered=False, parent_run=None, job=job)

    def _plan_to_trigger(self, job: str, payload: Any, asked: Asked) -> Plan[SentEvent]:
        return trigger_job(self.partitions, job, payload, asked, self._plan_to_send_one)

    def _plan_to_replay_to(
        self, event_id: str, job: str | None, deliver_after: float | timedelta | None, *, if_no_runs: bool
    ) -> Plan[SentEvent | None]:
        if job is not None:
            yield from find_enabled(self.partitions, job)
        return (yield from self._plan_to_replay(event_id, deliver_after, if_no_runs=if_no_runs, job=job))

    def _plan_to_replay_all(
        self, event_ids: Iterable[str], job: str | None, deliver_after: float | timedelta | None, *, if_no_runs: bool
    ) -> Plan[list[SentEvent | HeadraceError | None]]:
        if job is not None:
            yield from find_enabled(self.partitions, job)
        plans = [self._plan_to_replay(each, deliver_after, if_no_runs=if_no_runs, job=job) for each in event_ids]
        return (yield from one_by_one(plans))

    def _plan_to_diagnose(self) -> Plan[Diagnosis]:
        return diagnose(self.partitions, time.time, secrets.token_hex(6))

    def _plan_to_explain(self, event: AnyEvent, ordering_key: str | None) -> Plan[Explanation]:
        (outgoing,) = prepare(
            [event],
            SendOptions(ordering_key=ordering_key),
            now=lambda: datetime.now(UTC),
            max_event_bytes=self._max_event_bytes,
            numbered=False,
            source=self._source,
        )
        return explain_send(self.partitions, outgoing)


class AppClient(Client, _AppPlans):
    """A client that also looks at apps, jobs, workers and queues, registers apps, disables jobs, and stops workers.

    A method's `timeout` is how long this call may take, in seconds or as a timedelta; None is the client's.
    """

    def register_app(self, app: App, *, timeout: float | timedelta | None = None) -> RegisteredApp:
        """Let the app's subscriptions count before its first worker starts: runs of its jobs wait in its queues.

        Workers of the app that are alive with other subscriptions lose none: those count until the last such worker
        has stopped.

        Raises:
            DefinitionError: the app has no jobs.
            ServerFull: the server is full; register again once it is not.
            PermissionMissing: the user may not.
        """
        return self._run(register_app(self.partitions, app), timeout)

    def forget_app(self, app: str, *, timeout: float | timedelta | None = None) -> ForgottenApp:
        """End the subscriptions of an app, by its name: new events make no runs of its jobs. Its runs stay.

        Raises:
            UnknownApp: there is no such app.
            AppAlive: a worker of it is alive.
            PermissionMissing: the user may not.
        """
        return self._run(forget_app(self.partitions, app), timeout)

    def diagnose(self, *, timeout: float | timedelta | None = None) -> Diagnosis:
        """Return what is wrong with the namespace and its servers, each with what mends it.

        What this user may not ask is left out, and said; where runs depend on it, that is an error. Whether the user
        may do what a worker does is tried on scratch keys, which are deleted at once.
        """
        return self._run(self._plan_to_diagnose(), timeout, partial=True)

    def list_apps(self, *, timeout: float | timedelta | None = None) -> Page[AppInfo]:
        """Return what is registered of every app, by name, which subscriptions count, and who has them, on one page."""
        return self._run(list_apps(self.partitions), timeout, partial=True)

    def list_jobs(self, *, timeout: float | timedelta | None = None) -> Page[RegisteredJob]:
        """Return the jobs of all apps, by name, on one page: triggers, live workers, what waits, which are disabled."""
        return self._run(list_jobs(self.partitions), timeout, partial=True)

    def get_job(self, job: str, *, timeout: float | timedelta | None = None) -> JobDetail:
        """Return one job, `<app>/<job id>`; raise UnknownJob."""
        return self._run(get_job(self.partitions, job), timeout, partial=True)

    def find_job(self, job: str, *, timeout: float | timedelta | None = None) -> RegisteredJob:
        """Return one job, `<app>/<job id>`, as registered: quicker than `get_job`, without counts; raise UnknownJob."""
        return self._run(find_job(self.partitions, job), timeout, partial=True)

    def disable_job(
        self, job: str, reason: str | None = None, *, timeout: float | timedelta | None = None
    ) -> SwitchedJob:
        """Let no event make a run of a job, from the return of this call on; runs that it has go on.

        The job stays disabled through restarts and releases of its app, until it is enabled. Events that are dispatched
        meanwhile make no run of it later either. To disable it again changes nothing but the reason, if one is given.

        Args:
            reason: 1 to 256 characters, for those who look at the job.

        Raises:
            UnknownJob: it is not registered.
            PermissionMissing: the user may not.
        """
        return self._run(disable_job(self.partitions, job, reason), timeout, partial=True)

    def enable_job(self, job: str, *, timeout: float | timedelta | None = None) -> SwitchedJob:
        """Let events make runs of a disabled job again; to enable one that is not disabled changes nothing.

        Raises:
            UnknownJob: it is not registered.
            PermissionMissing: the user may not.
        """
        return self._run(enable_job(self.partitions, job), timeout, partial=True)

    def trigger_job(
        self,
        job: str,
        payload: Any = None,
        *,
        event_name: str | None = None,
        context: Any = None,
        event_id: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent:
        """Send an event that only this job gets, whatever its trigger; its source is the first of the trigger's.

        All dispatchers of the namespace must be of this release: an older one moves the event to `dead`.

        Args:
            event_name: by default that of a typed payload, or else the first of the trigger's.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            UnknownJob: it is not registered.
            JobDisabled: it gets no runs.
            InvalidEvent: the payload can't be sent, or the id can be none.
        """
        asked = Asked(event_name, context, event_id)
        return self._run(self._plan_to_trigger(job, payload, asked), timeout, partial=True)

    def replay_event(
        self,
        event_id: str,
        *,
        job: str | None = None,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent | None:
        """Send an event again as a new one, as `Client.replay_event` does, to every job or to a chosen one.

        Args:
            job: the one job that gets it, `<app>/<job id>`, whatever its trigger, also if it did not exist when the
                event was sent.
            if_no_runs: send it only if neither the event nor a replay of it has a run, of this job if one is named, or
                may still get one. Of clients that ask at once for the same job, one sends it.
            deliver_after: seconds >= 0 from now, or a timedelta.

        Raises:
            UnknownJob: the job is not registered.
            JobDisabled: it gets no runs.
            EventNotFound, ContentsGone, SealedEvent, InvalidArgument: as `Client.replay_event` does.
        """
        plan = self._plan_to_replay_to(event_id, job, deliver_after, if_no_runs=if_no_runs)
        return self._run(plan, timeout, partial=True)

    def replay_events(
        self,
        event_ids: Iterable[str],
        *,
        job: str | None = None,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[SentEvent | HeadraceError | None]:
        """Replay events as `replay_event` does, one after the other; return what each has come to, or its error."""
        plan = self._plan_to_replay_all(event_ids, job, deliver_after, if_no_runs=if_no_runs)
        return self._run(plan, timeout, partial=True)

    def explain_event(self, event_id: str, *, timeout: float | timedelta | None = None) -> Explanation:
        """Return which jobs get an event by the routes of now and, for each other job, the first condition that fails.

        Raises:
            EventNotFound: no such event is known.
            ContentsGone: its contents are not kept any more.
        """
        return self._run(explain_event(self.partitions, event_id, self._seal), timeout, partial=True)

    def explain_send(
        self, event: AnyEvent, *, ordering_key: str | None = None, timeout: float | timedelta | None = None
    ) -> Explanation:
        """Return which jobs would get an event, as `explain_event` does; send nothing.

        Raises:
            InvalidEvent: it could not be sent.
        """
        return self._run(self._plan_to_explain(event, ordering_key), timeout, partial=True)

    def list_workers(
        self, *, cursor: str | None = None, limit: int = 100, timeout: float | timedelta | None = None
    ) -> Page[WorkerInfo]:
        """Return a page of the workers of the namespace, by name.

        It looks at 10,000 leases of a partition at most, those that end last: `searched` says whether there are more.

        Args:
            cursor: the `cursor` of the page before.
            limit: 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: an argument breaks its rule.
        """
        return self._run(list_workers(self.partitions, cursor, limit), timeout, partial=True)

    def iter_workers(self, *, timeout: float | timedelta | None = None) -> Iterator[WorkerInfo]:
        """Yield all workers that `list_workers` lists, page by page.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = self.list_workers(cursor=cursor, timeout=timeout)
            yield from page.items
            if (cursor := page.cursor) is None:
                return

    def get_worker(self, name: str, *, timeout: float | timedelta | None = None) -> WorkerDetail:
        """Return a worker and the runs that it has, at most a hundred; raise UnknownWorker."""
        return self._run(get_worker(self.partitions, name), timeout, partial=True)

    def quiet_workers(self, names: Iterable[str], *, timeout: float | timedelta | None = None) -> list[Instructed]:
        """Let workers end the runs that they have and fetch no more; they go on to lead and to dispatch.

        A worker sees it with the next renewal of its lease: within 5 s, if not set otherwise. One that is unknown, or
        has expired, is no error: its answer says that it is not alive.

        Raises:
            InvalidArgument: a name is empty, or no text.
            PermissionMissing: the user may not.
        """
        return self._run(instruct_workers(self.partitions, names, "quiet"), timeout)

    def stop_workers(self, names: Iterable[str], *, timeout: float | timedelta | None = None) -> list[Instructed]:
        """Let workers stop as on SIGTERM; what supervises a process may start another in its place.

        They see it, and answer for it, as with `quiet_workers`.
        """
        return self._run(instruct_workers(self.partitions, names, "stop"), timeout)

    def list_queues(self, *, timeout: float | timedelta | None = None) -> Page[QueueInfo]:
        """Return the queues of the namespace, by name, on one page: what waits, who fetches it, what is set for it."""
        return self._run(list_queues(self.partitions), timeout, partial=True)

    def get_queue(self, queue: str, *, timeout: float | timedelta | None = None) -> QueueInfo:
        """Return one queue, `<app>/<queue>`; raise QueueNotFound."""
        return self._run(get_queue(self.partitions, queue), timeout, partial=True)

    def get_stats(self, since: float | timedelta, *, timeout: float | timedelta | None = None) -> Stats:
        """Return what became of runs since so long ago, by job and by minute: about, as workers report it.

        Args:
            since: 60 seconds to a day, or a timedelta.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: `since` is no such time.
        """
        return self._run(read_stats(self.partitions, since), timeout, partial=True)


class AsyncAppClient(AsyncClient, _AppPlans):
    """The same operations as `AppClient`, awaited; for the tasks of one event loop."""

    async def register_app(self, app: App, *, timeout: float | timedelta | None = None) -> RegisteredApp:
        """Let the app's subscriptions count before its first worker starts: runs of its jobs wait in its queues.

        Workers of the app that are alive with other subscriptions lose none: those count until the last such worker
        has stopped.

        Raises:
            DefinitionError: the app has no jobs.
            ServerFull: the server is full; register again once it is not.
            PermissionMissing: the user may not.
        """
        return await self._run(register_app(self.partitions, app), timeout)

    async def forget_app(self, app: str, *, timeout: float | timedelta | None = None) -> ForgottenApp:
        """End the subscriptions of an app, by its name: new events make no runs of its jobs. Its runs stay.

        Raises:
            UnknownApp: there is no such app.
            AppAlive: a worker of it is alive.
            PermissionMissing: the user may not.
        """
        return await self._run(forget_app(self.partitions, app), timeout)

    async def diagnose(self, *, timeout: float | timedelta | None = None) -> Diagnosis:
        """Return what is wrong with the namespace and its servers, each with what mends it.

        What this user may not ask is left out, and said; where runs depend on it, that is an error. Whether the user
        may do what a worker does is tried on scratch keys, which are deleted at once.
        """
        return await self._run(self._plan_to_diagnose(), timeout, partial=True)

    async def list_apps(self, *, timeout: float | timedelta | None = None) -> Page[AppInfo]:
        """Return what is registered of every app, by name, which subscriptions count, and who has them, on one page."""
        return await self._run(list_apps(self.partitions), timeout, partial=True)

    async def list_jobs(self, *, timeout: float | timedelta | None = None) -> Page[RegisteredJob]:
        """Return the jobs of all apps, by name, on one page: triggers, live workers, what waits, which are disabled."""
        return await self._run(list_jobs(self.partitions), timeout, partial=True)

    async def get_job(self, job: str, *, timeout: float | timedelta | None = None) -> JobDetail:
        """Return one job, `<app>/<job id>`; raise UnknownJob."""
        return await self._run(get_job(self.partitions, job), timeout, partial=True)

    async def find_job(self, job: str, *, timeout: float | timedelta | None = None) -> RegisteredJob:
        """Return one job, `<app>/<job id>`, as registered: quicker than `get_job`, without counts; raise UnknownJob."""
        return await self._run(find_job(self.partitions, job), timeout, partial=True)

    async def disable_job(
        self, job: str, reason: str | None = None, *, timeout: float | timedelta | None = None
    ) -> SwitchedJob:
        """Let no event make a run of a job, from the return of this call on; runs that it has go on.

        The job stays disabled through restarts and releases of its app, until it is enabled. Events that are dispatched
        meanwhile make no run of it later either. To disable it again changes nothing but the reason, if one is given.

        Args:
            reason: 1 to 256 characters, for those who look at the job.

        Raises:
            UnknownJob: it is not registered.
            PermissionMissing: the user may not.
        """
        return await self._run(disable_job(self.partitions, job, reason), timeout, partial=True)

    async def enable_job(self, job: str, *, timeout: float | timedelta | None = None) -> SwitchedJob:
        """Let events make runs of a disabled job again; to enable one that is not disabled changes nothing.

        Raises:
            UnknownJob: it is not registered.
            PermissionMissing: the user may not.
        """
        return await self._run(enable_job(self.partitions, job), timeout, partial=True)

    async def trigger_job(
        self,
        job: str,
        payload: Any = None,
        *,
        event_name: str | None = None,
        context: Any = None,
        event_id: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent:
        """Send an event that only this job gets, whatever its trigger; its source is the first of the trigger's.

        All dispatchers of the namespace must be of this release: an older one moves the event to `dead`.

        Args:
            event_name: by default that of a typed payload, or else the first of the trigger's.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            UnknownJob: it is not registered.
            JobDisabled: it gets no runs.
            InvalidEvent: the payload can't be sent, or the id can be none.
        """
        asked = Asked(event_name, context, event_id)
        return await self._run(self._plan_to_trigger(job, payload, asked), timeout, partial=True)

    async def replay_event(
        self,
        event_id: str,
        *,
        job: str | None = None,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent | None:
        """Send an event again as a new one, as `Client.replay_event` does, to every job or to a chosen one.

        Args:
            job: the one job that gets it, `<app>/<job id>`, whatever its trigger, also if it did not exist when the
                event was sent.
            if_no_runs: send it only if neither the event nor a replay of it has a run, of this job if one is named, or
                may still get one. Of clients that ask at once for the same job, one sends it.
            deliver_after: seconds >= 0 from now, or a timedelta.

        Raises:
            UnknownJob: the job is not registered.
            JobDisabled: it gets no runs.
            EventNotFound, ContentsGone, SealedEvent, InvalidArgument: as `Client.replay_event` does.
        """
        plan = self._plan_to_replay_to(event_id, job, deliver_after, if_no_runs=if_no_runs)
        return await self._run(plan, timeout, partial=True)

    async def replay_events(
        self,
        event_ids: Iterable[str],
        *,
        job: str | None = None,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> list[SentEvent | HeadraceError | None]:
        """Replay events as `replay_event` does, one after the other; return what each has come to, or its error."""
        plan = self._plan_to_replay_all(event_ids, job, deliver_after, if_no_runs=if_no_runs)
        return await self._run(plan, timeout, partial=True)

    async def explain_event(self, event_id: str, *, timeout: float | timedelta | None = None) -> Explanation:
        """Return which jobs get an event by the routes of now and, for each other job, the first condition that fails.

        Raises:
            EventNotFound: no such event is known.
            ContentsGone: its contents are not kept any more.
        """
        return await self._run(explain_event(self.partitions, event_id, self._seal), timeout, partial=True)

    async def explain_send(
        self, event: AnyEvent, *, ordering_key: str | None = None, timeout: float | timedelta | None = None
    ) -> Explanation:
        """Return which jobs would get an event, as `explain_event` does; send nothing.

        Raises:
            InvalidEvent: it could not be sent.
        """
        return await self._run(self._plan_to_explain(event, ordering_key), timeout, partial=True)

    async def list_workers(
        self, *, cursor: str | None = None, limit: int = 100, timeout: float | timedelta | None = None
    ) -> Page[WorkerInfo]:
        """Return a page of the workers of the namespace, by name.

        It looks at 10,000 leases of a partition at most, those that end last: `searched` says whether there are more.

        Args:
            cursor: the `cursor` of the page before.
            limit: 1 to 1000.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: an argument breaks its rule.
        """
        return await self._run(list_workers(self.partitions, cursor, limit), timeout, partial=True)

    async def iter_workers(self, *, timeout: float | timedelta | None = None) -> AsyncIterator[WorkerInfo]:
        """Yield all workers that `list_workers` lists, page by page.

        Each page may take `timeout`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_workers(cursor=cursor, timeout=timeout)
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def get_worker(self, name: str, *, timeout: float | timedelta | None = None) -> WorkerDetail:
        """Return a worker and the runs that it has, at most a hundred; raise UnknownWorker."""
        return await self._run(get_worker(self.partitions, name), timeout, partial=True)

    async def quiet_workers(
        self, names: Iterable[str], *, timeout: float | timedelta | None = None
    ) -> list[Instructed]:
        """Let workers end the runs that they have and fetch no more; they go on to lead and to dispatch.

        A worker sees it with the next renewal of its lease: within 5 s, if not set otherwise. One that is unknown, or
        has expired, is no error: its answer says that it is not alive.

        Raises:
            InvalidArgument: a name is empty, or no text.
            PermissionMissing: the user may not.
        """
        return await self._run(instruct_workers(self.partitions, names, "quiet"), timeout)

    async def stop_workers(self, names: Iterable[str], *, timeout: float | timedelta | None = None) -> list[Instructed]:
        """Let workers stop as on SIGTERM; what supervises a process may start another in its place.

        They see it, and answer for it, as with `quiet_workers`.
        """
        return await self._run(instruct_workers(self.partitions, names, "stop"), timeout)

    async def list_queues(self, *, timeout: float | timedelta | None = None) -> Page[QueueInfo]:
        """Return the queues of the namespace, by name, on one page: what waits, who fetches it, what is set for it."""
        return await self._run(list_queues(self.partitions), timeout, partial=True)

    async def get_queue(self, queue: str, *, timeout: float | timedelta | None = None) -> QueueInfo:
        """Return one queue, `<app>/<queue>`; raise QueueNotFound."""
        return await self._run(get_queue(self.partitions, queue), timeout, partial=True)

    async def get_stats(self, since: float | timedelta, *, timeout: float | timedelta | None = None) -> Stats:
        """Return what became of runs since so long ago, by job and by minute: about, as workers report it.

        Args:
            since: 60 seconds to a day, or a timedelta.
            timeout: seconds or a timedelta for this call, in place of the client's.

        Raises:
            InvalidArgument: `since` is no such time.
        """
        return await self._run(read_stats(self.partitions, since), timeout, partial=True)
