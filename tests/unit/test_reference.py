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

_PAGE = reference_page.PAGE.read_text("utf-8")
_NAMED = set(re.findall(r"\w+", _PAGE))


def _public(kind: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(kind) if not name.startswith("_"))


def test_the_page_is_as_the_packages_are() -> None:
    """`make docs-reference` writes it anew."""
    assert reference_page.written() == _PAGE


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
    tables = [reference_page.CLIENT, reference_page.APP_CLIENT][: 1 + (kind in (AppClient, AsyncAppClient))]
    for table in tables:
        rows = [name for names in table.values() for name in names]
        assert sorted(set(rows)) == sorted(rows)
    assert set(_public(kind)) == {name for table in tables for names in table.values() for name in names}


@pytest.mark.parametrize("kind", [Client, AppClient])
def test_every_type_that_a_method_returns_is_described(kind: type) -> None:
    """Under a heading of its own; errors are in their tree."""
    methods = [getattr(kind, name) for name in _public(kind) if inspect.isfunction(getattr(kind, name))]
    returned = {
        name for each in methods for name in re.findall(r"[A-Z]\w+", str(inspect.signature(each).return_annotation))
    }
    described = set(re.findall(r"^### `(\w+)`$", _PAGE, re.MULTILINE))
    assert returned - described == {"HeadraceError", "Iterator", "None"}


def test_every_error_of_a_client_has_a_way_out() -> None:
    """The leaves of its tree: what is raised itself, and not what it is caught as."""
    errors = [each for each in vars(headrace).values() if isinstance(each, type) and issubclass(each, Exception)]
    leaves = {each.__name__ for each in errors if not each.__subclasses__()}
    assert not leaves - {name for names in reference_page.WAYS_OUT for name in names.split(", ")}
