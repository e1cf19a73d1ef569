"""Ends the subscriptions of an app that no worker serves any more, and counts what is still queued. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from headrace import HeadraceError
from headrace.calls.call import as_text
from headrace.calls.queues import read_queue_names
from headrace.formats.keys import check_name
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.protocol.dispatching import read_routes
from headrace_worker.protocol.due import read_due_apps
from headrace_worker.protocol.measuring import count_entries
from headrace_worker.protocol.subscribing import unsubscribe

_PAGE = 1_000
_PAGES = 10
"""How many pages of `due` are read in a partition: it may hold millions of members, in no order by their apps."""


class UnknownApp(HeadraceError):
    """No app of this name has ever been registered; the message names those that were."""

    def __init__(self, app: str, namespace: str, apps: Iterable[str]) -> None:
        self.app = app
        self.apps = sorted(apps)
        there = f"there is {', '.join(self.apps)}" if self.apps else "there is none at all"
        super().__init__(f"no app {app!r} is known in namespace {namespace!r}; {there}")


class AppAlive(HeadraceError):
    """Workers of the app are alive; nothing was forgotten."""

    def __init__(self, app: str, workers: Iterable[str]) -> None:
        self.app = app
        self.workers = sorted(workers)
        super().__init__(
            f"app {app!r} has live workers: {', '.join(self.workers)}; stop them first. One that was killed counts "
            "until its lease has ended and another worker of the namespace has noticed"
        )


class ForgottenApp(msgspec.Struct, frozen=True):
    """An app without subscriptions, and its runs that are left where they are.

    Attributes:
        app: its name.
        had_subscriptions: whether it had some until now.
        queues: how many runs each of its queues has, by the queue's name.
        delayed: its runs in `due`, which wait for their next attempt; a run behind another of its ordering key is in
            neither number.
        is_complete: whether all of `due` was searched; if not there may be more delayed runs.
    """

    app: str
    had_subscriptions: bool
    queues: dict[str, int]
    delayed: int
    is_complete: bool


def forget_app(partitions: Partitions, app: str) -> Plan[ForgottenApp]:
    """End the subscriptions of an app in each partition; leave its runs.

    Raises:
        UnknownApp: there is no such app.
        AppAlive: a worker of it is alive.
    """
    check_name("app", app)
    queues, live = yield from _look(partitions, app)
    answers = [] if live else (yield [unsubscribe(keys, app) for keys in partitions.all])
    live = live.union(*(answer.live for answer in answers))
    if live:
        raise AppAlive(app, live)
    counts = Counter[str]()
    lengths = yield [count_entries(keys.queue(app, queue)) for keys in partitions.all for queue in queues]
    for queue, length in zip(queues * len(partitions), lengths, strict=True):
        counts[queue] += length
    delayed, is_complete = yield from _count_delayed(partitions, app)
    return ForgottenApp(app, any(answer.ended for answer in answers), dict(counts), delayed, is_complete)


def _look(partitions: Partitions, app: str) -> Plan[tuple[list[str], set[str]]]:
    """Return the app's queues, and its live workers in any partition; raise UnknownApp if it has no queues."""
    count = len(partitions)
    answers = yield [*map(read_queue_names, partitions.all), *(read_routes(keys, app) for keys in partitions.all)]
    names = {name.partition("/")[::2] for found in answers[:count] for name in found}
    queues = sorted(queue for owner, queue in names if owner == app)
    if not queues:
        raise UnknownApp(app, partitions.namespace, {owner for owner, _ in names})
    return queues, {as_text(field[2:]) for routes in answers[count:] for field in routes if field.startswith(b"w:")}


def _count_delayed(partitions: Partitions, app: str) -> Plan[tuple[int, bool]]:
    """Return how many members of `due` are runs of the app, and whether all members were looked at."""
    count, unread = 0, partitions.all
    for page in range(_PAGES):
        found = yield [read_due_apps(keys, page * _PAGE, _PAGE) for keys in unread]
        count += sum(apps.count(app) for apps in found)
        unread = tuple(keys for keys, apps in zip(unread, found, strict=True) if len(apps) == _PAGE)
        if not unread:
            break
    return count, not unread
