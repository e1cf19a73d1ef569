"""Which workers live, lead and dispatch, and which version's subscriptions count. The model without entries."""

from __future__ import annotations

from dataclasses import dataclass

LEASE = 3

JOBS: dict[str, dict[str, tuple[str, str]]] = {
    "old": {"a": ("default", "x")},
    "new": {"a": ("other", "x"), "b": ("other", "xy")},
}
"""For each version of the app its jobs, each with its queue and the names of its events."""


@dataclass
class Known:
    """The hash of a worker: whether it says what the worker is, and whether it is fenced."""

    has_app: bool = True
    is_fenced: bool = False


@dataclass
class Answer:
    """The answer to a renewal."""

    leads: bool
    sits: bool
    expired: set[str]
    dead: set[str]


class Living:
    """The workers of a namespace."""

    def __init__(self) -> None:
        self.now = 0
        self.leases: dict[str, int] = {}
        self.known: dict[str, Known] = {}
        self.dispatchers: dict[str, int] = {}
        self.leader: tuple[str, int] | None = None
        self.renewed: int | None = None
        self.quiet = 0
        self.version = 0
        self.ages: dict[str, int] = {}
        self.subscribed: dict[str, str] = {}
        self.fallen: dict[str, str] = {}
        self.last: str | None = None
        self.disabled: set[str] = set()

    def register(self, worker: str, version: str) -> int:
        """Return the version of the routes."""
        if version not in self.ages:
            self.version += 1
            self.ages[version] = self.version
        elif version not in self.subscribed.values():
            self.version += 1
        self.subscribed[worker] = version
        self.fallen = {name: each for name, each in self.fallen.items() if name in self.leases}
        self.known[worker] = Known()
        self.leases[worker] = self.now + LEASE
        return self.version

    def routes(self, name: str) -> list[tuple[str, str]]:
        """Return the enabled jobs that hear the name, each with its queue: of the newest version that a worker has."""
        versions = set(self.subscribed.values()) or set(self.fallen.values()) or ({self.last} if self.last else set())
        jobs: dict[str, tuple[str, str]] = {}
        for version in sorted(versions, key=lambda each: -self.ages[each]):
            for job, subscription in JOBS[version].items():
                jobs.setdefault(job, subscription)
        enabled = {job: subscription for job, subscription in jobs.items() if job not in self.disabled}
        return [(job, queue) for job, (queue, names) in enabled.items() if name in names]

    def switch(self, job: str, *, disabled: bool) -> bool:
        """Disable or enable a job; return whether that changed anything."""
        if disabled == (job in self.disabled):
            return False
        self.disabled ^= {job}
        self.version += 1
        return True

    def renew(self, worker: str, movement: str, dispatchers: int) -> Answer | None:
        """Return the answer to the worker; None if it is fenced or unknown."""
        if self.renewed is not None and self.now - self.renewed > LEASE / 2:
            self.quiet = self.now + LEASE
        self.renewed = self.now
        if not self.is_known(worker):
            return None
        leads = self._may_lead(worker, movement)
        ended = [self._ended(ends, worker) if leads and self.now >= self.quiet else set() for ends in self._ends()]
        self.leases[worker] = self.now + LEASE
        if movement == "moves" and leads:
            self.leader = (worker, self.now + LEASE)
        elif movement == "resigns" and self.leads(worker):
            self.leader = None
        return Answer(leads, self._sit(worker, movement, dispatchers), *ended)

    def is_known(self, worker: str) -> bool:
        """Return whether the worker has a name that it may use."""
        known = self.known.get(worker)
        return known is not None and known.has_app and not known.is_fenced

    def is_fenced(self, worker: str) -> bool:
        """Return whether the worker is fenced."""
        return self.known.get(worker, Known()).is_fenced

    def leads(self, worker: str) -> bool:
        """Return whether the worker was the last to lead."""
        return self.leader is not None and self.leader[0] == worker

    def _ends(self) -> tuple[dict[str, int], dict[str, int]]:
        return self.dispatchers, self.leases

    def _ended(self, ends: dict[str, int], worker: str) -> set[str]:
        return {name for name, end in ends.items() if end <= self.now and name != worker}

    def _may_lead(self, worker: str, movement: str) -> bool:
        holds = self.leader is not None and self.leader[1] > self.now
        if movement == "moves":
            return self.leads(worker) or not holds
        return movement == "stuck" and self.leads(worker) and holds

    def _sit(self, worker: str, movement: str, dispatchers: int) -> bool:
        """Return whether the worker has a dispatcher slot now."""
        holds = self.dispatchers.get(worker, 0) > self.now
        taken = sum(end > self.now for end in self.dispatchers.values())
        if movement == "moves" and dispatchers > 0 and (holds or taken < dispatchers):
            self.dispatchers[worker] = self.now + LEASE
            return True
        if movement == "resigns" or dispatchers == 0:
            self.dispatchers.pop(worker, None)
            return False
        return holds

    def end_lease(self, worker: str) -> bool:
        """Return whether the lease has ended by this."""
        if worker not in self.leases or self.is_fenced(worker):
            return False
        self.leases[worker] = self.now
        self.dispatchers.pop(worker, None)
        if self.leads(worker):
            self.leader = None
        return True

    def _forget(self, worker: str) -> None:
        for ends in self._ends():
            ends.pop(worker, None)
        self.known.pop(worker, None)
        if self.leads(worker):
            self.leader = None
        version = self.subscribed.pop(worker, None)
        if version is not None:
            if not self.subscribed:
                self.last, self.fallen = version, {}
            elif version not in self.subscribed.values():
                self.version += 1
            return
        version = self.fallen.pop(worker, None)
        if version is None or self.subscribed:
            return
        if not self.fallen:
            self.last = version
        elif version not in self.fallen.values():
            self.version += 1

    def fall(self, worker: str) -> None:
        """The subscriptions of a fenced worker end, unless no worker of the app lives."""
        version = self.subscribed.pop(worker, None)
        if version is None:
            return
        self.fallen[worker] = version
        if not self.subscribed:
            self.last = version
        if version not in self.subscribed.values():
            self.version += 1
