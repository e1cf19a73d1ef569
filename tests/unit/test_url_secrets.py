"""The password of a URL is in no error and in no log line, whatever is wrong with the URL or the server."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from headrace import Client, ConfigurationError, HeadraceError
from headrace_worker import App, Worker
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.process import log_setup

SECRET = "hunter2"

MISSPELT = [
    f"redis://user:{SECRET}@localhost:port/0",
    f"redis://user:{SECRET}@localhost:6379/zero",
    f"redis://user:{SECRET}@localhost:6379/0?no_such_option=1",
    f"redis://user:{SECRET}@localhost:6379/0?socket_timeout=soon",
    f"redis://user:{SECRET}/x@localhost:6379/0",
    f"redis://user:x/{SECRET}@localhost:6379/0",
    f"redis://user:{SECRET}#x@localhost:6379/0",
    f"redis://user:{SECRET}?x@localhost:6379/0",
    f"redis://user:[{SECRET}]@localhost:6379/0",
    f"http://user:{SECRET}@localhost:6379/0",
    f"redis://localhost:port/0?username=user&password={SECRET}",
    f"unix://user:{SECRET}@/run/server.sock?db=zero",
    f"redis+sentinel://user:{SECRET}@localhost:26379",
    f"redis+sentinel://user:{SECRET}@localhost:port/mill",
    f"redis+sentinel://user:{SECRET}/x@localhost/mill",
    f"redis+sentinel://user:{SECRET},x@/mill",
    f"redis+sentinel://localhost:1/mill?sentinel_password={SECRET}",
]


@pytest.mark.parametrize("url", MISSPELT)
def test_a_url_that_can_not_be_read_keeps_its_password(url: str) -> None:
    """The error says that the URL is wrong and shows it, without the password or any part of it, traceback included."""
    with pytest.raises(HeadraceError) as caught, Client(url, attempts=1) as client:
        client.get_event("e")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_is_wrong_is_still_said() -> None:
    """Where it has nothing to do with the password, the error says what it is; where it has, what to do."""
    with pytest.raises(ConfigurationError, match="no_such_option"):
        Client(f"redis://user:{SECRET}@localhost/0?no_such_option=1")
    with pytest.raises(ConfigurationError, match="percent-encoded"):
        Client(f"redis://user:{SECRET}/x@localhost/0")


async def test_no_error_or_log_line_shows_a_password(
    make_server: Callable[..., EmbeddedServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither errors nor the log of a worker at level debug have the password of a user whom the server rejects."""
    log_setup.configure("json", "debug")
    server = make_server(extra=("--requirepass", "other"))
    for url in (f"unix://default:{SECRET}@{server.socket_path}", f"redis://user:{SECRET}@127.0.0.1:1/0"):
        with pytest.raises(HeadraceError) as caught:
            await Worker(App("app"), url).run()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with Client(url, attempts=1) as client, pytest.raises(HeadraceError) as refused:
            client.get_event("e")
        assert SECRET not in "".join(traceback.format_exception(refused.value))
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err
