"""A call of a client ends in its time, whatever the server does, and leaves no connection in doubt behind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, InvalidArgument, ServerNotReady, ServerUnreachable, WaitTimeout
from headrace.errors import CallError
from headrace.formats.keys import Keys
from headrace_worker import App, event_trigger
from headrace_worker.operate.app_client import AppClient
from headrace_worker.run.port import RunPorts
from tests.support.clients import Kind, open_app_client, open_client
from tests.support.cluster import Cluster
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.sentinels import NAME, Liar
from tests.support.servers import ControlledServer

SHORT_S = 0.5
NAMESPACE = "prod"


@pytest.fixture
def own(make_server: Callable[..., ControlledServer]) -> Iterator[ControlledServer]:
    """A server of the test's own, which it may pause."""
    server = make_server()
    yield server
    server.resume()


@contextmanager
def given_up(timeout_s: float = SHORT_S) -> Iterator[pytest.ExceptionInfo[CallError]]:
    """The call raises ServerUnreachable, which says how often and how long it tried; a stuck one ends the test."""
    said = rf"tried (once|\d+ times) in \d+\.\d s, with a timeout of {timeout_s:g} s"
    with pytest.raises(ServerUnreachable, match=said) as caught:
        yield caught


def test_a_silent_server_is_given_up_and_answers_later(kind: Kind, own: ControlledServer) -> None:
    """The send may have arrived, as the error says; sent again it is known, and no call reads another one's reply."""
    with open_client(kind, own.url, namespace=NAMESPACE, timeout=SHORT_S) as client:
        known = client.send_event(Event("a", id="known"))
        own.pause()
        with given_up() as caught:
            client.send_event(Event("a", id="open"))
        assert caught.value.may_be_done
        assert "can't be reached, or the line was cut: " in str(caught.value)
        assert str(caught.value).endswith("sending an event again with the same id can't deliver it twice")
        with given_up():
            client.get_event("known")
        own.resume()
        assert client.get_event("known", timeout=60).id == known.id
        client.send_event(Event("a", id="open"), timeout=60)
        assert client.get_event("open", timeout=60).id == "open"
    with redis_py.Redis.from_url(own.url) as admin:
        assert admin.xlen(Keys(NAMESPACE).events) == 2


def test_a_new_client_gives_a_silent_server_up(kind: Kind, own: ControlledServer) -> None:
    """Its first question is a part of its first call."""
    own.pause()
    with open_client(kind, own.url, namespace=NAMESPACE, timeout=SHORT_S) as client:
        with given_up():
            client.list_runs()
        own.resume()
        assert client.list_runs(timeout=60).items == []


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port where each connection is accepted and handed to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as ends:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                ends.callback(connection.close)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def trickle(connection: socket.socket) -> None:
    """Send an answer that never ends, each byte of it long before any timeout."""
    try:
        connection.sendall(b"$1000000\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)
    except OSError:
        return


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
@pytest.mark.parametrize("answer", [lambda connection: connection, trickle], ids=["silent", "trickling"])
def test_a_port_that_never_answers_is_given_up(kind: Kind, scheme: str, answer: Callable[[Any], object]) -> None:
    """Where it accepts connections, and where it sends without an end; at login, with TLS, and asked as a sentinel."""
    with listening(answer) as port:
        url = f"{scheme}://:secret@127.0.0.1:{port}/" + (NAME if scheme == "redis+sentinel" else "")
        with open_client(kind, url, timeout=SHORT_S) as client, given_up() as caught:
            client.send_event(Event("a"))
    assert not caught.value.may_be_done
    assert "deliver it twice" not in str(caught.value)


def test_an_absent_server_is_given_up_in_time(kind: Kind) -> None:
    """The waits between attempts end with the time; nothing was sent."""
    with open_client(kind, f"redis://127.0.0.1:{free_port()}", timeout=SHORT_S, attempts=10_000) as client:
        with given_up() as caught:
            client.send_event(Event("a"))
        assert not caught.value.may_be_done


@pytest.mark.parametrize(("attempts", "said"), [(1, "tried once in"), (2, "tried 2 times in")])
def test_an_absent_server_uses_up_the_attempts(kind: Kind, attempts: int, said: str) -> None:
    """The error says how often it was tried, as the time was not over."""
    with (
        open_client(kind, f"redis://127.0.0.1:{free_port()}", timeout=60, attempts=attempts) as client,
        pytest.raises(ServerUnreachable, match=rf"{said} \d+\.\d s, with a timeout of 60 s"),
    ):
        client.send_event(Event("a"))


def test_a_server_that_is_slow_but_answers_in_time_is_waited_for(kind: Kind, proxy: Proxy, namespace: str) -> None:
    """An attempt is not shortened so that several fit."""
    with open_client(kind, proxy.url, namespace=namespace, timeout=60, attempts=1) as client:
        sent = client.send_event(Event("a"))
        proxy.slow(0.9)
        assert client.get_event(sent.id, timeout=3).name == "a"


def test_a_call_s_own_timeout_comes_before_the_client_s(kind: Kind, own: ControlledServer) -> None:
    """Shorter or longer, in each method that asks the server."""
    with open_client(kind, own.url, namespace=NAMESPACE, timeout=None) as client:
        client.send_event(Event("a"))
        own.pause()
        calls: list[Callable[..., object]] = [
            lambda **timeout: client.send_event(Event("a"), **timeout),
            lambda **timeout: client.send_events([Event("a")], **timeout),
            lambda **timeout: client.get_event("a", **timeout),
            lambda **timeout: client.get_run("a:b/c", **timeout),
            lambda **timeout: client.cancel_event("a", **timeout),
            lambda **timeout: client.retry_run("a:b/c", **timeout),
            client.list_runs,
            client.list_dead_letters,
            lambda **timeout: client.get_dead_letter("1-1", **timeout),
            client.has_workers,
        ]
        for call in calls:
            with given_up(0.1):
                call(timeout=timedelta(seconds=0.1))


def test_each_call_of_an_app_client_has_a_timeout_of_its_own(kind: Kind, own: ControlledServer) -> None:
    """Whatever it adds to the other clients."""
    app = App("shop")
    app.job(id="mail", trigger=event_trigger("a"))(lambda: None)
    given: dict[str, tuple[Any, ...]] = {
        "register_app": (app,),
        "forget_app": ("shop",),
        "diagnose": (),
        "list_apps": (),
        "list_jobs": (),
        "get_job": ("shop/mail",),
        "find_job": ("shop/mail",),
        "disable_job": ("shop/mail",),
        "enable_job": ("shop/mail",),
        "trigger_job": ("shop/mail",),
        "replay_event": ("e",),
        "replay_events": (["e"],),
        "explain_event": ("e",),
        "explain_send": (Event("a"),),
        "list_workers": (),
        "iter_workers": (),
        "get_worker": ("w",),
        "quiet_workers": (["w"],),
        "stop_workers": (["w"],),
        "list_queues": (),
        "get_queue": ("shop/default",),
        "get_stats": (60,),
    }
    assert set(given) == {name for name in vars(AppClient) if not name.startswith("_")}
    with open_app_client(kind, own.url, namespace=NAMESPACE, timeout=SHORT_S) as client:
        client.has_workers()
        own.pause()
        for name, args in given.items():
            with given_up(0.1):
                found = getattr(client, name)(*args, timeout=timedelta(seconds=0.1))
                if name == "iter_workers":
                    next(found)


def test_an_iteration_gives_each_page_the_timeout(own: ControlledServer) -> None:
    """Or the client's."""
    with Client(own.url, namespace=NAMESPACE) as client:
        client.send_event(Event("a"))
        own.pause()
        for pages in (client.iter_runs(timeout=SHORT_S), client.iter_dead_letters(timeout=SHORT_S)):
            with given_up():
                next(pages)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "3", True, timedelta(0)])
def test_a_timeout_that_is_none_is_refused(kind: Kind, url: str, namespace: str, timeout: Any) -> None:
    """Before anything is sent."""
    with open_client(kind, url, namespace=namespace) as client:
        for call in (lambda: client.send_event(Event("a"), timeout=timeout), lambda: client.list_runs(timeout=timeout)):
            with pytest.raises(InvalidArgument, match="timeout: must be seconds above 0") as caught:
                call()
            assert caught.value.field == "timeout"
        assert client.list_runs(timeout=float("inf")).items == []


def test_an_answer_that_the_server_can_t_is_kept(kind: Kind, own: ControlledServer) -> None:
    """The error after the time is the server's word, not that it can't be reached."""
    with redis_py.Redis.from_url(own.url) as admin:
        admin.replicaof("127.0.0.1", "1")
    with (
        open_client(kind, own.url, namespace=NAMESPACE, timeout=SHORT_S, attempts=10_000) as client,
        pytest.raises(ServerNotReady, match="with a timeout of") as caught,
    ):
        client.send_event(Event("a"))
    assert caught.value.code == "READONLY"


def test_a_wait_for_replicas_comes_on_top(kind: Kind, url: str, namespace: str, redis: redis_py.Redis) -> None:
    """The server answers when its own time is over, or twice that if it had lost the script, as it has here."""
    redis.script_flush()
    with open_client(kind, url, namespace=namespace, timeout=2 * SHORT_S, attempts=1) as client:
        client.list_runs()
        sent = client.send_event(Event("a"), wait_replicas=1, wait_replicas_timeout=3 * SHORT_S)
    assert sent.replicas == 0


def test_a_wait_for_an_event_has_a_time_of_its_own(kind: Kind, url: str, namespace: str) -> None:
    """It may take longer than any call."""
    with open_client(kind, url, namespace=namespace, timeout=SHORT_S) as client:
        sent = client.send_event(Event("a"), deliver_after=60)
        with pytest.raises(WaitTimeout):
            client.wait_for_event(sent.id, 3 * SHORT_S)
        client.cancel_event(sent.id)


def test_a_wait_s_reads_end_in_the_client_s_time(kind: Kind, own: ControlledServer) -> None:
    """A server that is silent from the beginning is an error long before the wait is over."""
    with open_client(kind, own.url, namespace=NAMESPACE, timeout=SHORT_S) as client:
        client.send_event(Event("a", id="a"))
        own.pause()
        with given_up():
            client.wait_for_event("a", 3_600)


def test_a_connection_of_a_short_call_serves_a_long_one(proxy: Proxy, namespace: str) -> None:
    """What was left to the one is no limit of the other, whose client has none."""
    with Client(proxy.url, namespace=namespace, timeout=None, attempts=1) as client:
        client.send_event(Event("a"), timeout=60)
        transport: Any = client._transport
        connection = transport._idle[0]
        assert connection._sock.gettimeout() > 0
        client.list_runs(timeout=SHORT_S)
        assert connection._sock.gettimeout() <= SHORT_S
        client.list_runs()
        assert connection._sock.gettimeout() == 10


def test_a_cluster_s_silent_node_is_given_up(kind: Kind, make_server: Callable[..., ControlledServer]) -> None:
    """Nodes that answer are asked in the same call for the map, and afterwards for what is theirs."""
    cluster = Cluster(make_server, node_timeout_ms=60_000)
    silent = cluster.masters[0]
    events = [Event("a", id=f"e{n}") for n in range(12)]
    try:
        with open_client(kind, cluster.url, namespace=NAMESPACE, partitions=6, timeout=60) as client:
            client.send_events(events)
            silent.server.pause()
            with given_up():
                client.send_events(events, timeout=SHORT_S)
            found = []
            for event in events:
                try:
                    found.append(client.get_event(str(event.id), timeout=SHORT_S).id)
                except ServerUnreachable:
                    continue
            assert 0 < len(found) < len(events)
            silent.server.resume()
            assert len(client.send_events(events)) == len(events)
    finally:
        silent.server.resume()
        cluster.close()


def test_a_silent_master_behind_a_sentinel_is_given_up(
    kind: Kind, make_server: Callable[..., ControlledServer]
) -> None:
    """The sentinel answers, and the master that it names does not."""
    own = make_server(unix_socket=False)
    with Liar(own.port) as liar, open_client(kind, liar.url, namespace=NAMESPACE, timeout=SHORT_S) as client:
        client.send_event(Event("a"), timeout=60)
        client.close()
        own.pause()
        with given_up():
            client.send_event(Event("a"))
        own.resume()


async def test_what_jobs_send_has_no_timeout_but_the_job_s(url: str) -> None:
    """A worker waits through an outage."""
    ports = RunPorts(url, NAMESPACE)
    assert ports.asynchronous._until(None) is None
    assert ports.threaded._until(None) is None
    await ports.close()


def test_threads_have_deadlines_of_their_own(own: ControlledServer) -> None:
    """A short call beside a long one does not end it."""
    with Client(own.url, namespace=NAMESPACE) as client:
        client.send_event(Event("a", id="a"))
        own.pause()
        found: list[str] = []
        long = threading.Thread(target=lambda: found.append(client.get_event("a", timeout=60).id))
        long.start()
        with given_up():
            client.get_event("a", timeout=SHORT_S)
        assert long.is_alive()
        own.resume()
        long.join(60)
    assert found == ["a"]


def test_a_unix_socket_s_silent_server_is_given_up(kind: Kind, tmp_path: Path) -> None:
    """One that listens and never accepts."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(100)
        with open_client(kind, f"unix://{tmp_path}/s", timeout=SHORT_S) as client, given_up():
            client.list_runs()
