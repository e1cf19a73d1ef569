"""What a server says of itself: memory, persistence, replicas; and how far its clock is from this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_worker.doctor.finding import Notes, Severity

_FULL, _FILLING = 0.95, 0.8
_LAG_S = 5
_CLOCK_S = 1.0
_WRITES: tuple[tuple[Severity, str, str], ...] = (
    ("error", "write to the append-only file", "aof_last_write_status"),
    ("warning", "rewrite of the append-only file", "aof_last_bgrewrite_status"),
    ("warning", "snapshot", "rdb_last_bgsave_status"),
)


def look_at_server(info: Mapping[str, str], where: str, notes: Notes) -> None:
    """Note what is wrong with a server by its INFO; `where` is its name in a sentence, empty for the only one."""
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        notes.add(
            "error", "role", f"the server{where} is a replica, which takes no writes",
            f"name its master, {master}, or the sentinels that watch it, in HEADRACE_URL", master=master,
        )  # fmt: skip
    _look_at_memory(info, where, notes)
    _look_at_persistence(info, where, notes)
    for name, value in info.items():
        if name.startswith("slave") and name[5:].isdecimal():
            _look_at_replica(dict(pair.partition("=")[::2] for pair in value.split(",")), notes)


def takes_writes(info: Mapping[str, str]) -> bool:
    """Return whether a server takes writes, or does not say; those that it does not would be waited for."""
    states = ("aof_last_write_status", "rdb_last_bgsave_status")
    return info.get("role") != "slave" and all(info.get(state, "ok") == "ok" for state in states)


def look_at_appendfsync(value: Any, where: str, notes: Notes) -> None:
    """Note if the server never syncs its append-only file itself."""
    if value == "no":
        notes.add(
            "warning", "appendfsync", f"the server{where} does not sync its append-only file, so a crash loses seconds",
            "CONFIG SET appendfsync everysec, and the same in the server's configuration", appendfsync=value,
        )  # fmt: skip


def look_at_clock(before_s: float, after_s: float, server_ms: int, notes: Notes) -> None:
    """Note how far this clock is from the server's, whose time was read between two times of this clock."""
    offset_s = server_ms / 1000 - (before_s + after_s) / 2
    if abs(offset_s) - (after_s - before_s) / 2 > _CLOCK_S:
        which = "behind" if offset_s > 0 else "ahead of"
        notes.add(
            "warning", "clock", f"the clock of this machine is {abs(offset_s):,.1f} s {which} the server's",
            "let NTP set both clocks: times given here, such as --deliver-at, mean another moment there",
            offset_s=offset_s,
        )  # fmt: skip


def _look_at_memory(info: Mapping[str, str], where: str, notes: Notes) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        notes.add(
            "error", "maxmemory-policy", f"the server{where} may evict leases and records: its policy is {policy}",
            "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration", policy=policy,
        )  # fmt: skip
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used >= _FILLING * most:
        notes.add(
            "error" if used >= _FULL * most else "warning",
            "maxmemory", f"the server{where} uses {used / most:.0%} of its maxmemory; at 100 % it refuses every send",
            "let workers drain it, keep records for less long (headrace worker --retention), or CONFIG SET maxmemory",
            used=used, maxmemory=most,
        )  # fmt: skip


def _look_at_persistence(info: Mapping[str, str], where: str, notes: Notes) -> None:
    if info.get("aof_enabled") == "0":
        notes.add(
            "warning", "appendonly", f"the server{where} keeps no append-only file, so a restart loses data",
            "CONFIG SET appendonly yes, and the same in the server's configuration",
        )  # fmt: skip
    for severity, what, field in _WRITES:
        if info.get(field, "ok") != "ok":
            notes.add(
                severity, "persistence", f"the last {what} failed on the server{where} ({field})",
                "give its disk room, and look into the server's log", field=field,
            )  # fmt: skip


def _look_at_replica(replica: Mapping[str, str], notes: Notes) -> None:
    name, state, lag = f"{replica.get('ip')}:{replica.get('port')}", replica.get("state"), replica.get("lag", "")
    lag_s = int(lag) if lag.isdecimal() else 0
    if state == "online" and lag_s < _LAG_S:
        return
    says = f"was last heard of {lag_s:,} s ago" if state == "online" else f"does not follow yet ({state})"
    notes.add(
        "warning", "replicas", f"replica {name} {says}: a failover to it loses what it has not got",
        "look at its log and at the network between the two", replica=name, state=state, lag_s=lag_s,
    )  # fmt: skip
