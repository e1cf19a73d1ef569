"""Sentinels name a service's master, and a server that is not the master any more is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import headrace.transport.sentinel
from headrace import AsyncClient, AuthenticationFailed, ConfigurationError, Event, ServerNotReady, ServerUnreachable
from headrace_worker import App, event_trigger
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.clients import KINDS, Kind, open_client
from tests.support.ports import free_port
from tests.support.sentinels import NAME, Liar, Watched
from tests.support.waiting import wait_until
from tests.support.workers import WorkerHost


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, server_binary: Path) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched"), server_binary) as watched:
        yield watched


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_finds_the_master(watched: Watched, kind: Kind) -> None:
    """What is sent to the service is on its master."""
    with open_client(kind, watched.url(), namespace="found", attempts=1) as client:
        sent = client.send_event(Event("work"))
        assert client.get_event(sent.id).status == "pending"
    with redis_py.Redis.from_url(watched.master.tcp_url) as master:
        assert master.exists(f"headrace:{{found:0}}:event:{sent.id}")


async def test_a_worker_finds_the_master(watched: Watched) -> None:
    """A worker takes the URL as a client does, and every connection of it."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("work"))
    async def job() -> str:
        return "done"

    async with (
        AsyncClient(watched.url(), namespace="worked") as client,
        WorkerHost(watched.url(), "worked").working(app),
    ):
        sent = await client.send_event(Event("work"))
        record = await client.wait_for_event(sent.id, 30)
    assert [run.output for run in record.runs] == ["done"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_no_sentinel_watches_is_a_wrong_setting(watched: Watched, kind: Kind) -> None:
    """It is said at once, with the name, and not waited for."""
    url = watched.url().replace(f"/{NAME}/", "/mull/")
    with open_client(kind, url) as client, pytest.raises(ConfigurationError, match="watch no service 'mull'"):
        client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentinel_that_is_away_is_passed_over(watched: Watched, kind: Kind) -> None:
    """One sentinel that answers is enough; without any, the outage names each."""
    url = watched.url().replace("sentinel://", "sentinel://127.0.0.1:1,")
    with open_client(kind, url, namespace="away", attempts=1) as client:
        assert client.send_event(Event("work")).delivered_at
    with (
        open_client(kind, f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{NAME}", attempts=2) as client,
        pytest.raises(ServerUnreachable, match=rf"no sentinel says where the master of '{NAME}' is .*:1: .*:2: "),
    ):
        client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_no_master_is_not_spoken_to(two: tuple[EmbeddedServer, EmbeddedServer], kind: Kind) -> None:
    """Not even for reads: an isolated sentinel may name it; each attempt asks the sentinels again."""
    master, replica = two
    with Liar(replica.port) as liar, open_client(kind, liar.url, namespace="role", attempts=1) as client:
        with pytest.raises(ServerNotReady, match="is a slave"):
            client.list_dead_letters()
        liar.port_of_master = master.port
        assert client.list_dead_letters().items == []
        assert liar.asked == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["replica", "gone", "unknown", "silent"])
def test_one_wrong_sentinel_hinders_nothing(
    two: tuple[EmbeddedServer, EmbeddedServer], kind: Kind, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection asks the other sentinels first; one right answer does not make a wrong sentinel the first."""
    monkeypatch.setattr(headrace.transport.sentinel, "_TIMEOUT_S", 0.2)
    master, replica = two
    named = {"replica": replica.port, "gone": free_port(), "unknown": None, "silent": None}[wrong]
    with ExitStack() as ends:
        liars = [ends.enter_context(Liar(port)) for port in (named, master.port, master.port)]
        if wrong == "silent":
            liars[0].stop_answering()
        hosts = ",".join(f"127.0.0.1:{liar.port}" for liar in liars)
        with open_client(kind, f"redis+sentinel://{hosts}/{NAME}/0", namespace="doubted", attempts=4) as client:
            client.send_event(Event("work"))
            client.close()
            asked = liars[0].asked
            client.send_event(Event("work"))
            assert liars[0].asked == asked <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_sentinels_that_are_all_wrong_are_asked_in_turn(two: tuple[EmbeddedServer, EmbeddedServer], kind: Kind) -> None:
    """So the first sentinel with the right answer is found."""
    master, replica = two
    with ExitStack() as ends:
        liars = [ends.enter_context(Liar(replica.port)) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{liar.port}" for liar in liars)
        url = f"redis+sentinel://{hosts}/{NAME}/0"
        with open_client(kind, url, namespace="turns", attempts=1) as client:
            for _ in range(6):
                with pytest.raises(ServerNotReady, match="is a slave"):
                    client.list_dead_letters()
            assert [liar.asked for liar in liars] == [2, 2, 2]
            liars[2].port_of_master = master.port
            for _ in range(2):
                with pytest.raises(ServerNotReady):
                    client.list_dead_letters()
            assert client.list_dead_letters().items == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["sentinel", "name"])
def test_a_master_that_was_demoted_is_left(two: tuple[EmbeddedServer, EmbeddedServer], kind: Kind, by: str) -> None:
    """Its READONLY closes the connections to it, and the next attempt is on one that was opened anew."""
    master, replica = two
    admin: Any = redis_py.Redis.from_url(master.tcp_url)
    other: Any = redis_py.Redis.from_url(replica.tcp_url)

    def ids() -> set[str]:
        return {row["id"] for row in admin.client_list(_type="normal")}

    with Liar(master.port) as liar, admin, other:
        url = liar.url if by == "sentinel" else master.tcp_url
        with open_client(kind, url, namespace="demoted", attempts=1) as client:
            client.send_event(Event("work"))
            me = str(admin.client_id())
            assert ids() > {me}
            other.replicaof("NO", "ONE")
            admin.replicaof("127.0.0.1", str(replica.port))
            liar.port_of_master = replica.port
            with pytest.raises(ServerNotReady, match="READONLY"):
                client.send_event(Event("work"))
            wait_until(lambda: ids() == {me}, what="connections that are closed")
            if by == "sentinel":
                sent = client.send_event(Event("work"))
                assert other.exists(f"headrace:{{demoted:0}}:event:{sent.id}")


@pytest.mark.parametrize("kind", KINDS)
def test_users_of_sentinels_and_servers_are_apart(watched: Watched, kind: Kind) -> None:
    """A sentinel's user needs one command; a server's user may lack ROLE."""
    for sentinel in watched.sentinels:
        rights = ("on", ">s3cret", "-@all", "+sentinel|get-master-addr-by-name")
        sentinel.redis.execute_command("ACL", "SETUSER", "finder", *rights)
    for server in watched.servers:
        with redis_py.Redis.from_url(server.tcp_url) as admin:
            admin.execute_command("ACL", "SETUSER", "web", "on", ">p@ss", "~*", "&*", "+@all", "-role")
    options = "?sentinel_username=finder&sentinel_password=s3cret"
    with open_client(kind, watched.url(userinfo="web:p%40ss@", options=options), namespace="users") as client:
        assert client.send_event(Event("work")).delivered_at
    options = "?sentinel_username=finder&sentinel_password=wrong"
    with (
        open_client(kind, watched.url(userinfo="web:p%40ss@", options=options), attempts=1) as client,
        pytest.raises(AuthenticationFailed, match="do not take the sentinel_username and sentinel_password"),
    ):
        client.send_event(Event("work"))
