"""The client that registers and forgets apps. Its user needs the rights of a worker, not only those of a producer."""

from __future__ import annotations

from headrace import Client
from headrace_worker.app.app import App
from headrace_worker.operate.forget_app import ForgottenApp, forget_app
from headrace_worker.operate.register_app import RegisteredApp, register_app


class AppClient(Client):
    """A client that changes which apps have subscriptions, too."""

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
