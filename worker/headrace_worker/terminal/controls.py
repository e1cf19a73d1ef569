"""Says in words what operators have set for a queue, and that its runs wait because it is paused."""

from __future__ import annotations

from collections.abc import Iterable

from headrace import QueueControls
from headrace_worker.terminal.output import print_note, shown


def set_at_run_time(controls: QueueControls, *, brief: bool = False) -> str | None:
    """Return what is set for a queue; unless that is to be brief, since when and why it is paused. None for nothing."""
    parts = []
    if controls.paused_at is not None:
        parts.append("paused" if brief else _paused_since(controls))
    if controls.limit != "declared":
        parts.append("no limit" if controls.limit is None else f"limit {controls.limit:,}")
    return ", ".join(parts) or None


def note_paused(queues: Iterable[QueueControls]) -> None:
    """Say of each queue that is paused that its runs wait."""
    for each in queues:
        if each.paused_at is not None:
            print_note(f"queue {each.queue} is {_paused_since(each)}: its runs start once it is resumed")


def _paused_since(controls: QueueControls) -> str:
    return f"paused since {shown(controls.paused_at)}" + (f" ({controls.reason})" if controls.reason else "")
