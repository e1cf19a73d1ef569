"""The matrix says truly what was chosen, how it went, and that something could not be had."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.matrix import __main__ as command
from tests.matrix import pythons, servers
from tests.matrix.home import NotToBeHad
from tests.matrix.plan import Meeting, plan
from tests.matrix.report import table
from tests.matrix.runs import Result, read_report
from tests.support.versions import version_of

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes" />
<testcase classname="a" name="fails"><failure message="no" /></testcase>
<testcase classname="a" name="is not cleaned up" />
<testcase classname="a" name="is not cleaned up"><error message="left on the server" /></testcase>
<testcase classname="a" name="one"><skipped message="not on Linux" /></testcase>
<testcase classname="a" name="two"><skipped message="not on Linux" /></testcase>
</testsuite></testsuites>"""


def test_without_a_choice_every_server_and_every_python_is_there() -> None:
    """Once each, without their whole product: the servers with one Python, the Pythons on the usual server."""
    meetings = plan([], [])
    assert {meeting.server for meeting in meetings} == set(servers.SERVERS)
    assert {meeting.python for meeting in meetings} == {*pythons.PYTHONS, pythons.OWN}
    assert len(meetings) == len(set(meetings)) < len(servers.SERVERS) * len(pythons.PYTHONS)
    assert {meeting.server for meeting in meetings if meeting.scope == "all"} == {servers.USUAL}


def test_what_is_chosen_meets() -> None:
    """Each server that is named with each Python that is named; servers alone with one, Pythons alone on one."""
    both = plan(["redis-6.2", "valkey-9.1"], ["3.12", "3.13"])
    assert [(meeting.server, meeting.python, meeting.scope) for meeting in both] == [
        ("redis-6.2", "3.12", "core"),
        ("redis-6.2", "3.13", "core"),
        ("valkey-9.1", "3.12", "all"),
        ("valkey-9.1", "3.13", "all"),
    ]
    assert plan(["redis-7.0"], []) == [Meeting("redis-7.0", pythons.OWN)]
    assert plan([], ["3.12"]) == [Meeting(servers.USUAL, "3.12")]


@pytest.mark.parametrize(("chosen", "word"), [((["redis-5.0"], []), "valkey-9.1"), (([], ["3.9"]), "3.11")])
def test_an_unknown_name_is_refused_with_those_that_are_known(chosen: tuple[list[str], list[str]], word: str) -> None:
    """Otherwise a slip of the pen would be a matrix that has run nothing."""
    with pytest.raises(ValueError, match=word):
        plan(*chosen)


def test_a_test_that_passed_and_left_something_has_failed(tmp_path: Path) -> None:
    """Pytest's report has it twice, and it counts once; skips are counted by their reason."""
    (tmp_path / "report.xml").write_text(REPORT)
    passed, failed, skipped = read_report(tmp_path / "report.xml")
    assert passed == 1
    assert failed == ("a::fails", "a::is not cleaned up")
    assert skipped == {"not on Linux": 2}


def test_the_table_has_a_line_for_each_and_the_reasons_below() -> None:
    """What failed is named, what was skipped has its reason, and the last line is the sum."""
    good = Result(Meeting("redis-6.2", "3.11"), "6.2.5", 10, (), Counter({"has no such thing": 2}), 61.4)
    bad = Result(Meeting("valkey-9.1", "3.12"), "9.1.2", 11, ("a::fails",), seconds=7)
    none = Result(Meeting("redis-7.0", "3.11"), trouble="redis-7.0: apt-get does not run here")
    lines = table([good, bad, none]).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["server", "version", "Python", "tests", "passed", "failed", "skipped", "seconds"],
        ["redis-6.2", "6.2.5", "3.11", "core", "10", "0", "2", "61"],
        ["valkey-9.1", "9.1.2", "3.12", "all", "11", "1", "0", "7"],
        ["redis-7.0", "none", "3.11", "core", "-", "-", "-", "-"],
    ]
    assert lines[5:] == [
        "redis-6.2, Python 3.11: skipped 2: has no such thing",
        "valkey-9.1, Python 3.12: failed a::fails",
        "redis-7.0, Python 3.11: redis-7.0: apt-get does not run here",
        "",
        "matrix: 21 passed, 2 failed, 2 skipped",
    ]
    assert [result.is_good for result in (good, bad, none)] == [True, False, False]


def test_what_can_t_be_had_fails_the_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is missing is said in the table and by the exit code, never passed over."""

    def missing(server: servers.Server) -> Path:
        raise NotToBeHad(f"{server.name}: not on this system")

    monkeypatch.setattr(servers, "provide", missing)
    monkeypatch.setattr("sys.argv", ["matrix", "--servers", "redis-6.2"])
    assert command.main() == 1
    assert "redis-6.2: not on this system" in capsys.readouterr().out


def test_a_server_of_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a system's package has moved on, its tests would say nothing of the version in the table."""
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho 'Redis server v=8.0.2 sha=00000000:0 malloc=libc bits=64 build=0'\n")
    binary.chmod(0o755)
    monkeypatch.setattr(servers, "HOME", tmp_path)
    newer = servers.Server("redis-7.0", "Debian's redis-server", (), lambda _server, _folder: binary)
    with pytest.raises(NotToBeHad, match=r"Debian's redis-server has redis 8\.0\.2 on this system"):
        servers.provide(newer)


def test_a_run_without_tests_is_no_good_run() -> None:
    """Whatever pytest's exit code was: nothing has passed."""
    assert not Result(Meeting("redis-6.2", "3.11"), "6.2.5").is_good


@pytest.mark.not_on("redis-6.2", reason="shows on one server that a mark keeps a test off it")
def test_a_marked_test_is_kept_off_a_server(server_binary: Path) -> None:
    """It does not run there."""
    assert version_of(server_binary)[0] != "redis-6.2"


def test_a_test_that_asks_for_a_server_is_part_of_the_core(url: str, request: pytest.FixtureRequest) -> None:
    """Directly or through other fixtures; no test needs a mark for it."""
    assert url
    assert request.node.get_closest_marker("uses_server")


def test_a_test_without_a_server_is_not(request: pytest.FixtureRequest) -> None:
    """It says nothing about servers."""
    assert not request.node.get_closest_marker("uses_server")
