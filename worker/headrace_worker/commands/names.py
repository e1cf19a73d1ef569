"""Looks up the names in filters that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from headrace import Client, PermissionMissing, QueueNotFound
from headrace_worker.inspect.jobs import UnknownJob
from headrace_worker.inspect.workers import UnknownWorker
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal.output import print_note, shown


def require_names(client: AppClient, filters: Mapping[str, Any]) -> None:
    """Look up the job, queue, worker and event name of filters that chose nothing; they were misspelt, most likely.

    Raises:
        UnknownJob, QueueNotFound, UnknownWorker: nobody knows it.
    """
    for kind, find in (("job", client.find_job), ("queue", client.get_queue), ("worker", client.get_worker)):
        if (name := filters.get(kind)) is not None:
            find(name)
    note_missing_name(client, filters.get("event_name"))


def note_names(client: AppClient, filters: Mapping[str, Any]) -> None:
    """Say it if nobody knows a name of filters that found nothing, as far as the user may look that up."""
    with suppress(PermissionMissing):
        try:
            require_names(client, filters)
        except (UnknownJob, QueueNotFound, UnknownWorker) as exc:
            print_note(str(exc))


def note_missing_name(client: Client, name: str | None) -> None:
    """Say so if no event of a name is listed; it may have been sent long ago."""
    if name is None:
        return
    page = client.list_events(name=name, limit=1)
    if not page.items:
        among = "" if page.searched.complete else f" among the newest {page.searched.entries:,}"
        print_note(f"no event of the name {shown(name)} is listed{among}")
