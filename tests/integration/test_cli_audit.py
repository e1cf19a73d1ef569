"""Each command that acts leaves a line in the audit: who, what, why, and with what success."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import AuditEntry, Client, Event
from headrace_worker.operate.app_client import AppClient
from tests.apps.everyday import app
from tests.support.commands import Headrace, Shell, document

APP = "tests.apps.everyday:app"
ACTS: list[tuple[tuple[str, ...], dict[str, Any], list[int]]] = [
    (("app", "register", APP), {"app": "everyday"}, [1, 0]),
    (("jobs", "trigger", "everyday/echo", "--id", "e1"), {"job": "everyday/echo", "event": "e1"}, [1, 0]),
    (("jobs", "disable", "everyday/echo"), {"job": "everyday/echo"}, [1, 0]),
    (("jobs", "enable", "everyday/echo"), {"job": "everyday/echo"}, [0]),
    (("queues", "pause", "everyday/default"), {"queue": "everyday/default"}, [1]),
    (("queues", "resume", "everyday/default"), {"queue": "everyday/default"}, [1]),
    (("queues", "limit", "everyday/default", "5"), {"queue": "everyday/default", "limit": 5}, [1]),
    (("events", "reschedule", "later", "--after", "2h"), {"ids": ["later"], "at": None, "after": 7200.0}, [1]),
    (("events", "cancel", "later"), {"ids": ["later"]}, [1]),
    (("app", "forget", "everyday"), {"app": "everyday"}, [1, 0]),
]


@pytest.fixture
def registered(url: str, namespace: str) -> None:
    """An app without workers, and a delayed event."""
    with AppClient(url, namespace=namespace) as client:
        client.register_app(app)
        client.send_event(Event("later", id="later"), deliver_after=3_600)


@pytest.mark.leaves_records
@pytest.mark.parametrize(("args", "asked", "done"), ACTS, ids=[" ".join(act[0][:2]) for act in ACTS])
def test_an_act_is_noted(
    request: pytest.FixtureRequest, headrace: Headrace, client: Client, args: Any, asked: Any, done: list[int]
) -> None:
    """With its reason; a second time some do nothing, and say so."""
    if args[:2] != ("app", "register"):
        request.getfixturevalue("registered")
    for _ in done:
        assert headrace(*args, "--reason", "asked to").exit_code == 0
    found = client.list_audit().items[::-1]
    assert [(each.verb, each.via, each.reason, each.failed) for each in found] == [
        (" ".join(args[:2]), "headrace", "asked to", 0) for _ in done
    ]
    assert [each.asked for each in found] == [asked for _ in done]
    assert [each.done for each in found] == done
    assert all("@" in each.who for each in found)


@pytest.mark.leaves_records
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "args",
    [("send", "echo"), ("jobs", "list"), ("app", "forget", "nobody"), ("jobs", "trigger", "everyday/nobody")],
    ids=" ".join,
)
def test_what_changes_nothing_that_is_there_is_not_noted(
    headrace: Headrace, client: Client, args: tuple[str, ...]
) -> None:
    """To send is no act of an operator, to look neither, and what was refused has changed nothing."""
    headrace(*args)
    assert client.list_audit().items == []


@pytest.mark.leaves_records
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "line",
    ["queues pause everyday/default", "jobs disable everyday/echo", "jobs trigger everyday/echo", "app forget everyday",
     "events cancel later", "events cancel --name later --yes --json", "events reschedule later --after 1h"],
)  # fmt: skip
def test_an_act_is_noted_though_its_output_is_lost(shell: Shell, client: Client, line: str) -> None:
    """As when the reader of a pipe has left: it is done all the same."""
    assert shell(f"headrace {line} > /dev/full").returncode != 0
    found: list[AuditEntry] = client.list_audit().items
    assert [(each.verb, each.done) for each in found] == [(" ".join(line.split()[:2]), 1)]


@pytest.mark.leaves_records
def test_an_act_on_many_is_one_short_line(headrace: Headrace, client: Client) -> None:
    """With the first of the IDs and how many more there are; as JSON with all of them."""
    ids = [f"later-{number}" for number in range(1_500)]
    client.audit("events cancel", {"ids": ids, "runs": True})
    client.audit("events cancel", {"ids": ids[:3]})
    _, few, many = headrace("audit", "list").stdout.splitlines()
    assert ' {"ids":["later-0","and 1,499 more"],"runs":true} ' in many
    assert ' {"ids":["later-0","later-1","later-2"]} ' in few
    assert document(headrace("audit", "list", "--json"))["audit"][1]["asked"]["ids"] == ids
