"""What is left to do in a namespace, counted by what it is, and said in words. Pure."""

from __future__ import annotations

from collections import Counter

from headrace.formats.keys import Keys
from headrace_worker.app.app import App

Left = Counter[str]
"""How much is left, by the words for it."""

UNDISPATCHED = "{} event{} to be dispatched"
DELAYED = "{} delayed event{}"
WAITING = "{} waiting run{}"
DUE = "{} delayed or waiting"
DEAD = "{} dead letter{}"


def streams_of(keys: Keys, app: App) -> dict[str, str]:
    """Return the streams in which events and runs of an app wait, with the words for what is in each."""
    queues = {keys.queue(app.name, queue): f"{{}} run{{}} in queue {app.name}/{queue}" for queue in app.queues}
    return {keys.events: UNDISPATCHED, **queues}


def in_words(left: Left) -> str:
    """Return what is left as `1 delayed event, 2 dead letters`."""
    return ", ".join(words.format(count, "" if count == 1 else "s") for words, count in left.items() if count)
