"""A URL says where the server is and how to speak to it; one that can't be followed is refused at once."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from headrace import AsyncClient, Client, ConfigurationError
from headrace.config import resolve_partitions
from headrace.formats.keys import Keys
from headrace.transport.urls import SCHEMES, read_url, without_secrets
from headrace_worker.membership.server import ServerAccess
from headrace_worker.membership.watch import Pulse
from headrace_worker.streams.reader import Reader
from headrace_worker.tasks.guard import Guard

CLIENTS = [Client, AsyncClient]


def pool_of(client: Client | AsyncClient) -> Any:
    transport: Any = client._transport
    return transport.pool


REFUSED = {
    "": "it must begin with one of redis://, rediss://, unix://, redis+sentinel://",
    "localhost:6379": "it must begin with one of",
    "http://localhost": "redis+cluster://, rediss+cluster://",
    "HTTP://localhost/x/y": "it must begin with one of",
    "\"redis://h:1/0\"": "it must begin with one of",
    "HEADRACE_URL=redis://h:1/0": "it must begin with one of",
    "redis+socket:///tmp/x.sock": "it must begin with one of",
    "redis:/h": "it must begin with one of",
    "unix:/tmp/x.sock": "it must begin with one of",
    "unix+sentinel://localhost/mill": "it must begin with one of",
    "unix://tmp/x.sock": "a socket's path begins with the third slash, as in unix:///run/server.sock",
    "unix://": "a socket's path begins with the third slash",
    "redis+sentinel://localhost": "it names no service",
    "redis+sentinel:///mill": "a host is missing",
    "redis+sentinel://localhost,/mill": "a host is missing",
    "redis+sentinel://localhost:port/mill": "'localhost:port' is no host with a port from 1 to 65535",
    "redis+sentinel://localhost/mill/prod": "'prod' is no number of a database",
    "redis+sentinel://localhost/mill/0/1": "'0/1' is no number of a database",
    "redis+sentinel://localhost/mill?colour=red": "it has no option 'colour'; the options are client_name, db,",
    "redis+cluster://a,b/3": "a cluster has database 0 only",
    "redis+cluster://a,b?db=3": "a cluster has database 0 only",
    "redis://localhost:port/0": "is no host with a port from 1 to 65535",
    "redis://localhost:99999/0": "is no host with a port from 1 to 65535",
    "redis://localhost:0": "is no host with a port from 1 to 65535",
    "redis://[::1/0": "is no host with a port from 1 to 65535",
    "redis://::1/0": "an IPv6 address has brackets",
    "redis://a,b/0": "several hosts are those of redis+sentinel:// or redis+cluster://",
    "redis://localhost/prod": "'prod' is no number of a database",
    "redis://localhost/0/1": "'0/1' is no number of a database",
    "redis://localhost/0?db=1": "it says db twice",
    "redis://localhost/0#x": "a '#' in it must be percent-encoded, as %23",
    "redis://localhost/0?socket_timeout=soon": "socket_timeout must be seconds, above 0 and at most 3600, not 'soon'",
    "redis://localhost/0?socket_timeout=0": "socket_timeout must be seconds, above 0",
    "redis://localhost/0?socket_connect_timeout=nan": "socket_connect_timeout must be seconds, above 0",
    "redis://localhost/0?socket_timeout=1&socket_timeout=2": "it says 'socket_timeout' twice",
    "redis://localhost/0?client_name=": "client_name must be a name without blanks, not ''",
    "redis://localhost/0?client_name=a%20b": "client_name must be a name without blanks",
    "redis://localhost/0?socket_keepalive=maybe": "socket_keepalive must be yes or no, not 'maybe'",
    "redis://localhost/0?colour=red": "it has no option 'colour'",
    "redis://localhost/0?sentinel_password=x": "an option of redis+sentinel:// and rediss+sentinel:// only",
    "redis://localhost/0?ssl_cert_reqs=none": "ssl_cert_reqs needs TLS, which rediss:// asks for",
    "rediss://localhost/0?ssl_cert_reqs=no": "must be none, optional or required, as in ssl_cert_reqs=none",
    "rediss://localhost/0?ssl_min_version=1": "ssl_min_version must be TLSv1.2 or TLSv1.3, not '1'",
    "rediss://localhost/0?ssl_ca_certs=/nowhere/ca.pem": "ssl_ca_certs can't be used: No such file or directory",
    "rediss://localhost/0?ssl_certfile=/nowhere/own.pem": "ssl_certfile can't be used: No such file or directory",
    "rediss://localhost/0?ssl_ca_data=x": "ssl_ca_data can't be used",
    "rediss://localhost/0?ssl_ciphers=x": "ssl_ciphers can't be used",
    "unix:///tmp/server.sock?colour=red": "it has no option 'colour'",
}  # fmt: skip


@pytest.mark.parametrize("url", [url for url in REFUSED if url])
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_url_that_cannot_be_used_is_refused_at_once(kind: type[Client | AsyncClient], url: str) -> None:
    """Not at the first call: the error shows the URL and what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        kind(url)
    assert str(caught.value).startswith(f"{without_secrets(url)!r} is no URL of a server: ")
    assert REFUSED[url] in str(caught.value)


@pytest.mark.parametrize("url", [redis.Redis(), 7, b"redis://h", ["redis://h"]])
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_url_is_a_text(kind: Any, url: object) -> None:
    """A client of redis-py, and what else is none, is named by its type."""
    with pytest.raises(ConfigurationError, match=rf"url must be a text such as .*, not {type(url).__name__}"):
        kind(url)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@localhost",
        "redis://user:s3cret@localhost/prod",
        "redis://:s3@cret@localhost/0?colour=red",
        "unix:///tmp/server.sock?password=s3cret&colour=red",
        "redis+sentinel://user:s3cret@localhost",
        "redis+sentinel://localhost/mill?sentinel_password=s3cret&colour=red",
        "redis+cluster://user:s3cret@localhost/7",
        "rediss://localhost?ssl_password=s3cret&ssl_password=s3cret",
    ],
)
def test_an_error_does_not_tell_the_password(kind: type[Client | AsyncClient], url: str) -> None:
    """It is written to logs."""
    with pytest.raises(ConfigurationError) as caught:
        kind(url)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost/",
        "redis://localhost:/",
        "redis://",
        "REDIS://localhost:6380/1",
        "redis://user:pass@[::1]:6380/15",
        "redis://localhost/?db=3",
        "rediss://host:6379/0",
        "rediss://host?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=false",
        "unix:///s",
        "unix://user:pass@/s?db=2",
        "redis+sentinel://a,b:1,[::1]:2/mill",
        "rediss+sentinel://user:pass@a/mill/3?ssl_cert_reqs=none",
        "Redis+Cluster://a:7000,b/0",
        "rediss+cluster://user:pass@a?ssl_cert_reqs=optional",
    ],
)
def test_a_good_url_needs_no_server_yet(kind: type[Client | AsyncClient], url: str) -> None:
    """A client connects at its first call."""
    assert kind(url).url == url


@pytest.mark.parametrize("word", ["none", "optional", "required", "CERT_NONE", "cert_optional", "Required"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_certificate_demands_are_read_as_others_write_them(kind: type[Client | AsyncClient], word: str) -> None:
    """As redis-py has them, and as Python's ssl does."""
    pool = pool_of(kind(f"rediss://h?ssl_cert_reqs={word}"))
    connection = pool.connection_class(**pool.connection_kwargs)
    assert connection.cert_reqs == ssl.VerifyMode[f"CERT_{word.lower().removeprefix('cert_').upper()}"]


UNDONE = (
    "protocol=3&decode_responses=yes&encoding=latin-1&encoding_errors=ignore&max_connections=1&health_check_interval=1"
    "&retry_on_timeout=yes&retry_on_error=x&single_connection_client=yes&legacy_responses=no&socket_read_size=1&timeout=1"
)


@pytest.mark.parametrize("kind", CLIENTS)
def test_what_headrace_needs_cannot_be_undone_by_the_url(kind: type[Client | AsyncClient]) -> None:
    """Such options of redis-py's are passed over, so that one URL can serve several programs."""
    pools = [pool_of(kind(f"redis://h/3{query}")) for query in ("", f"?{UNDONE}")]
    plain, undone = ({**pool.connection_kwargs} for pool in pools)
    for each in (plain, undone):
        del each["retry"]
        each.pop("himport_registry", None)
        each.pop("event_dispatcher", None)
    assert plain == undone
    assert pools[0].max_connections == pools[1].max_connections > 1_000


def test_options_of_the_url_are_kept() -> None:
    """User, password, database, name, times and TLS."""
    query = "client_name=web&socket_timeout=2.5&socket_connect_timeout=1&socket_keepalive=no&ssl_min_version=TLSv1.3"
    options = pool_of(Client(f"rediss://us%40er:p%2Fw@h:7/3?{query}")).connection_kwargs
    assert {name: options[name] for name in ("username", "password", "db", "host", "port", "client_name")} == {
        "username": "us@er", "password": "p/w", "db": 3, "host": "h", "port": 7, "client_name": "web",
    }  # fmt: skip
    assert (options["socket_timeout"], options["socket_connect_timeout"], options["socket_keepalive"]) == (
        2.5,
        1,
        False,
    )
    assert options["ssl_min_version"] is ssl.TLSVersion.TLSv1_3


async def test_the_url_does_not_shorten_a_worker_s_blocking_reads() -> None:
    """A read that waits longer than any reply may take has a time of its own."""
    access = ServerAccess("redis://h?socket_timeout=1", Keys("n"))
    reader: Any = Reader(access, Guard(), Pulse(), 5)
    commands: Any = access.commands
    assert (reader._transport._reply_timeout_s, commands._reply_timeout_s) == (10, 1)
    assert reader._transport.pool.connection_kwargs["socket_timeout"] is None


def test_a_file_that_is_no_certificate_is_said(tmp_path: Path) -> None:
    """At once: a failed connection would look like a server that can't be reached."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match="ssl_ca_certs can't be used"):
        Client(f"rediss://h?ssl_ca_certs={tmp_path}/ca.pem")


@pytest.mark.parametrize("name", ["HEADRACE_URL", "HEADRACE_PARTITIONS", "HEADRACE_NAMESPACE"])
def test_the_environment_s_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where what it holds can't be used."""
    monkeypatch.setenv("HEADRACE_URL", "redis://h")
    monkeypatch.setenv(name, "a b")
    client = Client()
    with pytest.raises(ConfigurationError, match=name):
        _ = client.url, client.partitions


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "²", "1025", "9" * 5_000])
def test_a_number_of_partitions_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """By the variable's name."""
    monkeypatch.setenv("HEADRACE_PARTITIONS", text)
    with pytest.raises(ConfigurationError, match="HEADRACE_PARTITIONS"):
        resolve_partitions(None)


@given(
    st.builds("{}://{}".format, st.sampled_from(SCHEMES), st.text(alphabet="ab1:@/?=&%[]#,-. é\x00_", max_size=30))
    | st.text(max_size=20)
)
def test_no_text_is_more_than_a_configuration_error(url: str) -> None:
    """Whatever stands there."""
    with contextlib.suppress(ConfigurationError):
        read_url(url)
