"""Client and AsyncClient are one interface, called or awaited; so are AppClient and AsyncAppClient."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from headrace import AsyncClient, Client, SendOptions
from headrace_worker.operate.app_client import AppClient, AsyncAppClient

ITERATORS = {"follow_events", "iter_dead_letters", "iter_delayed", "iter_events", "iter_runs", "iter_workers"}
"""They return what is iterated over, with `for` or `async for`."""
WITHOUT_TIMEOUT = {"close", "follow_events"}
"""The one asks nobody, the other never ends."""
PAIRS = [(Client, AsyncClient), (AppClient, AsyncAppClient)]


def methods(kind: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return {name: _signature(name, member) for name, member in members if not name.startswith("__")}


def _signature(name: str, member: Callable[..., Any]) -> inspect.Signature:
    found = inspect.signature(member)
    if name not in ITERATORS:
        return found
    return found.replace(return_annotation=found.return_annotation.removeprefix("Async"))


def public(kind: type) -> list[str]:
    return sorted(name for name in methods(kind) if not name.startswith("_"))


@pytest.mark.parametrize(("plain", "awaited"), PAIRS)
def test_both_have_the_same_methods_with_the_same_signatures(plain: type, awaited: type) -> None:
    """Public or private: same names, same arguments in the same order, same defaults, same results."""
    assert methods(plain) == methods(awaited)


@pytest.mark.parametrize("kind", [AsyncClient, AppClient, AsyncAppClient])
def test_all_are_made_of_the_same_settings(kind: Any) -> None:
    """Their constructors take the same, and say so."""
    assert inspect.signature(Client) == inspect.signature(kind)
    assert Client.__init__.__doc__ == kind.__init__.__doc__


@pytest.mark.parametrize(("plain", "awaited", "name"), [(*pair, name) for pair in PAIRS for name in public(pair[0])])
def test_both_clients_have_the_same_public_methods(plain: type, awaited: type, name: str) -> None:
    """And both say what is true afterwards, in the same words."""
    method, other = getattr(plain, name), getattr(awaited, name)
    assert not inspect.iscoroutinefunction(method)
    assert inspect.isasyncgenfunction(other) if name in ITERATORS else inspect.iscoroutinefunction(other)
    assert inspect.getdoc(method)
    assert inspect.getdoc(other) == inspect.getdoc(method)


@pytest.mark.parametrize("name", sorted({*public(Client), *public(AppClient)} - WITHOUT_TIMEOUT))
def test_each_method_takes_a_timeout_of_its_own(name: str) -> None:
    """By name, in place of the client's; a wait always has one."""
    timeout = inspect.signature(getattr(AppClient, name)).parameters["timeout"]
    if name.startswith("wait_for_"):
        assert (timeout.default, timeout.annotation) == (timeout.empty, "float | timedelta")
    else:
        assert (timeout.default, timeout.annotation) == (None, "float | timedelta | None")
        assert timeout.kind is timeout.KEYWORD_ONLY


@pytest.mark.parametrize("name", ["send_event", "send_events"])
def test_each_option_of_a_send_is_an_argument(name: str) -> None:
    """What may stand beside an event may be said for the whole call, and `send_event` describes it."""
    arguments = set(inspect.signature(getattr(Client, name)).parameters)
    assert set(SendOptions.__struct_fields__) < arguments
    described = inspect.getdoc(Client.send_event) or ""
    assert all(f"\n    {option}: " in described for option in SendOptions.__struct_fields__)


def test_the_public_methods_are_those_of_the_contract() -> None:
    """None is missing, and none appears without a word about it."""
    assert set(public(Client)) == {
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


def test_what_an_app_client_adds_is_in_the_contract() -> None:
    """None is missing here either; two replay to one job, too."""
    assert set(public(AppClient)) - set(public(Client)) == {
        "diagnose",
        "disable_job",
        "enable_job",
        "explain_event",
        "explain_send",
        "find_job",
        "forget_app",
        "get_job",
        "get_queue",
        "get_stats",
        "get_worker",
        "iter_workers",
        "list_apps",
        "list_jobs",
        "list_queues",
        "list_workers",
        "quiet_workers",
        "register_app",
        "stop_workers",
        "trigger_job",
    }


def test_each_is_a_context_manager_of_its_kind() -> None:
    """`with` closes the one, `async with` the other."""
    assert {"__enter__", "__exit__"} <= set(vars(Client))
    assert {"__aenter__", "__aexit__"} <= set(vars(AsyncClient))
