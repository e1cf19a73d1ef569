"""Pytest's plugin of Headrace: `headrace` and `headrace_sync`, each a real and empty server; `call_job` needs none.

It imports nothing of Headrace before a test asks for a fixture, and has no fixture that is used without being asked
for: coverage of an application begins after plugins are loaded, and tests that don't need Headrace pay nothing.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from headrace_worker.testing import Attempt, Headrace, SyncHeadrace

K = TypeVar("K", bound="Headrace")

_URL, _NAMESPACE, _GIVEN = "HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL"
_folder = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `headrace_env`."""
    parser.addini(
        "headrace_env",
        "Set HEADRACE_URL to the tests' own server before any module of the application is imported.",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Fix where the tests' own server will be; start nothing yet."""
    folder = tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True)
    config.stash[_folder] = folder
    config.add_cleanup(folder.cleanup)
    if config.getini("headrace_env"):
        os.environ[_URL] = os.environ.get(_GIVEN) or f"unix://{folder.name}/server.sock"
        if os.environ.get(_GIVEN):
            os.environ[_NAMESPACE] = _own_namespace()


def _own_namespace() -> str:
    return f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.fixture(scope="session")
def headrace_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of HEADRACE_TEST_URL, or else of a server of the tests' own: one for each process of pytest-xdist."""
    if given := os.environ.get(_GIVEN):
        yield given
        return
    from headrace_worker.testing import EmbeddedServer  # noqa: PLC0415 - see above

    with EmbeddedServer(data_dir=Path(pytestconfig.stash[_folder].name)) as server:
        yield server.url


@pytest.fixture
def headrace(headrace_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Headrace]:
    """A real, empty server for a test that is `async def`: run jobs, let time pass, see what was sent.

    HEADRACE_URL and HEADRACE_NAMESPACE name it for the test, so that clients without a URL of their own find it.
    """
    from headrace_worker.testing import Headrace  # noqa: PLC0415 - see above

    kit = Headrace(headrace_server, _namespace())
    yield from _prepared(kit, monkeypatch)


@pytest.fixture
def headrace_sync(headrace_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncHeadrace]:
    """The same for a plain test."""
    from headrace_worker.testing import SyncHeadrace  # noqa: PLC0415 - see above

    kit = SyncHeadrace(headrace_server, _namespace())
    yield from _prepared(kit, monkeypatch)


@pytest.fixture
def call_job() -> Callable[..., Attempt]:
    """`headrace_worker.testing.call_job`, for a plain test: one attempt of a job, without a server."""
    from headrace_worker.testing import call_job  # noqa: PLC0415 - see above

    return call_job


@pytest.fixture
def acall_job() -> Callable[..., Coroutine[Any, Any, Attempt]]:
    """`headrace_worker.testing.acall_job`, the same for a test that is `async def`."""
    from headrace_worker.testing import acall_job  # noqa: PLC0415 - see above

    return acall_job


def _namespace() -> str:
    """Return the namespace of this process's tests: on a server that is not their own, one of theirs alone."""
    return _own_namespace() if os.environ.get(_GIVEN) else "default"


def _prepared(kit: K, monkeypatch: pytest.MonkeyPatch) -> Iterator[K]:
    monkeypatch.setenv(_URL, kit.url)
    monkeypatch.setenv(_NAMESPACE, kit.namespace)
    kit.empty()
    before = threading.enumerate()
    yield kit
    kit.close()
    from headrace_worker.testing.left_over import left_over  # noqa: PLC0415 - see above

    if left := left_over(before):
        pytest.fail("the test has left: " + "; ".join(left), pytrace=False)
