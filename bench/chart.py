"""Draws the comparison as one SVG, light enough for a repository and the same for the same results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from bench.results import PeerResult

_OURS, _THEIRS, _LIMIT = "#0f766e", "#94a3b8", "#d6d3d1"
_PANELS = (
    ("drain_s", "no-op jobs drained a second\nby one worker process", "{:,.0f}"),
    ("send_one_s", "jobs sent a second,\none by one", "{:,.0f}"),
    ("p50_ms", "idle latency, median ms\n(shorter is better)", "{:.2f}"),
)


def draw(peers: Sequence[PeerResult], path: Path) -> None:
    """The chart is in the file."""
    shown = sorted(
        (peer for peer in peers if peer.rounds), key=lambda peer: (peer.name == "limit", peer.median("drain_s") or 0)
    )
    with mpl.rc_context({"svg.hashsalt": "headrace", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(1, len(_PANELS), figsize=(11, 0.34 * len(shown) + 1.2), sharey=True)
        for axis, (field, title, form) in zip(axes, _PANELS, strict=True):
            values = [peer.median(field) or 0.0 for peer in shown]
            bars = axis.barh([peer.title for peer in shown], values, color=[_colour(peer) for peer in shown])
            axis.bar_label(bars, [form.format(value) for value in values], padding=3)
            axis.set_title(title, fontsize=9)
            axis.set_xlim(0, max(values, default=1) * 1.3)
            axis.set_xticks([])
            axis.spines[["top", "right", "bottom"]].set_visible(False)
            axis.tick_params(axis="y", length=0)
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _colour(peer: PeerResult) -> str:
    return {"headrace": _OURS, "limit": _LIMIT}.get(peer.name, _THEIRS)
