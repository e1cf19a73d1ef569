"""A server that a test can kill, pause, resume and restart."""

from __future__ import annotations

import os
import signal

from headrace_worker.dev.embedded import EmbeddedServer, EmbeddedServerFailed


class ControlledServer(EmbeddedServer):
    """An embedded server that a test can kill, pause, resume and restart, as happens in production."""

    def kill(self) -> None:
        """End the server with SIGKILL, like a crash. `start` finds its data in its folder."""
        process = self._running()
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Stop the server in order and start it again, on the same folder, socket and port."""
        self._end()
        self.start()

    def pause(self) -> None:
        """Stop the server's process (SIGSTOP): it keeps its connections, and is silent until `resume`.

        Raises:
            EmbeddedServerFailed: it has ended instead.
        """
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # The signal takes a moment; what the test does next must find the server stopped.
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            raise EmbeddedServerFailed("ended before it could be paused", self.binary, self.log[-2000:])

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)
