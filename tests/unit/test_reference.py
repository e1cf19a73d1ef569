"""docs/reference.md names everything that is public, and is what the packages say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import headrace
import headrace_worker
from headrace import AsyncClient, Client
from headrace_worker import Context, JobIO, SyncJobIO, testing
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from tests.support import reference_page

_NAMED = set(re.findall(r"\w+", reference_page.PAGE.read_text("utf-8")))


def _public(kind: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(kind) if not name.startswith("_"))


def test_the_page_is_as_the_packages_are() -> None:
    """`make docs-reference` writes it anew."""
    assert reference_page.PAGE.read_text("utf-8") == reference_page.written()


@pytest.mark.parametrize("package", [headrace, headrace_worker, testing])
def test_every_public_name_is_there(package: Any) -> None:
    """Of both packages, and of the kit for tests."""
    assert not set(package.__all__) - _NAMED


@pytest.mark.parametrize("kind", [JobIO, SyncJobIO, Context, testing.Headrace])
def test_every_member_is_there(kind: type) -> None:
    """Of what a job's function and a test get."""
    assert not set(_public(kind)) - _NAMED - {"ending"}  # which `is_canceled` reads


@pytest.mark.parametrize("kind", [Client, AsyncClient, AppClient, AsyncAppClient])
def test_every_method_of_the_clients_has_a_row(kind: type) -> None:
    """In the tables of methods, once."""
    own = [name for names in reference_page.CLIENT.values() for name in names]
    assert sorted(set(own)) == sorted(own)
    assert not set(_public(kind)) - {*own, *reference_page.APP_CLIENT}


def test_every_error_of_a_client_has_a_way_out() -> None:
    """The leaves of its tree: what is raised itself, and not what it is caught as."""
    errors = [each for each in vars(headrace).values() if isinstance(each, type) and issubclass(each, Exception)]
    leaves = {each.__name__ for each in errors if not each.__subclasses__()}
    assert not leaves - {name for names in reference_page.WAYS_OUT for name in names.split(", ")}
