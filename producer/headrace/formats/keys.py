"""Names every key that Headrace touches: one function, one sentence each. Nothing else builds a key."""

from __future__ import annotations

import re
from functools import lru_cache

from headrace.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


@lru_cache(1_000)  # each delivery names a job, nearly always one of few
def is_name(text: str) -> bool:
    """Return whether a text can be the name of an app, job, queue or namespace."""
    return _NAME.match(text) is not None


def check_name(kind: str, name: object) -> str:
    """Return the name of an app, job, queue or namespace, or raise ConfigurationError that says its rule."""
    if isinstance(name, str) and is_name(name):
        return name
    raise ConfigurationError(f"{kind} {name!r} is not a name: 1 to 64 of the characters A-Z a-z 0-9 _ . - are allowed")


class Keys:
    """The keys of one partition of a namespace; all share one hash slot of a Redis Cluster."""

    def __init__(self, namespace: str, partition: int = 0, scratch: str = "") -> None:
        check_name("namespace", namespace)
        self.namespace = namespace
        self.partition = partition
        self.prefix = f"headrace:{{{namespace}:{partition}}}:{scratch}"
        self.events = f"{self.prefix}events"
        """stream: what is to be dispatched; group `dispatch`."""
        self.due = f"{self.prefix}due"
        """zset: due time in ms of delayed events (`e:<id>`) and waiting runs (`r:<queue>:<run id>`)."""
        self.wake = f"{self.prefix}wake"
        """list: wakes the leader for an earlier due time, or for a lease that was ended; at most one element."""
        self.recent = f"{self.prefix}recent"
        """stream: ids and names of what was sent, for listing."""
        self.runs = f"{self.prefix}runs"
        """stream: ids of the runs that settled, for listing."""
        self.dead = f"{self.prefix}dead"
        """stream: what ended for good without success, and what could not be read."""
        self.queues = f"{self.prefix}queues"
        """set: `<app>/<queue>` of every queue."""
        self.routes_version = f"{self.prefix}routes:version"
        """int: bumped whenever the routes change."""
        self.workers = f"{self.prefix}workers"
        """zset: the end of each worker's lease in ms."""
        self.leader = f"{self.prefix}leader"
        """string: the worker that promotes and rescues, and until when in ms."""
        self.dispatchers = f"{self.prefix}dispatchers"
        """zset: the workers that dispatch, and until when in ms."""
        self.meta = f"{self.prefix}meta"
        """hash: the last renewal of any worker's lease; the end of a time without rescues after a gap; how far the
        clock went back, while runs are to be set back for it; the number of partitions; how many entries the
        indexes keep."""
        self.fading = f"{self.prefix}fading"
        """zset: ids of settled events whose contents go before their ids may be used again, and when in ms."""
        self.audit = f"{self.prefix}audit"
        """stream: what operators have done, in partition 0 alone."""
        self.canceled_channel = f"{self.prefix}canceled"
        """Channel: entry, queue and worker of each run that is canceled while a worker has it."""
        self.controls = f"{self.prefix}controls"
        """hash: which queues are paused (`p:<app>/<queue>`), their limits at run time (`l:`), and a version."""
        self.controls_channel = self.controls
        """Channel: the version, at each change of `controls`."""
        self.event_prefix = f"{self.prefix}event:"

    def event(self, event_id: str) -> str:
        """Hash: the record of an event and of its runs."""
        return self.event_prefix + event_id

    def queue(self, app: str, queue: str) -> str:
        """Stream: one entry a run; group `workers`."""
        return f"{self.prefix}queue:{app}/{queue}"

    def wake_up(self, app: str) -> str:
        """Stream: wakes one idle worker of the app; at most one element."""
        return f"{self.prefix}wake-up:{app}"

    def order(self, ordering_key: str) -> str:
        """List: ids of the events with this ordering key that are not dispatched yet, in their order."""
        return f"{self.prefix}order:{ordering_key}"

    def line(self, job: str, ordering_key: str) -> str:
        """List: the open runs of a job (`<app>/<job id>`) with this ordering key; the first has its turn."""
        return f"{self.prefix}line:{job}:{ordering_key}"

    def routes(self, app: str) -> str:
        """Hash: the app's subscriptions by fingerprint, which worker has which, which are registered."""
        return f"{self.prefix}routes:{app}"

    def worker(self, name: str) -> str:
        """Hash: a worker's app, queues and fingerprint, whether it is fenced, and what it says of itself."""
        return f"{self.prefix}worker:{name}"

    def tally(self, minute: int) -> str:
        """Hash: what became of runs in a minute since 1970, by `<app>/<job id>:<what>`."""
        return f"{self.prefix}tally:{minute}"

    def settled_channel(self, event_id: str) -> str:
        """Channel: one message once the event has settled, if a client waits for it."""
        return f"{self.prefix}settled:{event_id}"
