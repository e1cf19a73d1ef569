"""Registers the subscriptions of an app, so that they count before its first worker starts. Pure."""

from __future__ import annotations

import msgspec

from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.app.app import App
from headrace_worker.errors import DefinitionError
from headrace_worker.protocol.leases import Registration
from headrace_worker.protocol.subscribing import Subscribed, subscribe

_LEAST_FIRST: list[Subscribed] = ["known", "live", "registered", "waiting"]


class RegisteredApp(msgspec.Struct, frozen=True):
    """An app whose subscriptions are registered.

    Attributes:
        app: its name.
        jobs: the ids of its jobs.
        status: `registered`: they count from now on; `known`: they were registered already; `live`: a live worker has
            them, so they counted already; `waiting`: live workers have others, which count until the last of these
            workers has stopped, or one starts with these.
    """

    app: str
    jobs: list[str]
    status: Subscribed


def register_app(partitions: Partitions, app: App) -> Plan[RegisteredApp]:
    """Register the app's subscriptions in each partition; if an answer differs there, return the one of most effect."""
    if not app.jobs:
        raise DefinitionError(f"app {app.name!r} has no jobs, so there are no subscriptions to register")
    registration = Registration.of(app)
    answers = yield [subscribe(keys, registration) for keys in partitions.all]
    return RegisteredApp(app.name, sorted(app.jobs), max(answers, key=_LEAST_FIRST.index))
