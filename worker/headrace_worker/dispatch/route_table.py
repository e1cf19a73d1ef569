"""The routes of one partition as this worker knows them, read again when their version has changed."""

from __future__ import annotations

from headrace_worker.app.routes import Routes, RoutesTooNew
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import dispatching

log = get_logger("headrace.dispatcher")


class RouteTable:
    """The cached routes of all apps.

    Attributes:
        is_too_old: this release can't evaluate the routes, so the worker must not dispatch.
    """

    def __init__(self, server: ServerAccess) -> None:
        """Read nothing yet."""
        self._server = server
        self._routes: Routes | None = None
        self._noted_version = ""
        self.is_too_old = False

    async def current(self) -> Routes:
        """Return the routes; read them if they are not cached.

        Raises:
            RoutesTooNew: this release can't evaluate them.
        """
        if self._routes is None:
            self._routes = await self._read()
            self.is_too_old = False
        return self._routes

    async def _read(self) -> Routes:
        keys, run = self._server.keys, self._server.commands.run
        version, apps = await run([dispatching.read_routes_version(keys), dispatching.read_apps(keys)])
        stored = await run([dispatching.read_routes(keys, app) for app in apps])
        try:
            routes = Routes(version, dict(zip(apps, stored, strict=True)))
        except RoutesTooNew:
            self.is_too_old = True
            raise
        if routes.unreadable:
            log.error("subscriptions can't be read and match nothing", subscriptions=routes.unreadable)
        return routes

    def forget(self, version: str | None = None) -> None:
        """Read the routes again when they are needed next, unless another version than this is cached by now."""
        if self._routes is not None and version in (None, self._routes.version):
            self._routes = None

    def note_version(self, version: str) -> None:
        """Note the current version of the routes: a new version is read again, and may not be too new any more."""
        if self._routes is not None and self._routes.version != version:
            self._routes = None
        if version != self._noted_version:
            self._noted_version = version
            self.is_too_old = False

    async def has_live(self, job: str) -> bool:
        """Return whether a live worker has subscribed with the job, `<app>/<id>`."""
        return (await self.current()).has_live(job)
