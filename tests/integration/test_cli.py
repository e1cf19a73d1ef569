"""Each command explains itself, and says in one line and an exit code what is wrong."""

from __future__ import annotations

import json
import queue
import re
from pathlib import Path
from typing import Any

import click
import pytest

from headrace_worker import __version__
from headrace_worker.cli.root import root as main
from tests.support.commands import Headrace, document, fails

# What goes wrong.


@pytest.mark.parametrize(
    ("args", "thing"),
    [
        (("events", "show", "nope"), "event 'nope'"),
        (("events", "wait", "nope"), "event 'nope'"),
        (("runs", "show", "nope"), "run 'nope'"),
        (("runs", "show", "nope:app/job"), "run 'nope:app/job'"),
        (("queues", "pause", "nope"), "queue 'nope'"),
        (("queues", "resume", "app/nope"), "queue 'app/nope'"),
        (("queues", "limit", "app/nope", "5"), "queue 'app/nope'"),
        (("queues", "purge", "app/nope", "--yes=app/nope"), "queue 'app/nope'"),
        (("queues", "purge", "nope", "--yes=nope"), "queue 'nope'"),
        (("dead", "show", "nope"), "dead letter 'nope'"),
        (("dead", "show", "1-0"), "dead letter '1-0'"),
    ],
    ids=str,
)
def test_an_unknown_id_is_exit_code_1(headrace: Headrace, args: list[str], thing: str) -> None:
    """The line says what is not known."""
    fails(headrace(*args), 1, f"no {thing}")


EVERY_DATA_COMMAND = [
    ("send", "x"),
    ("events", "list"),
    ("events", "tail"),
    ("events", "show", "x"),
    ("events", "wait", "x"),
    ("events", "cancel", "x"),
    ("runs", "list"),
    ("runs", "show", "x:a/b"),
    ("queues", "pause", "app/default"),
    ("queues", "resume", "app/default"),
    ("queues", "limit", "app/default", "5"),
    ("runs", "wait", "x:a/b"),
    ("delayed", "list"),
    ("dead", "list"),
    ("dead", "groups"),
    ("dead", "show", "1-0"),
    ("dead", "retry", "--all"),
    ("dead", "discard", "--all"),
    ("events", "reschedule", "x", "--after", "1"),
    ("events", "replay", "x"),
    ("runs", "cancel", "x:a/b"),
    ("runs", "retry", "x:a/b"),
    ("queues", "purge", "a/b"),
    ("audit", "list"),
    ("index", "show"),
    ("index", "keep", "20000"),
    ("events", "explain", "x"),
    ("jobs", "list"),
    ("jobs", "show", "a/b"),
    ("jobs", "disable", "a/b"),
    ("jobs", "enable", "a/b"),
    ("jobs", "trigger", "a/b"),
    ("workers", "list"),
    ("workers", "show", "x"),
    ("workers", "quiet", "x"),
    ("workers", "stop", "x"),
    ("queues", "list"),
    ("queues", "show", "x/y"),
    ("stats",),
    ("top",),
    ("app", "register", "tests.apps.everyday:app"),
    ("app", "forget", "everyday"),
    ("app", "routes"),
    ("doctor",),
]


@pytest.mark.parametrize("args", EVERY_DATA_COMMAND, ids=" ".join)
def test_no_url_says_what_to_set(headrace: Headrace, args: list[str]) -> None:
    """It is an error of the call: exit code 2."""
    fails(headrace(*args, HEADRACE_URL=None), 2, "HEADRACE_URL")


def test_a_server_that_is_not_there_is_exit_code_1(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says that it can't be reached."""
    monkeypatch.setattr("headrace.transport.backoff.Backoff.delay_s", lambda *_: 0.001)
    fails(headrace("runs", "list", "--url", "unix:///nonexistent/server.sock"), 1, "can't be reached")


def test_a_url_that_is_none_is_said_without_its_password(headrace: Headrace) -> None:
    """The exit code is 2."""
    result = headrace("runs", "list", "--url", "http://user:geheim@host")
    fails(result, 2, "is no URL")
    assert "geheim" not in result.stderr


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("nope",), ["nope", "headrace --help"]),
        (("--nope",), ["--nope"]),
        (("runs", "list", "--status", "nope"), ["--status", "nope", "headrace runs list --help"]),
        (("runs", "list", "--limit", "0"), ["--limit"]),
        (("runs", "list", "--cursor", "nope"), ["cursor"]),
        (("runs", "cancel", "--status", "queued", "--cursor", ""), ["cursor"]),
        (("runs", "list", "--queue", "nope"), ["--queue", "billing/default"]),
        (("runs", "list", "--older-than", "5"), ["--older-than", "--status executing"]),
        (("runs", "list", "--since", "5"), ["--since", "nor a duration such as 30m"]),
        (("runs", "list", "--since", "1h", "--until", "2h"), ["--since is later than --until"]),
        (("delayed", "list", "--since", "2h", "--until", "1h"), ["--since is later than --until"]),
        (("dead", "discard", "--until", "2h", "--since", "1h", "--yes"), ["--since is later than --until"]),
        (("stats", "--since", "2d"), ["--since", "from 1m to 1d"]),
        (("dead", "retry"), ["--all"]),
        (("dead", "retry", "--all", "1-0"), ["--all"]),
        (("dead", "retry", "1-0", "--reason", "x"), ["--reason is a filter here", "--note says why"]),
        (("dead", "discard", "1-0", "--reason", "x"), ["--reason is a filter here", "--note says why"]),
        (("workers", "list", "--cursor", "nope"), ["cursor"]),
        (("events", "show", "x", "--depth", "2"), ["--depth", "--tree"]),
        (("events", "replay", "x", "--delay", "999999999999"), ["--delay", "longer than 100 years"]),
        (("events", "reschedule", "x", "--after", "999999999999"), ["--after", "longer than 100 years"]),
        (("events", "list", "--since", "99999d"), ["--since", "longer than 100 years"]),
        (("events", "wait", "x", "--timeout", "-1"), ["--timeout"]),
        (("runs", "list", "--namespace", "no spaces"), ["namespace", "no spaces"]),
        (("worker",), ["MODULE:APP"]),
        (("worker", "tests.apps.everyday"), ["MODULE:APP", "tests.apps.everyday:app"]),
        (("worker", "tests/apps/everyday.py:app"), ["tests.apps.everyday:app"]),
        (("worker", "no_such_module:app"), ["no module 'no_such_module'"]),
        (("worker", "tests.nope.jobs:app"), ["no module 'tests.nope'"]),
        (("worker", "tests.apps.everyday:nope"), ["no 'nope'", "tests.apps.everyday:app"]),
        (("worker", "tests.apps.everyday:not_an_app"), ["object", "tests.apps.everyday:app"]),
        (("worker", "tests.apps.everyday:tell"), ["function", "not an App"]),
        (("worker", "tests.apps.everyday:app", "--lease", "0"), ["lease"]),
        (("worker", "tests.apps.everyday:app", "--processes", "0"), ["--processes"]),
        (("worker", "tests.apps.everyday:app", "--queue", "a/b"), ["queue", "a/b"]),
        (("worker", "tests.apps.everyday:app", "--url", "nope"), ["no URL"]),
        (("dev", "tests.apps.everyday:app", "--port", "-1"), ["--port"]),
        (("app", "register", "tests.apps.everyday"), ["MODULE:APP", "tests.apps.everyday:app"]),
        (("app", "forget", "tests.apps.everyday:app"), ["app 'tests.apps.everyday:app' is not a name"]),
    ],
    ids=str,
)
def test_a_wrong_call_is_exit_code_2_and_one_line(headrace: Headrace, args: list[str], parts: list[str]) -> None:
    """The line names what is at fault."""
    fails(headrace(*args), 2, *parts)


@pytest.mark.parametrize(
    "args",
    [
        ("runs", "list", "{}"), ("{}",), ("runs", "{}"), ("runs", "list", "--{}"), ("runs", "list", "--status", "{}"),
        ("runs", "cancel", "--all", "--yes={}"), ("send", "--file", "{}"), ("send", "--url", "{}"), ("worker", "{}"),
        ("events", "show", "{}"), ("events", "list", "--codec", "{}:codec"), ("jobs", "show", "{}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_error_gives_a_terminal_no_command(headrace: Headrace, args: tuple[str, ...]) -> None:
    """What was typed is in it with its control characters escaped, and once."""
    result = headrace(*(each.format("a\x1b[31mb\x07") for each in args))
    assert result.exit_code in (1, 2)
    assert r"a\x1b[31mb\x07" in result.stderr
    assert not re.search(r"[\x1b\x07]", result.output)


def test_a_name_is_escaped_once(headrace: Headrace) -> None:
    """In quotes, too."""
    assert r"no job subscribes to 'a\x1b[31mb'" in headrace("send", "--explain", "a\x1b[31mb").stdout


def test_an_error_names_a_variable_only_if_the_value_is_from_there(headrace: Headrace) -> None:
    """Once."""
    of_environment = headrace("runs", "list", HEADRACE_CODEC="nope").stderr
    assert of_environment.count("HEADRACE_CODEC") == 1
    assert "(in the environment, as HEADRACE_CODEC)" in of_environment
    assert "HEADRACE_CODEC" not in headrace("runs", "list", "--codec", "wrong", HEADRACE_CODEC="nope").stderr


@pytest.mark.parametrize(
    "args",
    [
        ("events", "show"), ("events", "cancel"), ("events", "cancel", "e1"), ("events", "replay"),
        ("events", "explain"), ("events", "wait"), ("events", "reschedule", "--after", "1"),
        ("runs", "show"), ("runs", "cancel"), ("runs", "retry"), ("runs", "wait"),
        ("dead", "show"), ("dead", "retry"), ("dead", "discard"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_id_is_a_wrong_call(headrace: Headrace, args: tuple[str, ...]) -> None:
    """The variable of a script was empty, most likely; nothing is done to the others either."""
    fails(headrace(*args, ""), 2, "empty")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import no_such_library\n", ["line 1", "ModuleNotFoundError", "no_such_library"]),
        ("from json import nope\n", ["line 1", "ImportError", "nope"]),
        ("x = 1\ndef broken(:\n", ["line 2", "SyntaxError"]),
        ("x = 1\n1 / 0\n", ["line 2", "ZeroDivisionError"]),
        ("raise SystemExit(0)\n", ["SystemExit(0)"]),
        ("from headrace_worker import App\napp = App('not a name')\n", ["line 2", "not a name"]),
    ],
    ids=repr,
)
def test_what_is_wrong_inside_a_module_is_said_with_its_line(
    headrace: Headrace, source: str, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no missing module, and there is no traceback."""
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = headrace("worker", f"{name}:app")
    fails(result, 2, name, *parts)
    assert "there is no module" not in result.stderr


def test_a_fault_deep_in_the_imports_is_shown_with_the_way_to_it(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is, which line of the named module leads there, and at the level debug the traceback."""
    (tmp_path / "jobs_of_shop.py").write_text("import os\nimport prices_of_shop\n")
    (tmp_path / "prices_of_shop.py").write_text("def read():\n    return {}['euro']\n\nread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    refused = headrace("worker", "jobs_of_shop:app")
    fails(refused, 2, "prices_of_shop.py, line 4, which ", "jobs_of_shop.py, line 2, imports", "KeyError: 'euro'")
    shown = headrace("worker", "jobs_of_shop:app", "--log-level", "debug", "--log-format", "console").stderr
    assert "return {}['euro']" in shown


@pytest.mark.parametrize("command", ["app schema one_of_shop:app", "app check one_of_shop:app", "codec"])
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_failed_import_shows_no_variables(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, log_format: str
) -> None:
    """In commands without an option for the log, too: the traceback is on standard error, if asked for."""
    one = "from headrace_worker import App\napp = App('b', modules=['two_of_shop'])\n"
    (tmp_path / "one_of_shop.py").write_text(one)
    (tmp_path / "two_of_shop.py").write_text("SECRET = 'hunter' '2'\nimport three_of_shop\n")
    (tmp_path / "three_of_shop.py").write_text("import not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ("events", "list", "--codec", "two_of_shop:codec") if command == "codec" else command.split()
    quiet = headrace(*given, HEADRACE_LOG_FORMAT=log_format)
    said = "ModuleNotFoundError: No module named 'not_there'; HEADRACE_LOG_LEVEL=debug shows the traceback"
    fails(quiet, 2, "two_of_shop.py, line 2, imports", said)
    shown = headrace(*given, HEADRACE_LOG_FORMAT=log_format, HEADRACE_LOG_LEVEL="debug")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "import not_there" in shown.stderr
    assert "hunter2" not in shown.stderr


def test_a_module_of_an_app_that_is_missing_is_said_to_be_the_app_s(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command names another one."""
    (tmp_path / "app_of_shop.py").write_text("from headrace_worker import App\napp = App('b', modules=['not_there'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = headrace("app", "check", "app_of_shop:app")
    fails(result, 2, f"there is no module 'not_there' in {tmp_path} or installed; App('b', modules=…) names it")


def test_an_app_without_jobs_is_refused(headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says so too, as only the log may be left of a container that has ended."""
    (tmp_path / "jobless.py").write_text("from headrace_worker import App\napp = App('a')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = headrace("worker", "jobless:app")
    warning, refusal = result.stderr.splitlines()
    assert (json.loads(warning)["level"], json.loads(warning)["app"]) == ("warning", "a")
    assert result.exit_code == 2
    assert "app 'a' has no jobs; is the module that defines them imported?" in refusal
    assert "dispatch_only=True" in refusal


def test_a_module_of_another_name_is_said_to_be_another(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of this folder has the name of one of Python's own modules, which was imported."""
    (tmp_path / "queue.py").write_text("from headrace_worker import App\napp = App('a')\n")
    monkeypatch.chdir(tmp_path)
    fails(headrace("worker", "queue:app"), 2, f"and not from {tmp_path / 'queue.py'}", queue.__file__)
    fails(headrace("worker", "queue.jobs:app"), 2, f"and not from {tmp_path / 'queue.py'}", queue.__file__)


@pytest.mark.leaves_records
def test_what_is_sent_again_is_said_to_be_canceled(headrace: Headrace) -> None:
    """A duplicate says where the event is in its life."""
    headrace("send", "x", "--id", "42", "--deliver-after", "60")
    headrace("events", "cancel", "42")
    assert "was sent before and canceled, nothing happened" in headrace("send", "x", "--id", "42").stdout
    assert document(headrace("send", "x", "--id", "42", "--json"))["status"] == "canceled"


def test_what_dev_lacks_is_said_with_the_way_to_install_it(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    fails(headrace("dev", "tests.apps.everyday:app"), 2, "watchfiles", "pip install 'headrace-worker[dev]'")


# Help.


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [found for name, each in command.commands.items() for found in _commands(each, (*path, name))]
    return [path]


SETTINGS = {
    "url", "namespace", "partitions", "codec", "json", "log-format", "log-level", "metrics-port", "metrics-host",
}  # fmt: skip


@pytest.mark.parametrize("path", _commands(main), ids=" ".join)
def test_every_help_has_an_example_and_names_the_environment(headrace: Headrace, path: tuple[str, ...]) -> None:
    """The example is a call of the command itself; settings have a variable, and nothing else has."""
    text = headrace(*path, "--help").stdout
    assert re.search(rf"Examples?:\n +(eval \"\$\()?headrace {' '.join(path)}", text)
    options = set(re.findall(r"^  (?:-\w, )?--(\w[\w-]+)", text, re.MULTILINE))
    assert options >= {"help"}
    named = set(re.findall(r"\bHEADRACE_[A-Z_]+\b", text.replace("\n", " ")))
    assert named == {f"HEADRACE_{name.upper().replace('-', '_')}" for name in options & SETTINGS}


def test_every_data_command_takes_json() -> None:
    """Only those that run something do not, and those that print a document of JSON, or a script, anyhow.

    `app check` asks no server for its data.
    """
    without = {("worker",), ("dev",), ("app", "schema"), ("completion",)}
    for path in set(_commands(main)) - without:
        command: Any = main
        for name in path:
            command = command.commands[name]
        assert any("--json" in option.opts for option in command.params), path
    asks_a_server = set(_commands(main)) - without - {("app", "check")}
    short = ("send", "stats", "top")
    assert {args[:1] if args[0] in short else args[:2] for args in EVERY_DATA_COMMAND} == asks_a_server


def test_the_version_is_printed(headrace: Headrace) -> None:
    """As one line."""
    assert headrace("--version").stdout == f"headrace {__version__}\n"


@pytest.mark.leaves_records
def test_the_environment_gives_settings_and_no_arguments(headrace: Headrace) -> None:
    """An id that is left in a shell would make every later send a duplicate."""
    sent = document(headrace("send", "x", HEADRACE_SEND_ID="from-env", HEADRACE_JSON="1"))
    assert sent["id"] != "from-env"
