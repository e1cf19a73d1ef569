"""What is registered of each app: which subscriptions there are, which of them count why, and who has them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from headrace.calls.call import as_text
from headrace.formats.partitions import Partitions
from headrace.model.page import Page, whole
from headrace.plans.plan import Plan
from headrace_worker.app.routes import Why
from headrace_worker.inspect.stored_routes import StoredRoutes, read_jobs, read_stored


class AppVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriptions of one release of an app.

    Attributes:
        fingerprint: their short name.
        jobs: the ids of the release's jobs; None if that can't be read.
        counts: new events make runs by them.
        registered: they were registered, and no worker has started with them, or with new ones, since.
        workers: live workers that have them.
    """

    fingerprint: str
    jobs: list[str] | None
    counts: bool
    registered: bool
    workers: list[str]


class AppInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered of an app, over all partitions.

    Attributes:
        why: why the subscriptions count that do: `live` workers have them, or none lives, and they were `registered`,
            workers that died (`dead`) or left (`last`) had them; None if none count.
        disabled: the ids of disabled jobs.
        versions: the newest first.
    """

    app: str
    why: Why | None
    disabled: list[str]
    versions: list[AppVersion]


def list_apps(partitions: Partitions) -> Plan[Page[AppInfo]]:
    """Return what is registered of every app, by name, and which routes can't be read. To be run with `partial`."""
    stored = yield from read_stored(partitions.all)
    apps = [_app(app, list(those)) for app, those in groupby(stored.routes, key=lambda each: each.app)]
    return whole(apps, stored.damaged)


def _app(app: str, routes: Sequence[StoredRoutes]) -> AppInfo:
    versions: dict[str, AppVersion] = {}
    for each in routes:
        for version in _versions(each):
            known = versions.get(version.fingerprint)
            versions[version.fingerprint] = version if known is None else _merge(known, version)
    return AppInfo(
        app=app,
        why=next((each.effective.why for each in routes if each.effective.why), None),
        disabled=sorted({job for each in routes for job in each.disabled()}),
        versions=list(versions.values()),
    )


def _versions(routes: StoredRoutes) -> list[AppVersion]:
    """Return the subscriptions that are stored in one partition, newest first."""
    fields = routes.fields
    ages = {field[2:]: int(fields[field]) for field in fields if field[:2] == b"n:" and fields[field].isdigit()}
    return [
        AppVersion(
            fingerprint=as_text(each),
            jobs=_jobs(routes.app, fields.get(b"s:" + each)),
            counts=each in routes.effective.fingerprints,
            registered=fields.get(b"registered") == each,
            workers=routes.workers(each),
        )
        for each in sorted(ages, key=lambda each: ages[each], reverse=True)
    ]


def _jobs(app: str, blob: bytes | None) -> list[str] | None:
    candidates = None if blob is None else read_jobs(app, blob)
    return None if candidates is None else [each.job_id for each in candidates]


def _merge(known: AppVersion, other: AppVersion) -> AppVersion:
    return msgspec.structs.replace(
        known,
        counts=known.counts or other.counts,
        registered=known.registered or other.registered,
        workers=sorted({*known.workers, *other.workers}),
    )
