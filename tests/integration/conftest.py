"""What the tests of several parts together have: a namespace, a client of it, and the command `headrace`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from headrace import Client
from headrace.formats.keys import Keys
from headrace.transport.backoff import Backoff
from headrace_worker.cli.root import root
from headrace_worker.testing import run_until_settled
from tests.apps.everyday import app
from tests.support.backoffs import Failures
from tests.support.clients import KINDS, Kind
from tests.support.commands import COMMAND, Headrace, Shell
from tests.support.servers import ControlledServer
from tests.support.workers import WorkerHost


@pytest.fixture
def host(url: str, namespace: str) -> WorkerHost:
    """Run workers of the test's namespace, in the test's process."""
    return WorkerHost(url, namespace)


@pytest.fixture
def client(url: str, namespace: str) -> Iterator[Client]:
    """A client of the test's namespace."""
    with Client(url, namespace=namespace) as client:
        yield client


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of client in turn; a test that asks for it holds for both."""
    found: Kind = request.param
    return found


@pytest.fixture(params=[1, 3], ids=["undivided", "divided"])
def count(request: pytest.FixtureRequest) -> int:
    """How many partitions the namespace has: one and several in turn."""
    found: int = request.param
    return found


@pytest.fixture
def keys(namespace: str) -> Keys:
    """The keys of the test's namespace, undivided."""
    return Keys(namespace)


@pytest.fixture
def own(make_server: Callable[..., ControlledServer]) -> ControlledServer:
    """A server of the test's own, whose settings it may change."""
    return make_server()


@pytest.fixture
def admin(own: ControlledServer) -> Iterator[redis_py.Redis]:
    """A bare client of that server."""
    with redis_py.Redis.from_url(own.url) as admin:
        yield admin


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Failures:
    """The failed attempts of the calls of clients, which do not wait between them."""
    failures = Failures()
    monkeypatch.setattr(Backoff, "delay_s", failures.delay_s)
    return failures


@pytest.fixture
def two(make_server: Callable[..., ControlledServer]) -> tuple[ControlledServer, ControlledServer]:
    """A master and its replica, without sentinels."""
    master = make_server(unix_socket=False, extra=("--repl-diskless-sync-delay", "0"))
    replica = make_server(unix_socket=False, extra=("--replicaof", "127.0.0.1", str(master.port)))
    return master, replica


@pytest.fixture
def prefix(namespace: str) -> str:
    """What the keys of the test's namespace begin with, undivided."""
    return f"headrace:{{{namespace}:0}}:"


@pytest.fixture
def headrace(url: str, namespace: str) -> Headrace:
    """Run `headrace ARGS`; what is not an orderly exit is raised here."""

    def run(*args: str, stdin: str | bytes | None = None, **env: str | None) -> Result:
        full_env = {"HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace, **env}
        return CliRunner().invoke(root, args, stdin, full_env, catch_exceptions=False, prog_name="headrace")

    return run


@pytest.fixture
def shell(url: str, namespace: str, tmp_path: Path) -> Shell:
    """Run a line in a shell, in which `headrace` is the command; no traceback is ever shown."""

    def run(line: str, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        settings = {**os.environ, "HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace, **env}
        function = f'headrace() {{ {COMMAND} "$@"; }}; '
        done = subprocess.run(
            function + line, shell=True, cwd=cwd, env=settings, capture_output=True, text=True, check=False, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def settle(url: str, namespace: str) -> Callable[[], Any]:
    """Run the jobs of everything that was sent."""
    return lambda: run_until_settled(app, url, namespace=namespace)
