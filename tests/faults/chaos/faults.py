"""The faults: each begins when it is entered and is over when it is left, after the time that its step gives it.

Which worker, how deep and how long is drawn from the step's number, so that a seed draws the same. What it meant is
told by the processes that it yields.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial

import redis as redis_py

from headrace import HeadraceError
from headrace.scripts import load
from tests.faults.chaos.app import LEASE_S, NAME
from tests.faults.chaos.calls import TERMINATED
from tests.faults.chaos.history import Began, Closed, Disabled, Injected, now
from tests.faults.chaos.operator import replay, replay_by_two
from tests.faults.chaos.orders import Order
from tests.faults.chaos.schedule import Kind
from tests.faults.chaos.system import Post, System
from tests.support.proxy import Proxy, has_data
from tests.support.waiting import WaitedInVain, wait_until

Pids = tuple[int, ...]
Fault = Callable[[System, random.Random], AbstractContextManager[Pids]]
_SCRIPTS = ("dispatch", "settle", "retry", "renew", "register", "release", "promote", "rescue")
_QUEUES = ("default", "threads", "long")
_FED_BY = {"default": "load", "threads": "load", "long": "long"}
"""An event that makes a run in each queue."""
FAULTS: dict[str, tuple[Kind, Fault]] = {}
_SWITCHED = ("quick", "plain", "third", "flaky")
"""Jobs that get events beside others, whose calls say that an event was dispatched."""
_WITHOUT_RUN = f"{NAME}/child"
"""A job that has no run of such an event."""
_LAST_RELEASE = "worker of the last release"
_LOOK_S = 0.05
_ENOUGH = 20
"""So many events have one for each job."""


def _fault(
    name: str,
    shortest_s: float = 0.0,
    longest_s: float | None = None,
    *,
    server: bool = False,
    at_most: int = 1_000_000,
    apart_from: str = "",
) -> Callable[[Callable[[System, random.Random], Iterator[Pids]]], Fault]:
    kind = Kind(shortest_s, shortest_s if longest_s is None else longest_s, server, at_most, apart_from)

    def add(function: Callable[[System, random.Random], Iterator[Pids]]) -> Fault:
        FAULTS[name] = (kind, contextmanager(function))
        return FAULTS[name][1]

    return add


def _chosen(system: System, rng: random.Random) -> Post | None:
    """Return a worker that is up, or none if none is."""
    up = [post for post in system.posts if post.is_up]
    return rng.choice(up) if up else None


# workers


@_fault("worker killed")
def kill_worker(system: System, rng: random.Random) -> Iterator[Pids]:
    post = _chosen(system, rng)
    if post is None:
        yield ()
        return
    pid = post.pid
    system.kill_worker(post)
    yield (pid,)


@_fault("all workers killed", at_most=2)
def kill_all_workers(system: System, _: random.Random) -> Iterator[Pids]:
    killed = [post for post in system.posts if post.is_up]
    pids = tuple(post.pid for post in killed)
    for post in killed:
        system.kill_worker(post)
    yield pids


@_fault("worker stopped", LEASE_S * 1.3, LEASE_S * 2.5)
def stop_worker(system: System, rng: random.Random) -> Iterator[Pids]:
    """For longer than its lease, so that its runs go to others."""
    yield from _stop(system, rng)


@_fault("worker stopped for a moment", LEASE_S * 0.1, LEASE_S * 0.4)
def stop_worker_for_a_moment(system: System, rng: random.Random) -> Iterator[Pids]:
    yield from _stop(system, rng)


def _stop(system: System, rng: random.Random) -> Iterator[Pids]:
    post = _chosen(system, rng)
    process = post.process if post else None
    if post is None or process is None:
        yield ()
        return
    with suppress(AssertionError):  # it may have taken poison just now
        process.pause()
        post.is_stopped = True
    yield (process.pid,)
    post.is_stopped = False
    if process.is_running:
        process.resume()


@_fault(TERMINATED)
def terminate_worker(system: System, rng: random.Random) -> Iterator[Pids]:
    """Some of its runs take longer than the lease, and some longer than their grace."""
    post = _chosen(system, rng)
    if post is None or post.process is None:
        yield ()
        return
    post.is_terminated = True
    post.process.terminate()
    yield (post.pid,)


@_fault("surplus worker", 3.0, 6.0)
def start_surplus_worker(system: System, _: random.Random) -> Iterator[Pids]:
    """The same worker is started once more than it should be, and stopped again."""
    yield from _add_for_a_while(system, Post(system.posts[0].app))


@_fault(_LAST_RELEASE, 3.0, 6.0)
def start_worker_of_the_last_release(system: System, _: random.Random) -> Iterator[Pids]:
    """It dispatches, promotes, executes and rescues beside the others, and is stopped again."""
    yield from _add_for_a_while(system, Post(system.posts[0].app, release=system.last_release))


def _add_for_a_while(system: System, post: Post) -> Iterator[Pids]:
    system.man(post)
    system.posts.append(post)
    yield (post.pid,)
    post.is_over = post.is_terminated = True
    post.over_at = now()["at"]
    if post.process is not None and post.process.is_running:
        post.process.terminate()
        moment = now()
        system.diary.add(Injected(**moment, kind=TERMINATED, until=moment["at"], pids=(post.pid,)))


@_fault("poison run", server=True, at_most=3)
def send_poison(system: System, _: random.Random) -> Iterator[Pids]:
    """It waits for the server as what happens to that does."""
    system.sender.send("poison")
    yield ()


@_fault("app registered", at_most=2)
def register_app(system: System, _: random.Random) -> Iterator[Pids]:
    system.add_late_app()
    yield ()


# what a worker does to itself, or its jobs do to it


def _ordered(name: str, shortest_s: float, longest_s: float, at_most: int = 1_000_000) -> None:
    """A worker does that to itself, for so long."""

    @_fault(name, shortest_s, longest_s, at_most=at_most)
    def order(system: System, rng: random.Random) -> Iterator[Pids]:
        up = [post for post in system.posts if post.is_up and post.release is None]
        if not up:
            yield ()
            return
        post = rng.choice(up)
        system.order(post, Order(name, rng.uniform(shortest_s, longest_s), rng.getrandbits(16)))
        yield (post.pid,)


_ordered("loop ended", 1.0, 1.0, at_most=2)
_ordered("event loop blocked", 5 * LEASE_S, 5 * LEASE_S, at_most=1)
_ordered("threads refused", 1.0, 3.0)
_ordered("descriptors refused", 1.0, 3.0)
_ordered("memory refused", 1.0, 3.0)
_ordered("log cut", 1.0, 4.0)
_ordered("log full", 1.0, 4.0)
_ordered("log standing", 1.0, 4.0)


def _sent(name: str, event: str, at_most: int) -> None:
    """A job of its own does that to the worker that takes it."""

    @_fault(name, server=True, at_most=at_most)
    def send(system: System, _: random.Random) -> Iterator[Pids]:
        system.sender.send(event)
        yield ()


_sent("job blocks for good", "blockade", 1)
_sent("job exits", "quitter", 1)
_sent("job stops the loop", "stopper", 5)
_sent("job cancels all tasks", "canceller", 5)


# lines


def _line(system: System, rng: random.Random) -> tuple[Proxy, Pids]:
    """Return a line, and the worker that is at its end if there is one."""
    if rng.random() < 0.3:
        return system.producer_line, ()
    pids = tuple(post.pid for post in system.posts if post.proxy is system.worker_line and post.process is not None)
    return system.worker_line, pids


@_fault("line cut", 0.1, 1.0)
def cut_line(system: System, rng: random.Random) -> Iterator[Pids]:
    proxy, pids = _line(system, rng)
    proxy.drop_all()
    yield pids
    proxy.restore()


@_fault("line half open", 0.3, LEASE_S * 2)
def stall_line(system: System, rng: random.Random) -> Iterator[Pids]:
    """It takes connections and all that is sent, and is silent."""
    proxy, pids = _line(system, rng)
    proxy.stall()
    yield pids
    proxy.restore()


@_fault("line slow", 1.0, 3.0)
def slow_line(system: System, rng: random.Random) -> Iterator[Pids]:
    proxy, pids = _line(system, rng)
    proxy.slow(rng.uniform(0.01, 0.08))
    yield pids
    proxy.restore()


@_fault("replies lost", 1.0)
def lose_replies(system: System, rng: random.Random) -> Iterator[Pids]:
    """Requests of some kinds are carried out, or not, and their answers never come."""
    _, pids = _line(system, rng)
    cuts = [system.producer_line.cut_after_request(load("send").sha.encode())]
    for verb in rng.sample(_SCRIPTS, 4):
        cut = rng.choice((system.worker_line.cut_after_request, system.worker_line.cut_before_request))
        cuts.append(cut(load(verb).sha.encode()))
    reads = (b"XREADGROUP", load("take").sha.encode())
    cuts += [system.worker_line.cut_after_request(read, 3, only=has_data) for read in reads]
    yield pids
    for each in cuts:
        each.cancel()


# the server


@_fault("server killed", 0.0, 1.5, server=True)
def kill_server(system: System, _: random.Random) -> Iterator[Pids]:
    system.kill_server()
    yield ()
    system.start_server()


@_fault("server killed for more than a lease", LEASE_S * 1.2, LEASE_S * 1.8, server=True, at_most=2)
def kill_server_for_long(system: System, _: random.Random) -> Iterator[Pids]:
    system.kill_server()
    yield ()
    system.start_server()


@_fault("power lost", 0.0, 1.0, server=True)
def cut_power(system: System, rng: random.Random) -> Iterator[Pids]:
    """Only in the time of `everysec` is anything lost; before it is a kill like any other."""
    if system.fsync == "always":
        system.kill_server()
        yield ()
        system.start_server()
        return
    system.cut_power(rng.uniform(0.05, 0.9))
    yield ()
    system.start_server()


@_fault("server stopped", 0.2, LEASE_S * 1.5, server=True)
def stop_server(system: System, _: random.Random) -> Iterator[Pids]:
    system.pause_server()
    yield ()
    system.resume_server()


@_fault("clients paused", 0.3, 1.0, server=True)
def pause_clients(system: System, rng: random.Random) -> Iterator[Pids]:
    with _hiccup():
        system.redis.client_pause(rng.randint(100, 900))
    yield ()


@_fault("scripts flushed", server=True)
def flush_scripts(system: System, _: random.Random) -> Iterator[Pids]:
    with _hiccup():
        system.redis.script_flush()
    yield ()


@_fault("connections killed", server=True)
def kill_connections(system: System, _: random.Random) -> Iterator[Pids]:
    with _hiccup():
        system.redis.client_kill_filter(_type="normal", skipme=True)
    yield ()


@_fault("groups destroyed", server=True)
def destroy_groups(system: System, rng: random.Random) -> Iterator[Pids]:
    deployment = system.deployment
    groups = [(deployment.keys.events, "dispatch")]
    groups += [(deployment.queue("chaos", queue), "workers") for queue in _QUEUES]
    for stream, group in rng.sample(groups, 2):
        with _hiccup():
            system.redis.xgroup_destroy(stream, group)
    yield ()


@_fault("queue paused", 0.5, 2.0, server=True)
def pause_queue(system: System, rng: random.Random) -> Iterator[Pids]:
    """What comes into it meanwhile waits, also what is retried, promoted, released and rescued; something comes."""
    name = rng.choice(_QUEUES)
    queue = f"{NAME}/{name}"
    system.client.pause_queue(queue)
    with _closed(system, queue, 0) as since_ms:
        system.sender.send(_FED_BY[name])
        _wait_until(system, lambda: system.waiting_in(queue, since_ms), 60, "a run that waits in a paused queue")
        yield ()
    system.client.resume_queue(queue)


@_fault("queue limited", 1.0, 3.0, server=True)
def limit_queue(system: System, rng: random.Random) -> Iterator[Pids]:
    """Workers of this release take by the limit, the last one's take nothing of the queue.

    More comes than the limit, and one of it begins, unless what was in flight before fills the queue for long.
    """
    name, limit = rng.choice(_QUEUES), rng.randint(1, 5)
    queue = f"{NAME}/{name}"
    system.client.limit_queue(queue, limit)
    with _closed(system, queue, limit):
        sent = {line.id for line in system.sender.send(_FED_BY[name], limit + 1)}
        with suppress(WaitedInVain):
            _wait_until(system, partial(_has_begun, system, queue, sent), 4 * LEASE_S, "a call under the limit")
        yield ()
    system.client.limit_queue(queue, "declared")


@contextmanager
def _closed(system: System, queue: str, limit: int) -> Iterator[int]:
    """Write down for how long no more runs of the queue may be in flight, and which were before; yield since when."""
    held, closed_at = system.held_of(queue), now()
    yield closed_at["ms"]
    waited, until = system.waiting_in(queue, closed_at["ms"]), now()["at"]
    jobs = system.jobs_of(queue)
    system.diary.add(Closed(**closed_at, jobs=jobs, limit=limit, until=until, held=held, waited=waited))


def _has_begun(system: System, queue: str, events: Collection[str]) -> bool:
    """Return whether a run of these events in the queue has been called."""
    jobs = system.jobs_of(queue)
    return any(isinstance(line, Began) and line.event in events and line.job in jobs for line in system.lines())


@_fault("job disabled", 1.0, 2.5, server=True, apart_from=_LAST_RELEASE)
def disable_job(system: System, rng: random.Random) -> Iterator[Pids]:
    """Events that are dispatched meanwhile make no run of it; some are."""
    job = f"{NAME}/{rng.choice(_SWITCHED)}"
    asked = now()["at"]
    system.client.disable_job(job)
    disabled_at = now()
    sent = {line.id for line in system.sender.send("load", _ENOUGH) if job in line.jobs}
    with suppress(WaitedInVain):
        _wait_until(system, partial(_has_begun, system, f"{NAME}/default", sent), 4 * LEASE_S, "a dispatch")
    yield ()
    until = now()["at"]
    system.client.enable_job(job)
    system.diary.add(Disabled(**disabled_at, job=job, asked=asked, until=until, over=now()["at"]))


@_fault("event replayed to a job", server=True, apart_from=_LAST_RELEASE)
def replay_to_a_job(system: System, rng: random.Random) -> Iterator[Pids]:
    """Where no dispatcher of the last release is, which can't read such an event, until it is dispatched.

    A job that has a run of it gets it again, and one that has none gets it once, whichever of two has sent it.
    """
    if not any(post.release for post in system.posts):
        (event,) = system.sender.send("load")
        with suppress(HeadraceError):
            replayed = replay(system.client, system.diary, event, f"{NAME}/{rng.choice(_SWITCHED)}")
            _wait_until(system, partial(_is_dispatched, system, replayed), 60, "the dispatch of a replay")
        (event,) = system.sender.send("load")
        with suppress(HeadraceError):
            _wait_until(system, partial(_is_dispatched, system, event.id), 60, "the dispatch of an event")
            replayed = replay_by_two(system.client, system.diary, event, _WITHOUT_RUN)
            _wait_until(system, partial(_is_dispatched, system, replayed), 60, "the dispatch of a replay")
    yield ()


def _wait_until(system: System, condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Meanwhile the workers are minded, and the server is marked: the runner of the faults does neither."""

    def holds() -> object:
        system.mark()
        system.mind()
        return condition()

    wait_until(holds, timeout_s, what=what, interval=_LOOK_S)


def _is_dispatched(system: System, event: str) -> bool:
    return system.client.get_event(event).status in {"dispatched", "settled"}


@_fault("server full", 0.5, 2.5, server=True)
def fill_server(system: System, _: random.Random) -> Iterator[Pids]:
    with _hiccup():
        system.redis.config_set("maxmemory", max(int(system.redis.info("memory")["used_memory"]) - 100_000, 1))
    yield ()
    system.redis.config_set("maxmemory", 0)


@contextmanager
def _hiccup() -> Iterator[None]:
    """Groups may be gone already, and the line that the fault comes over may be cut by the fault."""
    with contextlib.suppress(redis_py.RedisError):
        yield


def all_kinds() -> dict[str, Kind]:
    """Return the kinds of faults by their names."""
    return {name: kind for name, (kind, _) in FAULTS.items()}
