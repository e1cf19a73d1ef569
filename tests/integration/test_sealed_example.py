"""examples/sealed does what its README says: it encrypts, it opens, and its keys can be rotated."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
import redis as redis_py
from cryptography.exceptions import InvalidTag

from headrace import Client
from tests.support.processes import Processes
from tests.support.snippets import ROOT, blocks

FOLDER = ROOT / "examples" / "sealed"
OLD, NEW = {"2026-11": b"o" * 32}, {"2027-05": b"n" * 32}


def setting(keys: Mapping[str, bytes]) -> str:
    """Return keys as SEALING_KEYS has them."""
    return ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in keys.items())


@pytest.fixture
def sealing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's module, made with the old key."""
    monkeypatch.setenv("SEALING_KEYS", setting(OLD))
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("sealing")


def test_the_example_works_as_its_readme_says(
    processes: Processes, sealing: Any, url: str, namespace: str, redis: redis_py.Redis
) -> None:
    """Its commands and its snippet send sealed events; the jobs see what is inside, the server and others do not."""
    env = {"SEALING_KEYS": setting(OLD), "PYTHONPATH": str(FOLDER)}
    worker = processes.worker("jobs:app", env=env)
    worker.wait_for_line("worker started", 30)
    send, show, show_opened = (shlex.split(line, comments=True)[1:] for line in blocks_of_commands())
    assert processes.cli(*send, env=env).wait() == 0
    (snippet,) = blocks("examples/sealed/README.md", "python")
    assert processes.python("-c", snippet, env=env).wait() == 0

    with Client(url, namespace=namespace, codec=sealing.codec) as client:
        seventeen, eighteen = (client.wait_for_event(each, 30) for each in ("result-17", "result-18"))
    assert {run.job: run.output for run in seventeen.runs} == {"clinic/alarm": "called about p_17", "clinic/file": None}
    assert [run.job for run in eighteen.runs] == ["clinic/file"]
    stored: Any = redis.hgetall(client.partitions.first.event("result-17"))
    assert b"p_17" not in b"".join(stored.values())

    shown, opened = processes.cli(*show), processes.cli(*show_opened, env=env)
    assert (shown.wait(), opened.wait()) == (0, 0)
    assert "sealed:" in shown.output
    assert "p_17" not in shown.output
    assert '{"patient":"p_17","value":9.5}' in opened.output


def blocks_of_commands() -> list[str]:
    """Return the commands of the README's second terminal."""
    return blocks("examples/sealed/README.md", "sh")[1].splitlines()


def test_keys_are_rotated_in_three_steps(sealing: Any) -> None:
    """Each step of the README opens what the step before and the step after have sealed."""
    steps = [sealing.AesGcm(keys) for keys in (OLD, OLD | NEW, NEW | OLD, NEW)]
    for one, other in ((0, 1), (1, 2), (2, 1), (1, 0), (2, 3)):
        assert steps[other].decode(steps[one].encode(b"data", b"event"), b"event") == b"data"
    with pytest.raises(KeyError, match="2027-05"):
        steps[0].decode(steps[3].encode(b"data", b"event"), b"event")


def test_nothing_opens_that_was_changed(sealing: Any) -> None:
    """A changed byte, another key under the same id, or another event make it refuse."""
    sealed = sealing.codec.encode(b"data", b"event")
    for data, bound_to in ((sealed[:-1] + bytes([sealed[-1] ^ 1]), b"event"), (sealed, b"other event")):
        with pytest.raises(InvalidTag):
            sealing.codec.decode(data, bound_to)
    with pytest.raises(InvalidTag):
        sealing.AesGcm({"2026-11": b"x" * 32}).decode(sealed, b"event")


def test_nothing_is_sealed_alike_twice(sealing: Any) -> None:
    """The nonce is new each time: equal payloads can't be told from unequal ones."""
    assert sealing.codec.encode(b"data", b"event") != sealing.codec.encode(b"data", b"event")
