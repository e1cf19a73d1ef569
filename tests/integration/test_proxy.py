"""The proxy cuts the line exactly where asked, and the server has or has not carried out the request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.proxy import Cut, Frames, Proxy, has_data, is_done
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until


@pytest.fixture(params=["unix", "tcp"])
def line(request: pytest.FixtureRequest, url: str, make_server: Callable[..., ControlledServer]) -> Iterator[Proxy]:
    target = url if request.param == "unix" else make_server(unix_socket=False).url
    with Proxy(target) as proxy:
        yield proxy


@pytest.fixture
def key(namespace: str) -> str:
    return f"headrace:{{{namespace}:0}}:dead"


def connect(url: str, protocol: int = 3, timeout: float = 5) -> redis_py.Redis:
    """A client that retries nothing, so that each cut is seen."""
    return redis_py.Redis.from_url(url, protocol=protocol, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_is_not_cut_goes_through(line: Proxy, key: str, protocol: int) -> None:
    """Commands, pipelines, transactions, scripts and large values come through unchanged."""
    big = b"\r\n$5\r\n" * 200_000
    with connect(line.url, protocol) as client:
        client.xadd(key, {"body": big})
        with client.pipeline(transaction=True) as pipe:
            pipe.xlen(key).xrange(key).eval("return {1, {'a', false}, redis.call('XLEN', KEYS[1])}", 1, key)
            length, entries, nested = pipe.execute()
    assert (length, entries[0][1][b"body"], nested) == (1, big, [1, [b"a", None], 1])
    assert (line.lost_requests, line.lost_replies) == (0, 0)


def test_a_lost_reply_was_carried_out(line: Proxy, key: str) -> None:
    """The client sees its line cut, and the server has done what it asked."""
    cut = line.cut_after_request(b"XADD")
    with connect(line.url) as client:
        with pytest.raises(redis_py.ConnectionError):
            client.xadd(key, {"f": "v"})
        assert client.xlen(key) == 1
        client.xadd(key, {"f": "v"})
        assert client.xlen(key) == 2
    assert (cut.done, line.lost_replies, line.lost_requests) == (1, 1, 0)
    assert b"XADD" in cut.requests[0]


def test_a_lost_request_was_not_carried_out(line: Proxy, key: str) -> None:
    """The client sees its line cut, and the server has never received the request."""
    cut = line.cut_before_request(b"XADD")
    with connect(line.url) as client:
        with pytest.raises(redis_py.ConnectionError):
            client.xadd(key, {"f": "v"})
        assert client.xlen(key) == 0
        client.xadd(key, {"f": "v"})
        assert client.xlen(key) == 1
    assert (cut.done, line.lost_replies, line.lost_requests) == (1, 0, 1)


@pytest.mark.parametrize(("kind", "length"), [("request", 0), ("reply", 1)])
def test_a_cut_within_its_bytes_lets_half_of_them_through(
    line: Proxy, key: str, kind: Literal["request", "reply"], length: int
) -> None:
    """Half a request is never carried out; a request whose reply breaks off half way was."""
    cut = line.add(Cut(b"XADD", kind, is_within=True))
    with connect(line.url) as client:
        with pytest.raises(redis_py.ConnectionError):
            client.xadd(key, {"f": "v"})
        assert client.xlen(key) == length
        client.xadd(key, {"f": "v"})
    assert cut.done == 1


def test_what_is_slowed_takes_its_time_and_comes_through(line: Proxy, key: str) -> None:
    """Request and reply each take so much longer, until the line is restored."""
    with connect(line.url) as client:
        client.ping()
        line.slow(0.1)
        start = time.monotonic()
        client.xadd(key, {"f": "v"})
        assert time.monotonic() - start >= 0.2
        line.restore()
        assert line.delay_s == 0
        assert client.xlen(key) == 1


def test_a_cut_happens_as_often_as_it_is_told(line: Proxy, key: str) -> None:
    """With times=2 two connections are cut, and the third one stays open."""
    cut = line.cut_after_request(b"XADD", times=2)
    with connect(line.url) as client:
        for _ in range(2):
            with pytest.raises(redis_py.ConnectionError):
                client.xadd(key, {"f": "v"})
        client.xadd(key, {"f": "v"})
        assert client.xlen(key) == 3
    assert cut.done == 2


def test_the_proxy_matches_scripts_by_sha_and_passes_errors(line: Proxy, key: str) -> None:
    """NOSCRIPT comes through, as nothing was carried out; the cut is there for the call that is."""
    script = "redis.call('XADD', KEYS[1], '*', 'f', 'v') return 1 -- lost"
    with connect(line.url) as client:
        client.script_flush()
        sha = client.script_load(script)
        client.script_flush()
        cut = line.cut_after_request(sha.encode())
        with pytest.raises(redis_py.exceptions.NoScriptError):
            client.evalsha(sha, 1, key)
        assert cut.done == 0
        client.script_load(script)
        with pytest.raises(redis_py.ConnectionError):
            client.evalsha(sha, 1, key)
        assert client.xlen(key) == 1


def test_replies_before_the_lost_one_come_through(line: Proxy, key: str) -> None:
    """Of a pipeline, what was answered before the cut reaches the client, and all of it was carried out."""
    line.cut_after_request(b"second")
    with connect(line.url) as client, client.pipeline(transaction=False) as pipe:
        pipe.xadd(key, {"f": "first"}).xadd(key, {"f": "second"}).xadd(key, {"f": "third"})
        with pytest.raises(redis_py.ConnectionError):
            pipe.execute()
        assert client.xlen(key) == 3


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_reply_of_a_blocked_read_is_lost_when_it_comes(line: Proxy, key: str, protocol: int) -> None:
    """An entry that a blocked XREADGROUP gets is pending for a reader that has never seen it."""
    with connect(line.url, protocol) as reader, connect(line.url, protocol) as sender:
        sender.xgroup_create(key, "group", id="0", mkstream=True)
        cut = line.cut_after_request(b"XREADGROUP", only=has_data)
        assert not reader.xreadgroup("group", "reader", {key: ">"}, block=10)
        assert cut.done == 0
        errors: list[Exception] = []

        def read() -> None:
            try:
                reader.xreadgroup("group", "reader", {key: ">"}, block=4000)
            except redis_py.ConnectionError as exc:
                errors.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(lambda: sender.info("clients")["blocked_clients"])
        entry = sender.xadd(key, {"f": "v"})
        thread.join()
        assert len(errors) == 1
        pending = sender.xpending_range(key, "group", "-", "+", 10)
        assert [(row["message_id"], row["consumer"]) for row in pending] == [(entry, b"reader")]


@pytest.mark.parametrize("protocol", [2, 3])
def test_published_messages_are_no_replies(line: Proxy, key: str, protocol: int) -> None:
    """Messages that come in between do not shift which reply is cut."""
    with (
        connect(line.url, protocol) as client,
        connect(line.url, protocol) as other,
        client.pubsub() as listener,
    ):
        listener.subscribe(key, f"{key}:2")
        for _ in range(2):
            assert listener.get_message(timeout=5)
        for i in range(3):
            other.publish(key, i)
        heard = [listener.get_message(timeout=5) for _ in range(3)]
        assert [message["data"] for message in heard if message] == [b"0", b"1", b"2"]
        line.cut_after_request(b"PING")
        with pytest.raises(redis_py.ConnectionError):
            other.ping()
        other.publish(key, "still")
        message = listener.get_message(timeout=5)
        assert message
        assert message["data"] == b"still"


def test_drop_all_cuts_and_refuses_until_restore(line: Proxy, key: str) -> None:
    """Open lines are cut, new ones refused, and after restore the same URL works again."""
    with connect(line.url) as client:
        client.xadd(key, {"f": "v"})
        line.drop_all()
        for _ in range(3):
            with pytest.raises(redis_py.ConnectionError):
                client.xlen(key)
        wait_until(lambda: line.connections == 0)
        line.restore()
        assert client.xlen(key) == 1


def test_a_stalled_line_is_silent_and_heals(line: Proxy, key: str) -> None:
    """While stalled, old and new connections are open and nothing comes; after restore all of it arrives."""
    with connect(line.url, timeout=0.2) as client:
        client.ping()
        line.stall()
        with pytest.raises(redis_py.TimeoutError):
            client.xadd(key, {"f": "v"})
        with connect(line.url, timeout=0.2) as newcomer, pytest.raises(redis_py.TimeoutError):
            newcomer.ping()
        line.restore()
        assert client.xlen(key) in {0, 1}
        wait_until(lambda: client.xlen(key) == 1, what="the stalled request")


def test_a_server_that_is_gone_closes_the_line(make_server: Callable[..., ControlledServer]) -> None:
    """Behind the proxy a killed server looks like one, and a restarted one is found again."""
    server = make_server(appendonly=True)
    with Proxy(server.url) as proxy, connect(proxy.url) as client:
        client.set("key", "value")
        server.kill()
        with pytest.raises(redis_py.ConnectionError):
            client.get("key")
        server.start()
        assert client.get("key") == b"value"


def test_a_cut_can_be_taken_back(proxy: Proxy) -> None:
    """A cancelled cut cuts nothing, and waiting for it fails with what was waited for."""
    cut = proxy.cut_after_request(lambda request: request.startswith(b"*1\r\n$4\r\nPING"))
    cut.cancel()
    with connect(proxy.url) as client:
        assert client.ping()
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for 1 lost reply"):
        cut.wait(timeout=0.01)


def test_wait_returns_when_the_cut_has_happened(proxy: Proxy) -> None:
    """A test can wait for the moment in which the line was cut."""
    cut = proxy.cut_before_request(b"PING")

    def ping() -> None:
        with connect(proxy.url) as client, pytest.raises(redis_py.ConnectionError):
            client.ping()

    thread = threading.Thread(target=ping)
    thread.start()
    cut.wait()
    thread.join()
    assert cut.done == 1


def test_the_url_keeps_what_the_target_says() -> None:
    """User, password and database of the target are those of the proxy's URL."""
    with Proxy("redis://ann:pw@localhost:1/3?protocol=3") as tcp, Proxy("unix:///no.sock?db=3") as unix:
        assert tcp.url.startswith("redis://ann:pw@127.0.0.1:")
        assert tcp.url.endswith("/3?protocol=3")
        assert unix.url.endswith("/proxy.sock?db=3")


def test_closing_the_proxy_leaves_no_thread(url: str) -> None:
    """All threads of a closed proxy have ended, those of open connections too."""
    others = set(threading.enumerate())  # of earlier tests; they may end meanwhile
    proxy = Proxy(url)
    with connect(proxy.url) as client:
        client.ping()
        assert set(threading.enumerate()) - others
        proxy.close()
    wait_until(lambda: not set(threading.enumerate()) - others)


def test_frames_are_found_at_any_cut_of_the_stream() -> None:
    """Whole values of RESP 2 and 3 come out, however the stream is divided."""
    values = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"_\r\n",
        b"$6\r\na\r\nb\r\n\r\n",
        b"*2\r\n*1\r\n$1\r\na\r\n*0\r\n",
        b"%1\r\n+k\r\n*2\r\n:1\r\n,1.5\r\n",
        b">2\r\n+push\r\n+x\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*1\r\n:5\r\n",
        b"=6\r\ntxt:ab\r\n",
        b"PING\r\n",
        b"~1\r\n#t\r\n",
    ]
    stream = b"".join(values)
    for size in (1, 2, 3, 7, len(stream)):
        frames = Frames()
        chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [frame for chunk in chunks for frame in frames.feed(chunk)] == values


def test_large_replies_are_cut_up_in_linear_time() -> None:
    """An array of 100,000 strings in small pieces takes almost no time."""
    reply = b"*100000\r\n" + b"$10\r\n0123456789\r\n" * 100_000
    frames = Frames()
    started = time.process_time()
    found = [frame for i in range(0, len(reply), 4096) for frame in frames.feed(reply[i : i + 4096])]
    assert found == [reply]
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("reply", "done", "data"),
    [
        (b"-ERR no\r\n", False, False),
        (b"*-1\r\n", True, False),
        (b"$-1\r\n", True, False),
        (b"_\r\n", True, False),
        (b"*0\r\n", True, False),
        (b"%0\r\n", True, False),
        (b"*1\r\n:1\r\n", True, True),
        (b"+OK\r\n", True, True),
    ],
)
def test_replies_are_told_apart(reply: bytes, done: bool, data: bool) -> None:  # noqa: FBT001  parameters
    """An error is not done; nulls and empty collections hold nothing."""
    assert (is_done(reply), has_data(reply)) == (done, data)
