"""`python -m tests.support.json_shapes` writes tests/data/json_shapes.json from what commands print.

`make json-shapes` calls it.

The shape of a document is its paths, as `runs[].error.type`, with the types of the values found there. A command may
print several kinds of documents, such as a line for each id and one for the end: each kind has its shape.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import redis
from click.testing import CliRunner

from headrace.formats.keys import Keys
from headrace_worker.cli.root import root
from headrace_worker.dev.server_binary import find_binary
from tests.support.house import ROOT
from tests.support.processes import Processes
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until

FILE = ROOT / "tests" / "data" / "json_shapes.json"
APP = "tests.apps.shapes:app"
Shapes = dict[str, dict[str, dict[str, str]]]
"""By command, kind of document and path: the types of the values there."""

_TYPES = {str: "text", bool: "bool", int: "integer", float: "number", list: "list", dict: "object", type(None): "null"}
_OF_USERS = {
    "payload", "context", "output", "headers", "filter", "context_filter", "asked", "facts", "found", "wanted", "raw",
}  # fmt: skip
"""What stands there is a user's, or depends on what was found: its own keys are not looked at."""
_BY_NAME = {"in_flight_of", "canceled_of", "sent", "ended", "queues", "limits"}
"""Objects whose keys are names."""


def commands_with_json(command: click.Command = root, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield each command that has `--json`."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands_with_json(each, (*path, name))
    elif any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(path)


def seen(url: str, namespace: str, folder: Path) -> Shapes:
    """Run each command that has `--json` in a scenario of its own; return the shapes of what they print."""
    processes = Processes(folder, url, namespace)
    try:
        scenario = _Scenario(url, namespace)
        _play(scenario, processes)
        return scenario.shapes
    finally:
        processes.reap()


def changes(promised: Shapes, found: Shapes) -> tuple[list[str], list[str]]:
    """Return what programs may miss now, and what is new: each as command, kind and path."""
    before, now = dict(_flat(promised)), dict(_flat(found))
    broken = [
        f"{name}: {types}, is now {now.get(name, 'gone')}" for name, types in before.items() if now.get(name) != types
    ]
    return broken, [f"{name}: {types}" for name, types in now.items() if name not in before]


def _flat(shapes: Shapes) -> Iterator[tuple[str, str]]:
    for command, kinds in shapes.items():
        for kind, paths in kinds.items():
            yield from ((f"{command}, {kind}, {path}", types) for path, types in paths.items())


class _Scenario:
    """Runs commands in this process, and collects the shapes of what they print."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.keys = Keys(namespace, 0)
        self._env = {"HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace}
        self._types: defaultdict[str, defaultdict[str, defaultdict[str, set[str]]]]
        self._types = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))

    @property
    def shapes(self) -> Shapes:
        """What was collected, in the order of the commands."""
        return {
            command: {
                kind: {path: " | ".join(sorted(types)) for path, types in sorted(paths.items())}
                for kind, paths in self._types[command].items()
            }
            for command in commands_with_json()
            if command in self._types
        }

    def ask(self, *args: str) -> Any:
        """Return the document that a command prints, and note nothing."""
        return json.loads(self._run(*args)[-1])

    def show(self, *args: str, kind: str = "document") -> Any:
        """Run a command that prints one document; note its shape."""
        (line,) = self._run(*args)
        self.note(args, kind, line)
        return json.loads(line)

    def show_lines(self, *args: str, kind: str = "each") -> None:
        """Run a command that prints a line for each item, and no other."""
        for line in self._run(*args):
            self.note(args, kind, line)

    def act(self, *args: str) -> None:
        """Run a command that prints a line for each id, and one for the end."""
        *lines, end = self._run(*args)
        for line in lines:
            self.note(args, "each", line)
        self.note(args, "end", end)

    def note(self, args: tuple[str, ...], kind: str, line: str) -> None:
        """Note the shape of one line."""
        command = next(each for each in commands_with_json() if " ".join(args).startswith(each))
        _note(json.loads(line), "", self._types[command][kind])

    def _run(self, *args: str) -> list[str]:
        result = CliRunner().invoke(root, [*args, "--json"], env=self._env, catch_exceptions=False)
        assert result.exit_code in (0, 1), result.output
        return result.stdout.splitlines()


def _note(value: Any, path: str, types: Mapping[str, set[str]]) -> None:
    name = path.rpartition(".")[2]
    if path:
        types[path].add("any" if name in _OF_USERS else _TYPES[type(value)])
    if name in _OF_USERS:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            _note(each, f"{path}.{'*' if name in _BY_NAME else key}".removeprefix("."), types)
    elif isinstance(value, list):
        for each in value:
            _note(each, f"{path}[]", types)


def _play(at: _Scenario, processes: Processes) -> None:
    """Let happen whatever leaves something to show, look at it, and act on it."""
    at.show("app", "check", APP)
    at.show("app", "register", APP)
    worker = processes.spawn(_headrace("worker", APP, "--lease", "1.5", "--concurrency", "10"), name="worker")
    _look_at_what_was_sent(at, processes)
    name = _wait_for_reports(at)
    _look_at_workers_and_queues(at, name)
    _look_at_lists(at)
    _act_on_events_and_runs(at)
    _act_on_jobs_and_queues(at)
    for verb in ("quiet", "stop"):
        at.show("workers", verb, name, "nobody")
    worker.wait()
    at.show("app", "forget", "shapes")
    at.show("audit", "list", "--limit", "3")
    at.show_lines("audit", "list", "--all")


def _look_at_what_was_sent(at: _Scenario, processes: Processes) -> None:
    tail = processes.spawn(_headrace("events", "tail", "--json"), name="tail")
    with redis.Redis.from_url(at.url) as server:
        wait_until(lambda: "xrange" in {each["cmd"] for each in server.client_list()}, 30)
    full = ("--id", "e1", "--context", "{}", "--header", "a: b", "--account-id", "acme", "--ordering-key", "k")
    at.show("send", "echo", '{"n": 1}', *full)
    at.note(("events", "tail"), "each", tail.wait_for_line(r"^{.*}$", 30)[0])
    tail.interrupt()
    for event in ("parent", "fail", "waits", "endless", "picky", "unmatched"):
        at.show("send", event, "--id", event)
    at.show("send", "echo", "--id", "d1", "--deliver-after", "3600")
    at.show("send", "echo", "--id", "d2", "--deliver-after", "3600")
    for event in ("e1", "fail", "parent", "child"):
        at.show("events", "wait", event)
    at.show("runs", "wait", "e1:shapes/echo")
    at.show("runs", "wait", "fail:shapes/fail")
    wait_until(lambda: at.ask("runs", "show", "waits:shapes/waits")["status"] == "waiting", 30)
    at.show("send", "--explain", "picky", '{"n": 2}', "--source", "here", kind="--explain")
    at.show("send", "--explain", "pickey", kind="--explain")
    at.show("events", "explain", "picky")
    at.show("events", "explain", "e1")


def _wait_for_reports(at: _Scenario) -> str:
    """Return the worker's name once all is reported: what it is and does, and what became of its runs."""

    def reported() -> Any:
        (worker,) = at.ask("workers", "list")["workers"]
        return worker["in_flight"] == 1 and worker["leads"] and worker["dispatches"] and worker["name"]

    name: str = wait_until(reported, 30)
    wait_until(lambda: len(at.ask("stats")["jobs"]) == 4, 30)
    return name


def _look_at_workers_and_queues(at: _Scenario, worker: str) -> None:
    at.show("workers", "list")
    at.show("workers", "show", worker)
    at.show("queues", "limit", "shapes/default", "9")
    at.show("index", "show")
    at.show("index", "keep", "20000")
    at.show("queues", "pause", "shapes/paused", "--reason", "to show it")
    at.show("send", "paused", "--id", "paused")
    wait_until(lambda: at.ask("queues", "show", "shapes/paused")["waiting"] == 1, 30)
    at.show("jobs", "disable", "shapes/picky", "--reason", "to show it")
    at.show("events", "explain", "picky")
    for queue in ("shapes/paused", "shapes/default"):
        at.show("queues", "show", queue)
    for job in ("shapes/picky", "shapes/echo"):
        at.show("jobs", "show", job)
    for command in ("queues list", "jobs list", "app routes", "stats", "top", "doctor"):
        at.show(*command.split())


def _look_at_lists(at: _Scenario) -> None:
    at.show("send", "echo", "--id", "damaged")
    at.show("events", "wait", "damaged")
    with redis.Redis.from_url(at.url) as server:
        server.set(at.keys.event("damaged"), "something else has written here")
        server.xadd(at.keys.dead, {"odd": "entry"})
        for noun in ("events", "runs", "dead", "delayed"):
            at.show(noun, "list")
            at.show(noun, "list", "--limit", "1")
            at.show_lines(noun, "list", "--all")
        server.delete(at.keys.event("damaged"))
    for event in ("e1", "fail", "waits", "parent", "child", "endless", "d1", "paused"):
        at.show("events", "show", event)
    at.show("events", "show", "parent", "--tree", kind="--tree")
    for run in ("e1:shapes/echo", "fail:shapes/fail", "endless:shapes/endless", "waits:shapes/waits"):
        at.show("runs", "show", run)
    at.show("dead", "groups")
    for letter in at.ask("dead", "list")["dead"]:
        at.show("dead", "show", letter["id"])


def _act_on_events_and_runs(at: _Scenario) -> None:
    at.show("events", "reschedule", "d1", "--after", "2h")
    at.act("events", "cancel", "d1")
    at.show("events", "show", "d1")
    at.act("events", "cancel", "d2", "e1")
    at.act("events", "replay", "e1", "nobody")
    at.show("events", "wait", "e1~r1")
    at.show("events", "show", "e1~r1")
    at.act("runs", "retry", "fail:shapes/fail", "e1:shapes/echo")
    at.show("events", "wait", "fail")
    at.act("runs", "cancel", "endless:shapes/endless", "e1:shapes/echo")
    at.act("dead", "retry", "fail:shapes/fail", "nobody")
    at.show("events", "wait", "fail")
    at.act("dead", "discard", at.ask("dead", "list")["dead"][0]["id"], "nobody")
    for command in ("events cancel", "events replay", "runs retry", "runs cancel", "dead retry", "dead discard"):
        at.show(*command.split(), "--all", "--dry-run", kind="--dry-run")


def _act_on_jobs_and_queues(at: _Scenario) -> None:
    at.show("jobs", "enable", "shapes/picky")
    at.show("jobs", "trigger", "shapes/echo", "--id", "triggered")
    at.show("events", "wait", "triggered")
    at.show("events", "show", "triggered")
    at.show("queues", "purge", "shapes/paused", "--dry-run", kind="--dry-run")
    at.act("queues", "purge", "shapes/paused", "--yes=shapes/paused")
    at.show("queues", "resume", "shapes/paused")
    for limit in ("none", "declared"):
        at.show("queues", "limit", "shapes/default", limit)


def _headrace(*args: str) -> list[str]:
    return [sys.executable, "-m", "headrace_worker.cli", *args]


def main() -> None:
    """Write the file anew."""
    with ControlledServer(binary=find_binary()) as server, tempfile.TemporaryDirectory() as folder:
        found = seen(server.url, f"shapes-{secrets.token_hex(4)}", Path(folder))
    FILE.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
