"""The folder in which an embedded server keeps data, log and socket. One server at a time may use it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

from headrace.errors import ConfigurationError
from headrace_worker.clock import monotonic

_SOCKET_PATH_BYTES = 100
"""A Unix socket's path may have 104 bytes on macOS and 108 on Linux, its end included."""
_LOCK_TIMEOUT_S = 5.0
_POLL_S = 0.005


class DataFolder:
    """A given folder, or a temporary one that exists from `make` to `remove`."""

    def __init__(self, given: Path | None, *, has_socket: bool) -> None:
        self._given = given.absolute() if given else None
        self._has_socket = has_socket
        self._path: Path | None = None
        self._socket_dir: Path | None = None

    @property
    def path(self) -> Path:
        """The folder, once `make` has made it."""
        if self._path is None:
            raise RuntimeError("the embedded server has not been started")
        return self._path

    @property
    def socket_path(self) -> Path:
        """The Unix socket: in the folder, or in a short temporary one if the folder's path is too long."""
        if self._socket_dir is None:
            raise RuntimeError("the embedded server has not been started")
        return self._socket_dir / "server.sock"

    @property
    def log_path(self) -> Path:
        """The file to which the server appends its log."""
        return self.path / "server.log"

    def make(self) -> None:
        """Make the folder, and a short one for the socket if the folder's path is too long for it."""
        if self._path is not None:
            return
        try:
            self._make()
        except OSError as exc:
            where = self._given or tempfile.gettempdir()
            raise ConfigurationError(f"the server can't keep its data in {where}: {exc.strerror or exc}") from exc

    def _make(self) -> None:
        if self._given is None:
            self._path = Path(tempfile.mkdtemp(prefix="headrace-"))
        else:
            self._given.mkdir(parents=True, exist_ok=True)
            self._path = self._given
        self._socket_dir = self._path
        if self._has_socket and self._is_too_deep():
            self._socket_dir = Path(tempfile.mkdtemp(prefix="headrace-"))
            if self._is_too_deep():
                self._socket_dir.rmdir()
                self._socket_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp"))

    def remove(self) -> None:
        """Remove temporary folders with their data; keep a given one."""
        if self._socket_dir is not None and self._socket_dir != self._path:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        if self._path is not None and self._path != self._given:
            shutil.rmtree(self._path, ignore_errors=True)
        self._path = self._socket_dir = None

    def lock(self) -> IO[bytes]:
        """Return a locked file, which keeps a second server from writing the same data.

        Raises:
            ConfigurationError: another server holds the lock, or the folder can't be written.
        """
        try:
            lock = (self.path / "server.lock").open("wb")
        except OSError as exc:
            raise ConfigurationError(f"the server can't keep its data in {self.path}: {exc.strerror}") from exc
        deadline = monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                # A killed server's child, which rewrites the append-only file, may hold the lock for a moment longer.
                if monotonic() > deadline:
                    lock.close()
                    raise ConfigurationError(
                        f"another server is running on the data in {self.path}; stop it, or choose another folder"
                    ) from exc
                time.sleep(_POLL_S)
            else:
                return lock

    def read_log(self, start: int = 0) -> str:
        """Return the server's log from an offset on."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _is_too_deep(self) -> bool:
        return len(os.fsencode(self.socket_path)) > _SOCKET_PATH_BYTES
