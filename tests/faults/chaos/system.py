"""The system under test: a server with an append-only file, workers and producers on it, and the lines in between.

Whatever a process is started for is started again when it ends, until `stop_producers` and `stop_workers`.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from headrace import Client
from headrace_worker.operate.app_client import AppClient
from headrace_worker.process.process import BROKEN
from tests.faults.chaos.app import BLOCK_S, GRACE_S, LEASE_S, NAME, POISON, QUITTER, RETENTION, SINCE_HARMLESS, chaos
from tests.faults.chaos.counted import read_counted
from tests.faults.chaos.history import (
    AnyLine,
    Began,
    Counted,
    Diary,
    Died,
    Disabled,
    Ended,
    Moment,
    Named,
    OfLastRelease,
    RolledBack,
    Routed,
    now,
    read,
)
from tests.faults.chaos.listing import Listing
from tests.faults.chaos.orders import Order, give
from tests.faults.chaos.producer import Sender
from tests.faults.deployment import OUTAGE, Deployment
from tests.support.processes import Process, Processes
from tests.support.proxy import Proxy
from tests.support.release import Release, unpack_last_release
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until

_MARK = "chaos:mark"
_HOUR_S = 3_600.0
_KEYS = 4
"""So many ordering keys each producer has."""
_RELIED_ON_S = 6.0
_LOST_S = 3.0
"""A loss of power takes less than that."""
_OUTSTAYED_S = GRACE_S + 5.0
"""So long after its SIGTERM a worker of the last release is killed: a job that blocks its event loop keeps it."""
_STARTED = '"worker started"'
Fsync = Literal["always", "everysec"]


class Post:
    """A place for one worker process: a dead process is replaced.

    Attributes:
        proxy: the line between its worker and the server, if there is one that can be cut.
        clock_s: by how much its worker's clock is off.
        release: the release that its next worker is of; None for the working tree.
    """

    def __init__(
        self, app: str, proxy: Proxy | None = None, clock_s: float = 0.0, release: Release | None = None
    ) -> None:
        self.app = app
        self.proxy = proxy
        self.clock_s = clock_s
        self.release = release
        self.process: Process | None = None
        self.is_killed = False
        self.is_terminated = False
        self.is_stopped = False
        self.is_over = False
        self.over_at = 0.0

    @property
    def is_up(self) -> bool:
        """Its worker takes runs, and nothing is done to it at the moment."""
        process = self.process
        is_left_alone = not (self.is_killed or self.is_terminated or self.is_stopped or self.is_over)
        return process is not None and is_left_alone and process.is_running and _STARTED in process.output

    @property
    def outstays(self) -> bool:
        """Its worker is of the last release, and has not ended long after it should."""
        return self.release is not None and self.is_over and now()["at"] - self.over_at > _OUTSTAYED_S

    @property
    def pid(self) -> int:
        """The process id of its worker."""
        assert self.process is not None
        return self.process.pid


class System:
    """Everything that a run of chaos needs; `close` ends all of it."""

    def __init__(self, folder: Path, seed: int, rate: float, binary: Path | None = None) -> None:
        self.folder = folder
        self._seed = seed
        self._rate = rate
        self.server = ControlledServer(
            binary=binary, data_dir=folder / "server", appendonly=True, extra=("--auto-aof-rewrite-percentage", "0")
        )
        self.server.start()
        self.processes = Processes(folder, self.server.url, NAME)
        self.deployment = Deployment(self.server, NAME, self.processes, folder)
        self.redis: Any = redis_py.Redis.from_url(self.server.url, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        self.diary = Diary(folder / "diaries")
        self.listing = Listing(self.server.url, self.deployment.keys, self.diary)
        self.client = AppClient(self.server.url, namespace=NAME, retention=RETENTION, attempts=20, timeout=None)
        self._impatient = Client(self.server.url, namespace=NAME, retention=RETENTION, attempts=2)
        self.sender = Sender(self._impatient, self.diary, random.Random(seed))
        self.worker_line, self.producer_line = Proxy(self.server.url), Proxy(self.server.url)
        self.posts = [Post(NAME), Post(NAME, self.worker_line, _HOUR_S), Post(NAME, None, -_HOUR_S)]
        self.producers: list[Process] = []
        self.producer_releases: tuple[Release | None, Release | None] = (None, None)
        self.fsync: Fsync = "always"
        self._lates = 0
        self._asked: dict[Post, Moment] = {}
        self._marks: list[tuple[int, int]] = []
        self._died_at = now()
        self._is_cut = False
        self.is_away = False
        self.orders = folder / "orders"

    def close(self) -> None:
        """Every process, connection and thread has ended."""
        for post in self.posts:
            if post.is_stopped and post.process is not None and post.process.is_running:
                post.process.resume()
        self.processes.reap()
        self.client.close()
        self._impatient.close()
        self.listing.close()
        self.redis.close()
        self.deployment.close()
        for proxy in (self.worker_line, self.producer_line):
            proxy.close()
        self.diary.close()
        self.server.stop()

    # the server

    def set_fsync(self, fsync: Fsync) -> None:
        """The server syncs its append-only file so, after a restart too."""
        self.fsync = fsync
        self.redis.config_set("appendfsync", fsync)

    def kill_server(self) -> None:
        """The server is dead; everything that it had answered is in its file, or with `everysec` nearly."""
        self.mark()
        self.is_away = True
        self.server.kill()
        self._died_at, self._is_cut = now(), False

    def cut_power(self, share: float) -> None:
        """Kill the server, and remove that share of the last second's writes."""
        self.kill_server()
        ago = [(self._died_at["ms"] - ms, size) for ms, size in self._marks]
        kept = [size for ms, size in ago if share * 1000 <= ms <= 1000]
        if kept:
            with self._append_only_file.open("r+b") as file:
                file.truncate(kept[-1])
            self._is_cut = True

    def empty_server(self) -> None:
        """The server is dead, and so is all that it had."""
        self.kill_server()
        self._append_only_file.unlink()
        shutil.rmtree(self.server.data_dir / "appendonlydir", ignore_errors=True)

    @property
    def _append_only_file(self) -> Path:
        """What the server adds to: in a folder since Redis 7."""
        parts = sorted((self.server.data_dir / "appendonlydir").glob("*.incr.aof"))
        return parts[-1] if parts else self.server.data_dir / "appendonly.aof"

    def start_server(self) -> None:
        """The server is back with what is in its file, and the history knows what is not."""
        self.server.start()
        self.is_away = False
        self.redis.config_set("appendfsync", self.fsync)
        if self._marks:
            self._note_rollback(self._marks[-1][0])
        self._marks.clear()

    def pause_server(self) -> None:
        """Stop the server's process; it keeps its connections."""
        self.is_away = True
        self.server.pause()

    def resume_server(self) -> None:
        """The server goes on."""
        self.server.resume()
        self.is_away = False

    def _note_rollback(self, last_mark: int) -> None:
        """What the server has lost is what came after the last mark that is still there."""
        mark = int(self.redis.get(_MARK) or 0)
        if self._is_cut or mark < last_mark:
            self.diary.add(RolledBack(**self._died_at, since_ms=mark))
            self.undo_controls()

    def mark(self) -> None:
        """Write the time and the file's length to the server, to know later what a loss of power took."""
        if self.is_away or self.fsync != "everysec":
            return
        with contextlib.suppress(*OUTAGE):
            ms = self.server_ms()
            self.redis.set(_MARK, ms)
            self._marks = [*self._marks[-200:], (ms, self._append_only_file.stat().st_size)]

    def server_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = self.redis.time()
        return int(seconds * 1000 + micros // 1000)

    def undo_controls(self) -> None:
        """No queue is paused or limited, and no job disabled: a loss of power may have undone the end of a fault."""
        for controls in self.client.list_queue_controls():
            self.client.resume_queue(controls.queue)
            self.client.limit_queue(controls.queue, "declared")
        for job in self.client.list_jobs().items:
            if job.disabled:
                self.client.enable_job(job.job)
                asked, over = self._died_at["at"] - _LOST_S, now()
                self.diary.add(Disabled(**over, job=job.job, asked=asked, until=over["at"], over=over["at"]))

    def jobs_of(self, queue: str) -> tuple[str, ...]:
        """Return the jobs whose runs are in the queue."""
        jobs = chaos(self.diary).jobs.values()
        return tuple(f"{NAME}/{job.id}" for job in jobs if f"{NAME}/{job.queue}" == queue)

    def held_of(self, queue: str) -> tuple[tuple[str, str], ...]:
        """Return the runs of a queue that are in flight, each with the worker that has it."""
        workers = self._pending_in(queue)
        if not workers:
            return ()
        first, last = next(iter(workers)), next(reversed(workers))
        return tuple((run, workers[entry]) for entry, run in self._runs_in(queue, first, last) if entry in workers)

    def waiting_in(self, queue: str, since_ms: int) -> tuple[str, ...]:
        """Return the runs that came into a queue after that time and that no worker has."""
        runs, workers = self._runs_in(queue, str(since_ms + 1), "+"), self._pending_in(queue)
        return tuple(run for entry, run in runs if entry not in workers)

    def _pending_in(self, queue: str) -> dict[bytes, str]:
        """Return the pending entries of a queue in their order, each with the worker that has it."""
        pending = self.redis.xpending_range(self._stream_of(queue), "workers", "-", "+", 100_000)
        return {row["message_id"]: row["consumer"].decode() for row in pending}

    def _runs_in(self, queue: str, first: str | bytes, last: str | bytes) -> list[tuple[bytes, str]]:
        """Return the entries of a queue from one id to another, each with its run."""
        app = queue.partition("/")[0]
        entries = self.redis.xrange(self._stream_of(queue), first, last)
        return [(entry, f"{fields[b'e'].decode()}:{app}/{fields[b'j'].decode()}") for entry, fields in entries]

    def _stream_of(self, queue: str) -> str:
        app, _, name = queue.partition("/")
        return self.deployment.keys.queue(app, name)

    # workers and producers

    @cached_property
    def last_release(self) -> Release:
        """The last release, unpacked."""
        return unpack_last_release(self.folder / "release")

    def man(self, post: Post) -> None:
        """A new worker process starts at the post."""
        post.is_killed = post.is_terminated = post.is_stopped = False
        moment = now()
        env = {"HEADRACE_CHAOS_DIARY": str(self.folder / "diaries"), "HEADRACE_CHAOS_CLOCK": str(post.clock_s)}
        if post.release is None:
            (self.folder / "metrics").mkdir(exist_ok=True)
            env["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder / "metrics")
            env["HEADRACE_CHAOS_ORDERS"] = str(self.orders)
        post.process = self.deployment.start_worker(
            post.app,
            url=post.proxy.url if post.proxy else None,
            runner="tests.faults.chaos.worker",
            env=env | (post.release.env if post.release else {}),
            lease=LEASE_S,
            block=BLOCK_S,
            grace=GRACE_S,
            concurrency=50,
            retention=RETENTION,
        )
        if post.release is not None:
            self.diary.add(OfLastRelease(**moment, pid=post.pid))

    def mind(self) -> None:
        """Write down the processes that have ended, and replace them."""
        for post in list(self.posts):
            if post.process is None:
                self.man(post)
            elif not post.process.is_running:
                self._note_end(post, post.process)
                if post.is_over:
                    self.posts.remove(post)
                else:
                    self.man(post)
            elif post.outstays and not post.is_killed:
                self.kill_worker(post)
        self._note_routes()

    def _note_routes(self) -> None:
        """What was registered is relied on some seconds after, when no loss of power can take it back any more."""
        for post, asked in list(self._asked.items()):
            if post.is_up and now()["at"] - asked["at"] > _RELIED_ON_S:
                del self._asked[post]
                self._note_route(post, asked)

    def _note_route(self, post: Post, asked: Moment) -> None:
        self.diary.add(Routed(**asked, job=f"late{post.app}/job", name="load", until=now()["at"]))

    def _note_end(self, post: Post, process: Process) -> None:
        if post.is_killed:
            return  # the kill was written down at that moment
        moment, last = now(), ""
        if process.returncode == 0 and post.is_terminated:
            how = "stopped"
        elif process.returncode == -9 and (ended := self._ended_at(process.pid, POISON)):
            how, moment = "poisoned", ended
        elif process.returncode == 0 and (ended := self._ended_at(process.pid, QUITTER)):
            how, moment = "exited", ended
        elif post.release is not None and (begun := self._begun_at(process.pid, SINCE_HARMLESS)):
            how, moment = "exited", begun
        elif process.returncode == BROKEN and any(isinstance(line, Died) for line in self.lines(str(process.pid))):
            return  # it has said so itself, at that moment
        elif _STARTED not in process.output:
            how = "stopped"  # it found no server, and says so: it is started again
        else:
            how, last = "by itself", f"exit code {process.returncode}, {process.output[-2_000:]}"
        self.diary.add(Died(**moment, pid=process.pid, how=how, last=last))

    def _begun_at(self, pid: int, jobs: Collection[str]) -> Moment | None:
        """Return when the process first called one of these jobs; None if it did not."""
        for line in self.lines(str(pid)):
            if isinstance(line, Began) and line.job in jobs:
                return {"at": line.at, "ms": line.ms}
        return None

    def _ended_at(self, pid: int, job: str) -> Moment | None:
        """Return when a job ended the process, if it did: it is the last that has begun, or others end beside it."""
        ended = {(line.event, line.job, line.began) for line in self.lines(str(pid)) if isinstance(line, Ended)}
        for line in self.lines(str(pid)):
            if isinstance(line, Began) and line.job == job and (line.event, line.job, line.at) not in ended:
                return {"at": line.at, "ms": line.ms}
        return None

    def order(self, post: Post, order: Order) -> None:
        """The worker of the post does something to itself."""
        give(self.orders, post.pid, order)

    def kill_worker(self, post: Post) -> None:
        """The worker of the post dies, and the history says when."""
        assert post.process is not None
        post.is_killed = True
        post.process.kill()
        self.diary.add(Died(**now(), pid=post.pid, how="killed"))

    def add_late_app(self) -> None:
        """Start a worker of a new app with a job for events that have jobs already; `mind` notes its start."""
        self._lates += 1
        post = Post(str(self._lates))
        asked = now()
        self.man(post)
        self.posts.append(post)
        self._asked[post] = asked

    def start_producers(self) -> None:
        """Start two producers, one of them over a line that can be cut."""
        rate, keys = str(self._rate / 2), str(_KEYS)
        for number, url in enumerate((self.server.url, self.producer_line.url)):
            release = self.producer_releases[number]
            env = {"HEADRACE_URL": url, "HEADRACE_CHAOS_DIARY": str(self.folder / "diaries")}
            args = ("-m", "tests.faults.chaos.producer", str(self._seed + number), rate, keys)
            full_env = env | (release.env if release else {})
            self.producers.append(self.processes.python(*args, env=full_env, name="producer"))

    def stop_producers(self) -> None:
        """Every send has ended."""
        for producer in self.producers:
            producer.terminate()
        for producer in self.producers:
            assert producer.wait(120) == 0, producer.output
        # No event is sent any more that those which registered last would have to hear; earlier ones they may have.
        for post, asked in self._asked.items():
            self._note_route(post, asked)
        self._asked.clear()

    def stop_workers(self) -> None:
        """Stop every worker in order."""
        for post in self.posts:
            if post.process is not None and post.process.is_running:
                post.is_terminated = True
                post.process.terminate()
        for post in self.posts:
            assert post.process is not None
            post.process.wait(60)
            self._note_end(post, post.process)

    def wait_until_manned(self) -> None:
        """Every post has a worker that takes runs."""

        def is_manned() -> bool:
            self.mind()
            return all(post.is_up for post in self.posts)

        wait_until(is_manned, 120, what="workers that have started", interval=0.05)

    def counted(self) -> Counted:
        """Return what the workers have counted."""
        return read_counted(self.folder / "metrics")

    def names(self) -> set[str]:
        """Return the names of the workers that live."""
        names = {line.pid: line.name for line in self.lines() if isinstance(line, Named)}
        return {names[post.pid] for post in self.posts if post.is_up}

    def lines(self, process: str = "*") -> tuple[AnyLine, ...]:
        """Return what all processes, or one of them, have written down so far."""
        return read(self.folder / "diaries", process)
