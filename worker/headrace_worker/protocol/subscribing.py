"""The calls that register an app's subscriptions before it has workers, and that end them. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.formats.keys import Keys
from headrace_worker.protocol.leases import Registration

Subscribed = Literal["live", "waiting", "known", "registered"]
"""What became of subscriptions that were registered; `subscribe.lua` says what each means."""


class Unsubscribed(msgspec.Struct, frozen=True):
    """Whether subscriptions have ended; they have not if workers of the app are alive, or if there were none."""

    ended: bool
    live: list[str] = []


class _SubscribeArguments(msgspec.Struct, frozen=True):
    """What `subscribe.lua` reads beside its keys and the subscriptions; its header says what each is."""

    fingerprint: str
    queues: list[str]


def subscribe(keys: Keys, registration: Registration) -> Call[Subscribed]:
    """Let these subscriptions count while no worker of their app lives, and make the groups of its queues."""
    app = registration.app
    names = [keys.routes(app), keys.routes_version, keys.queues, keys.wake_up(app)]
    names += [keys.queue(app, queue) for queue in registration.queues]
    args = _SubscribeArguments(registration.fingerprint, [f"{app}/{queue}" for queue in registration.queues])
    return script_call("subscribe", names, (pack(args), registration.subscriptions), _read_subscribed)


def _read_subscribed(reply: bytes) -> Subscribed:
    answer: Subscribed = as_text(reply)  # type: ignore[assignment] # the script returns one of them
    return answer


def unsubscribe(keys: Keys, app: str) -> Call[Unsubscribed]:
    """End the subscriptions of an app, unless a worker of it lives."""

    def read(reply: list[Any]) -> Unsubscribed:
        return Unsubscribed(reply[0] == b"ended", [as_text(name) for name in reply[1:]])

    return script_call("unsubscribe", [keys.routes(app), keys.routes_version], (), read)
