"""A worker process and its parent exchange names, starts and stops."""

from __future__ import annotations

import os
import socket

import pytest
import redis as redis_py

from headrace import ConfigurationError
from headrace.formats.keys import Keys
from headrace_worker import App, Worker
from headrace_worker.process.child import describe_end
from headrace_worker.process.control_channel import ChildReport, ControlChannel
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost, quick


async def test_each_name_is_reported_before_it_has_a_lease(host: WorkerHost, redis: redis_py.Redis) -> None:
    """Also the name after a fence: a name that was not reported never has pending entries."""
    keys = Keys(host.namespace)
    told: dict[str, object] = {}
    worker = Worker(
        App("app"),
        host.url,
        namespace=host.namespace,
        config=quick(),
        on_name=lambda name: told.setdefault(name, redis.zscore(keys.workers, name)),  # type: ignore[arg-type]
    )
    async with host.running(worker):
        (first,) = told
        redis.hset(keys.worker(first), "fenced", "1")
        await await_until(lambda: len(told) == 2)
        await await_until(lambda: redis.zscore(keys.workers, list(told)[1]) is not None)
        assert worker.name == list(told)[1]
    assert list(told.values()) == [None, None]


def test_messages_of_a_child_are_received() -> None:
    """Each name once, in order, and the start; other lines are ignored."""
    ours, theirs = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    channel.report_name("w-1")
    channel.report_name("w-1")
    channel.report_started()
    channel.report_name("w-2")
    report = ChildReport()
    with ours:
        *lines, rest = ours.recv(4096).decode().split("\n")
    for each in [*lines, "something else"]:
        report.add(each)
    assert (report.names, report.has_started, rest) == (["w-1", "w-2"], True, "")
    channel.report_started()  # nobody listens any more
    channel._socket.close()


def test_a_descriptor_that_is_no_line_is_said() -> None:
    """It is a wrong setting, not a crash."""
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(ConfigurationError, match="no line"):
            ControlChannel(write_end)
        with pytest.raises(ConfigurationError, match="no line"):
            ControlChannel(999_999)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_ends_of_processes_have_words() -> None:
    """For exit codes and signals."""
    assert [describe_end(code) for code in (0, 3, -9, -250)] == ["exit code 0", "exit code 3", "SIGKILL", "signal 250"]
    assert describe_end(70) == "exit code 70: a part of it stood still, see its log"
