"""Client and AsyncClient are one interface, called or awaited."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from headrace import AsyncClient, Client, SendOptions
from headrace_worker.operate.app_client import AppClient, AsyncAppClient

ITERATORS = {"follow_events", "iter_dead_letters", "iter_delayed", "iter_events", "iter_runs"}
"""They return what is iterated over, with `for` or `async for`."""


def methods(kind: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return {name: _signature(name, member) for name, member in members if not name.startswith("__")}


def _signature(name: str, member: Callable[..., Any]) -> inspect.Signature:
    found = inspect.signature(member)
    if name not in ITERATORS:
        return found
    return found.replace(return_annotation=found.return_annotation.removeprefix("Async"))


@pytest.mark.parametrize(("plain", "awaited"), [(Client, AsyncClient), (AppClient, AsyncAppClient)])
def test_both_have_the_same_methods_with_the_same_signatures(plain: type, awaited: type) -> None:
    """Public or private: same names, same arguments in the same order, same defaults, same results."""
    assert methods(plain) == methods(awaited)


def test_both_are_made_of_the_same_settings() -> None:
    """Their constructors take the same, and say so."""
    assert inspect.signature(Client) == inspect.signature(AsyncClient)
    assert Client.__init__.__doc__ == AsyncClient.__init__.__doc__


@pytest.mark.parametrize("name", sorted(name for name in methods(Client) if not name.startswith("_")))
def test_both_clients_have_the_same_public_methods(name: str) -> None:
    """And both say what is true afterwards, in the same words."""
    plain, awaited = getattr(Client, name), getattr(AsyncClient, name)
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.isasyncgenfunction(awaited) if name in ITERATORS else inspect.iscoroutinefunction(awaited)
    assert inspect.getdoc(plain)
    assert inspect.getdoc(awaited) == inspect.getdoc(plain)


@pytest.mark.parametrize("name", ["send_event", "send_events"])
def test_each_option_of_a_send_is_an_argument(name: str) -> None:
    """What may stand beside an event may be said for the whole call, and `send_event` describes it."""
    arguments = set(inspect.signature(getattr(Client, name)).parameters)
    assert set(SendOptions.__struct_fields__) < arguments
    described = inspect.getdoc(Client.send_event) or ""
    assert all(f"\n    {option}: " in described for option in SendOptions.__struct_fields__)


def test_the_public_methods_are_those_of_the_contract() -> None:
    """None is missing, and none appears without a word about it."""
    assert {name for name in methods(Client) if not name.startswith("_")} == {
        "audit",
        "cancel_event",
        "cancel_events",
        "cancel_runs",
        "discard_dead_letters",
        "list_audit",
        "replay_events",
        "retry_runs",
        "cancel_run",
        "replay_event",
        "reschedule_event",
        "close",
        "dead_letter_groups",
        "follow_events",
        "get_dead_letter",
        "get_event",
        "get_run",
        "get_tree",
        "has_workers",
        "iter_dead_letters",
        "iter_delayed",
        "iter_events",
        "iter_runs",
        "get_list_index",
        "keep_listed",
        "limit_queue",
        "list_dead_letters",
        "list_queue_controls",
        "list_delayed",
        "list_events",
        "list_runs",
        "pause_queue",
        "resume_queue",
        "retry_run",
        "send_event",
        "send_events",
        "server_time",
        "wait_for_event",
        "wait_for_run",
    }


def test_each_is_a_context_manager_of_its_kind() -> None:
    """`with` closes the one, `async with` the other."""
    assert {"__enter__", "__exit__"} <= set(vars(Client))
    assert {"__aenter__", "__aexit__"} <= set(vars(AsyncClient))
