"""Keeps the files of prometheus-client from stopping the process that counts in them.

If several processes are served in one place, prometheus-client counts in files that it maps into memory. The files are
sparse: on a full disk a write into one ends the process by SIGBUS. If their folder is gone, each new metric raises.
prometheus-client has no public way to choose how a file is kept. So `keep_room` replaces the class that it looks up for
each file by a class that takes the disk's space first. A value without space is counted in memory, and written when
there is space.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from struct import Struct

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from headrace_worker.clock import monotonic

_FIRST_SIZE = 1 << 16
_OVERHEAD = 4 + 8 + 16
"""The most bytes that an entry takes beside its key: a length, padding, the value and its time."""
_USED = Struct("i")
"""The begin of a file: the number of its bytes that are in use."""
_RETRY_S = 10.0


class ValueFile:
    """The values of one kind of this process's metrics, in a file that has its space before a value is written."""

    fault = ""
    """Why values of this process are not written; not logged at once, as prometheus-client holds a lock meanwhile."""

    def __init__(self, filename: str) -> None:
        """Open or make the file; if that fails, try again at a later value."""
        self._name = filename
        self._retry_at = 0.0
        self._file: _RoomyFile | None = None
        self._open()

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time, 0 if it is not in the file."""
        if (file := self._file_for(key)) is not None:
            try:
                value, timestamp = file.read_value(key)  # type: ignore[no-untyped-call]
            except Exception as exc:  # noqa: BLE001 - counting must not stop the work
                self._give_up_for_now(exc)
            else:
                return value, timestamp
        return 0.0, 0.0

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Write a value, if the file has space for it."""
        if (file := self._file_for(key)) is not None:
            try:
                file.write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
            except Exception as exc:  # noqa: BLE001 - as in read_value
                self._give_up_for_now(exc)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()  # type: ignore[no-untyped-call]

    def _file_for(self, key: str) -> _RoomyFile | None:
        """Return the file; None while the last failure is fresh, except for a value with a place in the file."""
        if self._file is not None and self._file.has(key):
            return self._file
        if monotonic() < self._retry_at:
            return None
        if self._file is None:
            self._open()
        return self._file

    def _open(self) -> None:
        try:
            self._file = _RoomyFile(self._name)
        except Exception as exc:  # noqa: BLE001 - a damaged file of a process with the same id, for example
            self._give_up_for_now(exc)

    def _give_up_for_now(self, exc: Exception) -> None:
        self._retry_at = monotonic() + _RETRY_S
        why = exc.strerror if isinstance(exc, OSError) else ""
        ValueFile.fault = f"{why or exc}: {self._name}"


class _RoomyFile(MmapedDict):
    """A file of values without holes: it takes its space by writing zeros, as a disk can't promise space otherwise."""

    def __init__(self, filename: str) -> None:
        _make(Path(filename))
        try:
            super().__init__(filename)  # type: ignore[no-untyped-call]
        except BaseException:
            if (file := vars(self).get("_f")) is not None:
                file.close()
            raise

    def has(self, key: str) -> bool:
        """Return whether a value has a place in the file."""
        return key in self._positions

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + _OVERHEAD
        size = self._capacity
        while size < needed:
            size *= 2
        _extend(self._f.fileno(), size)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def keep_room() -> None:
    """Let all files that prometheus-client opens in this process from now on take their space first."""
    values.MmapedDict = ValueFile  # type: ignore[attr-defined, assignment]


def take_fault() -> str:
    """Return why values were not written since the last call; empty if all were."""
    fault, ValueFile.fault = ValueFile.fault, ""
    return fault


def shrink(folder: Path, pid: int) -> None:
    """Cut the files of an ended process to the bytes in use.

    Raises:
        OSError: a file can't be read or cut.
    """
    for path in folder.glob(f"*_{pid}.db"):
        with path.open("r+b") as file:
            start = file.read(_USED.size)
            used = _USED.unpack(start)[0] if len(start) == _USED.size else 0
            if 0 < used < path.stat().st_size:
                file.truncate(used)


def _make(path: Path) -> None:
    """Make a file with its first space, unless it exists; a reader never sees the file without that space."""
    if path.exists() and path.stat().st_size:
        return
    unready = path.with_suffix(".new")
    file = os.open(unready, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    try:
        _extend(file, _FIRST_SIZE)
        unready.replace(path)
    finally:
        os.close(file)
        with contextlib.suppress(OSError):
            unready.unlink()


def _extend(file: int, size: int) -> None:
    """Extend a file that is open for appending to a size; if the disk is full, leave the file as it is."""
    before = now = os.fstat(file).st_size
    try:
        while now < size:
            now += os.write(file, bytes(min(size - now, _FIRST_SIZE)))
    except OSError:
        os.ftruncate(file, before)
        raise
