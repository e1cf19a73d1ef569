"""`rediss://` checks the server's certificate, shows the client's own, and says what is wrong with either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from headrace import AsyncClient, Event, ServerUnreachable
from headrace_worker import App, event_trigger
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.clients import KINDS, Kind, open_client
from tests.support.ports import free_port
from tests.support.sentinels import Liar
from tests.support.tls import Authority, TlsFront
from tests.support.workers import WorkerHost


@pytest.fixture(scope="module")
def plain(server_binary: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(binary=server_binary, unix_socket=False) as plain:
        yield plain


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def front(plain: EmbeddedServer, authority: Authority) -> Iterator[TlsFront]:
    with TlsFront(plain.port or 0, authority.issue("server")) as front:
        yield front


def url_of(front: TlsFront, trusted: Authority, options: str = "") -> str:
    return f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={trusted.path}{options}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_of_a_trusted_authority_is_accepted(front: TlsFront, authority: Authority, kind: Kind) -> None:
    """A client sends over TLS."""
    with open_client(kind, url_of(front, authority), namespace="tls", attempts=1) as client:
        sent = client.send_event(Event("work", "x" * 100_000))
        assert client.get_event(sent.id).payload == "x" * 100_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_connection_is_good_at_once(front: TlsFront, authority: Authority, kind: Kind) -> None:
    """What the server sends unasked after the handshake is not taken for the reply of an earlier command."""
    for _ in range(10):
        with open_client(kind, url_of(front, authority), namespace="tls", attempts=1) as client:
            assert not client.has_workers()


async def work_on(url: str) -> None:
    """An event that is sent there is run there."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("work"))
    async def job() -> str:
        return "done"

    async with AsyncClient(url, namespace="worked") as client, WorkerHost(url, "worked").working(app):
        sent = await client.send_event(Event("work"))
        record = await client.wait_for_event(sent.id, 30)
    assert [run.output for run in record.runs] == ["done"]


async def test_a_worker_works_over_tls(front: TlsFront, authority: Authority) -> None:
    """Every connection of a worker is one."""
    await work_on(url_of(front, authority))


@pytest.mark.not_on("redis-6.2", "redis-8.10", "valkey-8.1", "valkey-9.1", reason="this build of it has no TLS")
async def test_a_server_that_speaks_tls_itself_is_worked_with(
    make_server: Callable[..., EmbeddedServer], authority: Authority
) -> None:
    """Client and worker reach it as they reach one behind a front, and show their own certificate."""
    server, own = str(authority.issue("server")), authority.issue("client")
    port = free_port()
    files = ("--tls-cert-file", server, "--tls-key-file", server, "--tls-ca-cert-file", str(authority.path))
    make_server(extra=("--tls-port", str(port), *files))
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.path}&ssl_certfile={own}&ssl_keyfile={own}"
    await work_on(url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_of_another_authority_is_refused(front: TlsFront, tmp_path: Path, kind: Kind) -> None:
    """The error says that the certificate is refused, why, and which setting names the authority."""
    refused = r"certificate is not accepted: .*(unable to get|self.signed).*ssl_ca_certs="
    for url in (url_of(front, Authority(tmp_path, "other")), f"rediss://127.0.0.1:{front.port}/0"):
        with open_client(kind, url, attempts=1) as client, pytest.raises(ServerUnreachable, match=refused):
            client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_that_has_expired_is_refused(plain: EmbeddedServer, authority: Authority, kind: Kind) -> None:
    """The error says that."""
    certificate = authority.issue("server", timedelta(hours=-1))
    with (
        TlsFront(plain.port or 0, certificate) as front,
        open_client(kind, url_of(front, authority), attempts=1) as client,
        pytest.raises(ServerUnreachable, match="certificate is not accepted: certificate has expired"),
    ):
        client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_for_another_host_is_refused(front: TlsFront, authority: Authority, kind: Kind) -> None:
    """The name in the URL must be in it."""
    url = url_of(front, authority).replace("127.0.0.1", "localhost")
    refused = "certificate is not accepted: Hostname mismatch, certificate is not valid for 'localhost'"
    with open_client(kind, url, attempts=1) as client, pytest.raises(ServerUnreachable, match=refused):
        client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_shows_its_own_certificate(plain: EmbeddedServer, authority: Authority, kind: Kind) -> None:
    """A server that asks for one refuses a client without one."""
    own = authority.issue("client")
    with TlsFront(plain.port or 0, authority.issue("server"), clients_of=authority) as front:
        with open_client(kind, url_of(front, authority, f"&ssl_certfile={own}&ssl_keyfile={own}")) as client:
            assert client.send_event(Event("work")).delivered_at
        with open_client(kind, url_of(front, authority), attempts=1) as client, pytest.raises(ServerUnreachable):
            client.send_event(Event("work"))


@pytest.mark.parametrize("kind", KINDS)
def test_sentinels_and_master_are_both_spoken_to_over_tls(front: TlsFront, authority: Authority, kind: Kind) -> None:
    """The options for certificates hold for both."""
    with Liar(front.port) as liar, TlsFront(liar.port, authority.issue("sentinel")) as sentinel:
        url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/mill/0?ssl_ca_certs={authority.path}"
        with open_client(kind, url, namespace="both", attempts=1) as client:
            assert client.send_event(Event("work")).delivered_at
        assert liar.asked
