"""A real service that sentinels watch: a master, its replicas, and the sentinels, as processes on loopback."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headrace_worker.dev.parent_death import die_with_parent
from tests.support.ports import free_port
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until

NAME = "mill"
_UNREACHED = (redis.RedisError, OSError)
_SYNC_AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Sentinel:
    """One sentinel's process."""

    def __init__(self, binary: Path, folder: Path, master_port: int, down_after_ms: int) -> None:
        folder.mkdir()
        self._command = [str(binary), str(folder / "sentinel.conf"), "--sentinel"]
        self._settings = (
            f"bind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {master_port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {down_after_ms}\n"
            f"sentinel failover-timeout {NAME} 2000\nsentinel parallel-syncs {NAME} 2\n"
        )
        self._start(folder)
        while wait_until(self._is_up_or_over, 30) and self._process.poll() is not None:
            self.stop()  # its port was taken meanwhile: others ask for free ones, too
            self._start(folder)

    def _start(self, folder: Path) -> None:
        self.port = free_port()
        config = folder / "sentinel.conf"  # it writes there what it learns
        config.write_text(f"port {self.port}\n{self._settings}")
        with (folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen(
                die_with_parent(self._command), stdout=log, stderr=log, start_new_session=True
            )
        self.redis: Any = redis.Redis(port=self.port, decode_responses=True)

    def _is_up_or_over(self) -> bool:
        if self._process.poll() is not None:
            return True
        with (
            suppress(*_UNREACHED),
            redis.Redis(port=self.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)) as asker,
        ):
            server: Any = asker.info("server")  # of the one that listens there, which may be another
            return int(server["process_id"]) == self._process.pid
        return False

    def stop(self) -> None:
        self.redis.close()
        self._process.kill()
        self._process.wait()

    def state(self) -> dict[str, str]:
        """Return what it knows of the service."""
        flat = self.redis.execute_command("SENTINEL", "MASTER", NAME)
        return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))

    def is_settled(self, replicas: int, sentinels: int) -> bool:
        """Return whether it knows all replicas and all other sentinels."""
        state = self.state()
        return (int(state["num-slaves"]), int(state["num-other-sentinels"])) == (replicas, sentinels - 1)


class Watched:
    """The service: one master, two replicas that have synced, three sentinels that know all of them."""

    def __init__(
        self, folder: Path, binary: Path, *, down_after_ms: int = 1200, appendonly: bool = False, extra: Any = ()
    ) -> None:
        """Nothing is started yet.

        Args:
            down_after_ms: not below 1000: a sentinel connects to a new master up to a second after it was named, and
                would take it for down by then, and elect another.
            appendonly: each server has an append-only file, and so comes back with what it had.
            extra: further options of each server.
        """
        self._folder = folder
        self._binary = binary.absolute()
        self._down_after_ms = down_after_ms
        self._appendonly = appendonly
        self._extra = tuple(extra)
        self._ends = ExitStack()
        self.servers: list[ControlledServer] = []
        self.sentinels: list[Sentinel] = []

    def __enter__(self) -> Self:
        try:
            master = self._start_server()
            for _ in range(2):
                replica = self._start_server()
                # Not as an option: one that was promoted since would follow its old master again at a restart.
                with redis.Redis.from_url(replica.tcp_url) as client:
                    client.replicaof("127.0.0.1", str(master.port))
            with redis.Redis.from_url(master.tcp_url) as client:
                wait_until(lambda: self.synced(client) == 2, 60, what="two replicas that have synced")
            for place in range(3):
                at = self._folder / f"sentinel-{place}"
                self.sentinels.append(Sentinel(self._binary, at, master.port or 0, self._down_after_ms))
                self._ends.callback(self.sentinels[-1].stop)
            for sentinel in self.sentinels:
                wait_until(partial(sentinel.is_settled, 2, 3), 60, what="settled sentinels", ignoring=_UNREACHED)
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def url(self, *, userinfo: str = "", options: str = "") -> str:
        """Return the service's URL."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{userinfo}{hosts}/{NAME}/0{options}"

    @property
    def master(self) -> ControlledServer:
        """The server that the first sentinel names."""
        port = int(self.sentinels[0].state()["port"])
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> list[ControlledServer]:
        """The servers that run and are not the master."""
        return [server for server in self.servers if server.is_running and server is not self.master]

    @property
    def elections(self) -> int:
        """Return how many masters were elected so far, by the first sentinel."""
        return int(self.sentinels[0].state()["config-epoch"])

    def is_whole(self) -> bool:
        """Return whether all sentinels name one master, and every other server follows it and has all of its data."""
        master = self.master
        with redis.Redis.from_url(master.tcp_url) as client:
            is_followed = self.synced(client) == len(self.servers) - 1
        return is_followed and {int(sentinel.state()["port"]) for sentinel in self.sentinels} == {master.port}

    def _start_server(self) -> ControlledServer:
        extra = (*_SYNC_AT_ONCE, *self._extra)
        server = ControlledServer(
            binary=self._binary, unix_socket=False, port=0, appendonly=self._appendonly, extra=extra
        )
        server.start()
        self._ends.callback(server.stop)
        self.servers.append(server)
        return server

    @staticmethod
    def synced(client: Any) -> int:
        """Return how many replicas a master has that have synced."""
        info = client.info("replication")
        return sum(info[f"slave{n}"]["state"] == "online" for n in range(info["connected_slaves"]))


class Liar:
    """A server that answers like a sentinel, with whatever the test says: like one that was cut off."""

    def __init__(self, port: int | None) -> None:
        self.port_of_master = port
        self.asked = 0
        self._is_silent = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/{NAME}"

    def stop_answering(self) -> None:
        """Accept connections, and answer nothing on them."""
        self._is_silent = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while chunk := client.recv(65_536):
                for command in () if self._is_silent else chunk.split(b"*")[1:]:
                    client.sendall(self._reply(command))

    def _reply(self, command: bytes) -> bytes:
        if b"GET-MASTER-ADDR-BY-NAME" not in command:
            return b"+OK\r\n"
        self.asked += 1
        if self.port_of_master is None:
            return b"*-1\r\n"
        port = str(self.port_of_master).encode()
        return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port)
