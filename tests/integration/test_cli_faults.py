"""What the system can't do for a command is one line that names the file, option or variable, without a traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Client, Event
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.commands import COMMAND, Shell
from tests.support.sentinels import NAME, Liar
from tests.support.waiting import wait_until


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stderr.splitlines()


def test_a_current_folder_that_was_deleted_is_said(shell: Shell, tmp_path: Path) -> None:
    """A command that looks for an app there needs one."""
    (tmp_path / "gone").mkdir()
    done = shell("rmdir ../gone; headrace worker jobs:app", tmp_path / "gone")
    assert done.returncode == 2
    assert lines_of(done)[-1:] == ["Error: the current folder does not exist any more; change to one that does"]


def test_development_without_a_place_for_data_names_the_option(shell: Shell, tmp_path: Path) -> None:
    """A folder that can't be made or written, as on a read-only file system."""
    (tmp_path / "file").write_text("")
    (tmp_path / "full").symlink_to("/proc/self")
    for folder in ("file/data", "full/data"):
        done = shell(f"headrace dev jobs:app --data-dir {folder}")
        assert done.returncode == 2
        (line,) = lines_of(done)
        assert line.startswith(f"Error: the server can't keep its data in {folder}: ")
        assert line.endswith("; --data-dir names another folder")


def test_characters_unknown_to_the_terminal_are_shown_as_numbers(shell: Shell, url: str, namespace: str) -> None:
    """As JSON it is whole."""
    with Client(url, namespace=namespace) as client:
        client.send_event(Event("x", id="text", payload="中"), deliver_after=60)
        done = shell("headrace events show text", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
        assert done.returncode == 0
        assert "\\u4e2d" in done.stdout
        client.cancel_event("text")


def test_a_reader_that_has_seen_enough_ends_a_listing_quietly(shell: Shell) -> None:
    """And so does one that is not there."""
    assert shell("headrace runs list | true").stderr == ""
    assert shell("headrace runs list >&-").returncode == 0
    assert shell("headrace runs list --json >&- 2>&-").returncode == 0


def test_a_full_disk_under_the_output_is_a_line(shell: Shell) -> None:
    """With the system's word."""
    done = shell("headrace runs list > /dev/full")
    assert done.returncode != 0
    assert any("No space left on device" in line for line in lines_of(done))


@pytest.mark.parametrize(
    ("name", "value", "command", "code"),
    [
        ("HEADRACE_URL", "http://localhost", "runs list", 2),
        ("HEADRACE_PARTITIONS", "many", "runs list", 2),
        ("HEADRACE_PARTITIONS", "0", "dead list", 2),
        ("HEADRACE_NAMESPACE", "a b", "runs list", 2),
        ("HEADRACE_JSON", "perhaps", "runs list", 2),
        ("HEADRACE_LOG_LEVEL", "loud", "worker jobs:app", 2),
        ("HEADRACE_CODEC", "nothing", "runs list", 2),
        ("HEADRACE_METRICS_PORT", "x", "worker jobs:app", 2),
        ("HEADRACE_URL", "redis://h?socket_timeout=x", "worker jobs:app", 2),
    ],
)
def test_a_variable_of_the_environment_is_named(
    shell: Shell, tmp_path: Path, name: str, value: str, command: str, code: int
) -> None:
    """Where what it holds can't be used."""
    (tmp_path / "jobs.py").write_text("from headrace_worker import App\napp = App('a', dispatch_only=True)\n")
    done = shell(f"headrace {command}", **{name: value})
    assert done.returncode == code
    assert name in lines_of(done)[-1]


def test_an_interrupt_is_quiet(url: str, namespace: str, tmp_path: Path) -> None:
    """Ctrl-C ends a wait with the exit code that shells expect."""
    with Client(url, namespace=namespace) as client:
        client.send_event(Event("x", id="e"), deliver_after=60)
        waiting = subprocess.Popen(
            [*COMMAND.split(), "events", "wait", "e", "--url", url, "--namespace", namespace],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with Client(url) as other:
            listeners: Any = other._transport
            wait_until(lambda: b"settled" in b"".join(_channels(listeners)), 40)
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=40)
        assert (waiting.returncode, out, err) == (130, "", "")
        client.cancel_event("e")


def _channels(transport: Any) -> list[bytes]:
    connection = transport._borrow()
    connection.send_command("PUBSUB", "CHANNELS")
    found: list[bytes] = connection.read_response()
    transport._idle.append(connection)
    return found


@pytest.mark.parametrize("where", ["server", "sentinel"])
def test_a_worker_with_a_wrong_password_says_that_first(
    shell: Shell, make_server: Callable[..., EmbeddedServer], tmp_path: Path, where: str
) -> None:
    """It ends as a worker whose user lacks a right."""
    (tmp_path / "jobs.py").write_text("from headrace_worker import App\napp = App('a', dispatch_only=True)\n")
    server = make_server(unix_socket=False, extra=("--requirepass", "other"))
    with Liar(server.port) as liar:
        urls = {
            "server": f"redis://:wrong@127.0.0.1:{server.port}",
            "sentinel": f"redis+sentinel://:wrong@127.0.0.1:{liar.port}/{NAME}",
        }
        done = shell("headrace worker jobs:app", HEADRACE_URL=urls[where])
    assert done.returncode == 2
    (line,) = lines_of(done)
    assert line.startswith("Error: the worker can't log in: the server does not take the user and password of the URL")


def test_a_server_without_the_command_client_stops_a_start(
    shell: Shell, make_server: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    """A worker there could read nothing, and would log that for ever."""
    (tmp_path / "jobs.py").write_text("from headrace_worker import App\napp = App('a', dispatch_only=True)\n")
    server = make_server(extra=("--rename-command", "CLIENT", ""))
    done = shell("headrace worker jobs:app", HEADRACE_URL=server.url)
    assert done.returncode != 0
    assert "the server lacks a command" in lines_of(done)[-1]
