"""The clients that look at apps and jobs and change them. To change them the user needs the rights of an operator.

`AppClient` is for threads, `AsyncAppClient` for an event loop: the same methods, awaited.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
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
from headrace_worker.inspect.jobs import JobDetail, RegisteredJob, get_job, list_jobs
from headrace_worker.operate.forget_app import ForgottenApp, forget_app
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
    """A client that looks at apps and jobs and changes which of them get events, too."""

    def register_app(self, app: App) -> RegisteredApp:
        """Let the app's subscriptions count before its first worker starts: runs of its jobs wait in its queues.

        Workers of the app that are alive with other subscriptions lose none: those count until the last such worker
        has stopped.

        Raises:
            DefinitionError: the app has no jobs.
            ServerFull: the server is full; register again once it is not.
        """
        return self._run(register_app(self.partitions, app))

    def forget_app(self, app: str) -> ForgottenApp:
        """End the subscriptions of an app, by its name: new events make no runs of its jobs. Its runs stay.

        Raises:
            UnknownApp: there is no such app.
            AppAlive: a worker of it is alive.
        """
        return self._run(forget_app(self.partitions, app))

    def diagnose(self) -> Diagnosis:
        """Return what is wrong with the namespace and its servers, each with what mends it.

        What this user may not ask is left out, and said. Whether the user may do what a worker does is tried on scratch
        keys, which are deleted at once.
        """
        return self._run(self._plan_to_diagnose(), partial=True)

    def list_apps(self) -> Page[AppInfo]:
        """Return what is registered of every app, by name, which subscriptions count, and who has them, on one page."""
        return self._run(list_apps(self.partitions), partial=True)

    def list_jobs(self) -> Page[RegisteredJob]:
        """Return the jobs of all apps, by name, on one page: triggers, live workers, what waits, which are disabled."""
        return self._run(list_jobs(self.partitions), partial=True)

    def get_job(self, job: str) -> JobDetail:
        """Return one job, `<app>/<job id>`; raise UnknownJob."""
        return self._run(get_job(self.partitions, job), partial=True)

    def disable_job(self, job: str, reason: str | None = None) -> SwitchedJob:
        """Let no event make a run of a job, from the return of this call on; runs that it has go on.

        The job stays disabled through restarts and releases of its app, until it is enabled. Events that are dispatched
        meanwhile make no run of it later either. To disable it again changes nothing but the reason, if one is given.

        Args:
            reason: 1 to 256 characters, for those who look at the job.

        Raises:
            UnknownJob: it is not registered.
        """
        return self._run(disable_job(self.partitions, job, reason), partial=True)

    def enable_job(self, job: str) -> SwitchedJob:
        """Let events make runs of a disabled job again; to enable one that is not disabled changes nothing.

        Raises:
            UnknownJob: it is not registered.
        """
        return self._run(enable_job(self.partitions, job), partial=True)

    def trigger_job(
        self,
        job: str,
        payload: Any = None,
        *,
        event_name: str | None = None,
        context: Any = None,
        event_id: str | None = None,
    ) -> SentEvent:
        """Send an event that only this job gets, whatever its trigger; its source is the first of the trigger's.

        All dispatchers of the namespace must be of this release: an older one moves the event to `dead`.

        Args:
            event_name: by default that of a typed payload, or else the first of the trigger's.

        Raises:
            UnknownJob: it is not registered.
            JobDisabled: it gets no runs.
            InvalidEvent: the payload can't be sent, or the id can be none.
        """
        asked = Asked(event_name, context, event_id)
        return self._run(self._plan_to_trigger(job, payload, asked), partial=True)

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
            if_no_runs: send it only if neither the event nor a replay of it has a run, of this job if one is named.
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

    def explain_event(self, event_id: str) -> Explanation:
        """Return which jobs get an event by the routes of now and, for each other job, the first condition that fails.

        Raises:
            EventNotFound: no such event is known.
            ContentsGone: its contents are not kept any more.
        """
        return self._run(explain_event(self.partitions, event_id, self._seal), partial=True)

    def explain_send(self, event: AnyEvent, *, ordering_key: str | None = None) -> Explanation:
        """Return which jobs would get an event, as `explain_event` does; send nothing.

        Raises:
            InvalidEvent: it could not be sent.
        """
        return self._run(self._plan_to_explain(event, ordering_key), partial=True)


class AsyncAppClient(AsyncClient, _AppPlans):
    """The same operations as `AppClient`, awaited; for the tasks of one event loop."""

    async def register_app(self, app: App) -> RegisteredApp:
        """See `AppClient.register_app`."""
        return await self._run(register_app(self.partitions, app))

    async def forget_app(self, app: str) -> ForgottenApp:
        """See `AppClient.forget_app`."""
        return await self._run(forget_app(self.partitions, app))

    async def diagnose(self) -> Diagnosis:
        """See `AppClient.diagnose`."""
        return await self._run(self._plan_to_diagnose(), partial=True)

    async def list_apps(self) -> Page[AppInfo]:
        """See `AppClient.list_apps`."""
        return await self._run(list_apps(self.partitions), partial=True)

    async def list_jobs(self) -> Page[RegisteredJob]:
        """See `AppClient.list_jobs`."""
        return await self._run(list_jobs(self.partitions), partial=True)

    async def get_job(self, job: str) -> JobDetail:
        """See `AppClient.get_job`."""
        return await self._run(get_job(self.partitions, job), partial=True)

    async def disable_job(self, job: str, reason: str | None = None) -> SwitchedJob:
        """See `AppClient.disable_job`."""
        return await self._run(disable_job(self.partitions, job, reason), partial=True)

    async def enable_job(self, job: str) -> SwitchedJob:
        """See `AppClient.enable_job`."""
        return await self._run(enable_job(self.partitions, job), partial=True)

    async def trigger_job(
        self,
        job: str,
        payload: Any = None,
        *,
        event_name: str | None = None,
        context: Any = None,
        event_id: str | None = None,
    ) -> SentEvent:
        """See `AppClient.trigger_job`."""
        asked = Asked(event_name, context, event_id)
        return await self._run(self._plan_to_trigger(job, payload, asked), partial=True)

    async def replay_event(
        self,
        event_id: str,
        *,
        job: str | None = None,
        if_no_runs: bool = False,
        deliver_after: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> SentEvent | None:
        """See `AppClient.replay_event`."""
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
        """See `AppClient.replay_events`."""
        plan = self._plan_to_replay_all(event_ids, job, deliver_after, if_no_runs=if_no_runs)
        return await self._run(plan, timeout, partial=True)

    async def explain_event(self, event_id: str) -> Explanation:
        """See `AppClient.explain_event`."""
        return await self._run(explain_event(self.partitions, event_id, self._seal), partial=True)

    async def explain_send(self, event: AnyEvent, *, ordering_key: str | None = None) -> Explanation:
        """See `AppClient.explain_send`."""
        return await self._run(self._plan_to_explain(event, ordering_key), partial=True)
