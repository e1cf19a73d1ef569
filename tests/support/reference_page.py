"""`python -m tests.support.reference_page` writes docs/reference.md from docstrings: `make docs-reference`.

What a name means stands in its docstring. Here is only in which order names stand, and what to do about errors.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import headrace
import headrace_worker
from headrace_worker import testing
from headrace_worker.operate.app_client import AppClient
from headrace_worker.run import context
from tests.support.house import ROOT

PAGE = ROOT / "docs" / "reference.md"

_INTRODUCTION = """# Reference

<!-- Written by `make docs-reference` from the docstrings of both packages: change those instead. -->

Every public name. What each argument means, `help(Client.send_event)` and editors show. The commands are on a page of
their own, [the command line](cli.md); how things are done: [sending](sending.md), [writing jobs](jobs.md),
[testing](testing.md).

"""

_FACES = """
`AsyncClient` has the same methods, awaited; `iter_…` and `follow_events` are for `async for`. `with`, or `async with`,
closes either.
"""
_EVERY_CALL = """\
Each method but `wait_for_…`, `follow_events` and `close` takes `timeout=`, too, seconds or a timedelta: for this call,
and of `iter_…` for each page. Each that calls the server may raise a `CallError`, such as `ServerUnreachable`; and a
`ConfigurationError`, where the environment names no server.
"""
_ADDED = """\
Both have every method above, and are made of the same settings. Who changes something needs the rights of a worker or
an operator, who looks those of a viewer ([users](../deploy/acl/README.md)). What they add takes `timeout=`, too.
"""
CLIENT = {
    "Sending": ("send_event", "send_events"),
    "Reading": ("get_event", "get_run", "get_tree", "get_dead_letter"),
    "Waiting": ("wait_for_event", "wait_for_run", "follow_events"),
    "Lists": (
        "list_events", "iter_events", "list_runs", "iter_runs", "list_delayed", "iter_delayed", "list_dead_letters",
        "iter_dead_letters", "dead_letter_groups", "list_queue_controls", "list_audit", "get_list_index", "keep_listed",
    ),
    "Acts on events": (
        "cancel_event", "cancel_events", "reschedule_event", "replay_event", "replay_events",
    ),
    "Acts on runs and dead letters": (
        "cancel_run", "cancel_runs", "retry_run", "retry_runs", "discard_dead_letters",
    ),
    "Acts on queues": ("pause_queue", "resume_queue", "limit_queue"),
    "The client itself": ("has_workers", "server_time", "audit", "close", "url", "partitions"),
}  # fmt: skip
APP_CLIENT = {
    "Apps and jobs": (
        "list_apps", "list_jobs", "get_job", "find_job", "register_app", "forget_app", "disable_job", "enable_job",
        "trigger_job",
    ),
    "What matches": ("explain_event", "explain_send"),
    "Replays to one job": ("replay_event", "replay_events"),
    "Workers": ("list_workers", "iter_workers", "get_worker", "quiet_workers", "stop_workers"),
    "Queues and counts": ("list_queues", "get_queue", "get_stats"),
    "The namespace": ("diagnose",),
}  # fmt: skip

WAYS_OUT = {
    "InvalidEvent, EventTooLarge, InvalidArgument": "a mistake of the caller, whose `field` is named; nothing was done",
    "EventConflict": "give the event another id, or cancel the one that has it while that is delayed",
    "EventNotFound, RunNotFound, DeadLetterNotFound, QueueNotFound": "in a web application a 404: it was never there, "
    "or its [retention](operations.md) has passed",
    "ServerUnreachable, ServerNotReady, ServerFull": "in a web application a 503: try again later. If `may_be_done`, "
    "the event may be sent: send it again with the same id, which can't deliver it twice",
    "ConfigurationError, AuthenticationFailed, PermissionMissing, UnsupportedServer": "a setting or a right is wrong, "
    "and trying again does not help; `headrace doctor` finds more",
    "StreamExhausted": "something else has written there; [operations](operations.md) says how it is mended",
    "CallBroken": "this process has no memory, thread or descriptor left",
    "WaitTimeout": "nothing is stopped: wait again, or go on without",
    "StillExecuting": "wait again, or end its worker: the run is canceled, and its function goes on",
    "PayloadError": "the payload does not fit the class that was asked for; the message names the paths",
    "RunNotQueued, RunNotRetryable": "the run is not in the state that this needs; its record says in which it is",
    "ContentsGone": "it is past its [retention](operations.md): `headrace worker --retention`, `--failure-retention`",
    "SealedEvent": "give the client the codec with which it was sealed",
    "UndecodableEvent, DamagedRecord": "something other than Headrace has written there; the message names the key",
    "DefinitionError, JobError, FilterError": "change the app's definition; `headrace app check` finds the next one",
    "StartRefused, LifespanFailed": "the worker has not started; the message, or the cause, says what to change",
    "RetryAfter, Abort": "to be raised by a job's function",
    "RunCanceled": "let it pass: what the function comes to is not recorded any more",
}

_TYPES: dict[str, tuple[str, ...]] = {
    "Event": ("of",), "TypedEvent": (), "SendOptions": (), "SentEvent": (),
    "EventRecord": ("is_settled", "payload_as"), "RunRecord": ("is_settled",), "RunError": (), "Attempt": (),
    "EventTree": ("is_complete", "walk"), "DeadLetter": (), "DeadLetterGroup": (), "DelayedEntry": (),
    "ListedEvent": (), "CanceledRun": (), "QueueControls": (), "ListIndex": (), "AuditEntry": (),
    "Page": (), "Searched": (), "DamagedEntry": (), "Sealed": (), "Retention": (),
    "PayloadCodec": ("encode", "decode"),
}  # fmt: skip
_RESULTS: dict[str, tuple[str, ...]] = {
    "inspect.apps": ("AppInfo", "AppVersion"),
    "inspect.jobs": ("RegisteredJob", "JobDetail", "JobVersion"),
    "inspect.explanation": ("Explanation", "Answer", "Failure"),
    "inspect.workers": ("WorkerInfo", "WorkerDetail", "WorkerRun"),
    "inspect.queues": ("QueueInfo",),
    "inspect.tallies": ("Stats", "JobCounts", "MinuteCounts", "Counts"),
    "operate.register_app": ("RegisteredApp",),
    "operate.forget_app": ("ForgottenApp",),
    "operate.switch_job": ("SwitchedJob",),
    "operate.instruct_workers": ("Instructed",),
    "doctor.finding": ("Diagnosis", "Finding", "NotLookedAt"),
}
"""What the methods of an AppClient return, by the modules of `headrace_worker`."""
_WORDS = ("EventStatus", "EventState", "RunStatus", "AttemptKind", "CancelAnswer")
_WORKER: dict[str, tuple[str, ...]] = {
    "App": ("job", "around"), "Retry": ("none", "fixed"), "Queue": (), "Trigger": (), "Depends": (), "Job": ("name",),
    "WorkerConfig": (), "Worker": ("run", "stop", "stop_now"),
}  # fmt: skip
_KIT: dict[str, tuple[str, ...]] = {
    "Headrace": ("run", "travel", "sent", "assert_sent", "assert_nothing_left", "empty", "close"),
    "SyncHeadrace": (), "Runs": ("of",), "Attempt": (), "AttemptOptions": (), "FakeIO": (), "SyncFakeIO": (),
    "Sent": (), "EmbeddedServer": ("start", "stop", "url", "log"),
}  # fmt: skip
_KIT_FUNCTIONS = ("call_job", "acall_job", "a_context", "a_run", "examples", "run_until_settled")


def written() -> str:
    """Return the page."""
    return _INTRODUCTION + "\n".join(
        [
            *_client_part(),
            *_errors_part(),
            *_job_part(),
            *_worker_part(),
            *_types_part(),
            *_results_part(),
            *_kit_part(),
        ]
    )


def _client_part() -> Iterator[str]:
    yield "## `Client` and `AsyncClient`\n"
    yield f"{_first(headrace.Client)}\n{_FACES}"
    yield _table("setting", [(f"`{name}`", text) for name, text in _arguments(headrace.Client.__init__).items()])
    yield _EVERY_CALL
    for subject, names in CLIENT.items():
        yield f"### {subject}\n"
        yield _methods(headrace.Client, names)
    yield "## `AppClient` and `AsyncAppClient`\n"
    yield f"Of `headrace_worker.operate.app_client`. {_first(AppClient)} {_ADDED}"
    for subject, names in APP_CLIENT.items():
        yield f"### {subject}\n"
        yield _methods(AppClient, names)


def _errors_part() -> Iterator[str]:
    yield "## Errors\n\nOf `headrace`:\n"
    yield f"```text\n{_tree(headrace.errors)}\n```\n"
    yield "Of `headrace_worker`, with the module in brackets where it is another one:\n"
    yield f"```text\n{_tree(headrace_worker.errors)}\n```\n"
    yield _table("error", [(_codes(names), way) for names, way in WAYS_OUT.items()], second="what to do")


def _job_part() -> Iterator[str]:
    yield "## What a job's function gets\n\n### `ctx: Context`\n"
    parts = {"run": context.RunInfo, "job": context.JobInfo, "event": context.EventInfo, "account": context.Account}
    rows = [
        (f"`ctx.{part}.{name}`", text)
        for part, kind in parts.items()
        for name, text in _members(kind, _own(kind)).items()
    ]
    own = _members(headrace_worker.Context, _own(headrace_worker.Context))
    rows += [(f"`ctx.{name}`", text) for name, text in own.items() if name not in {*parts, "ending"}]
    yield _table("attribute", rows)
    yield "The classes are `RunInfo`, `JobInfo`, `EventInfo` and `Account`.\n"
    yield "### `io: JobIO`, and `io: SyncJobIO` of a plain function\n"
    yield "`SyncJobIO` has the same methods, without `await`. They raise as those of `Client` do.\n"
    io = headrace_worker.JobIO
    rows = [(f"`io.{_call(io, name)}`", _first(getattr(io, name))) for name in ("send_event", "send_events", "logger")]
    yield _table("", [*rows, *((f"`io.{name}`", text) for name, text in _attributes(io.__mro__[1]).items())])


def _worker_part() -> Iterator[str]:
    yield "## Defining jobs and running them: `headrace_worker`\n"
    yield _table("", [(f"`{_call(headrace_worker, 'event_trigger')}`", _first(headrace_worker.event_trigger))])
    for name, members in _WORKER.items():
        yield from _type(getattr(headrace_worker, name), members)


def _types_part() -> Iterator[str]:
    yield "## Types of `headrace`\n"
    docs = _alias_docs()
    rows = [(f"`{name}`", f"{_literals(name)}. {docs.get(name, '')}".strip()) for name in _WORDS]
    yield _table("word for a state", rows)
    for name, members in _TYPES.items():
        yield from _type(getattr(headrace, name), members)


def _results_part() -> Iterator[str]:
    yield "## Types of what `AppClient` returns\n"
    for name, types in _RESULTS.items():
        module = importlib.import_module(f"headrace_worker.{name}")
        for each in types:
            yield from _type(getattr(module, each), (), f"Of `headrace_worker.{name}`. ")


def _kit_part() -> Iterator[str]:
    yield "## Tests: `headrace_worker.testing`\n"
    yield "How to use it: [testing](testing.md). `NotSettled`, `RunFailed`, `EmbeddedServerFailed`: see above.\n"
    rows = [(f"`{_call(testing, name)}`", _first(getattr(testing, name))) for name in _KIT_FUNCTIONS]
    yield _table("function", rows)
    for name, members in _KIT.items():
        yield from _type(getattr(testing, name), members)


def _type(kind: Any, members: tuple[str, ...], of: str = "") -> Iterator[str]:
    yield f"### `{kind.__name__}`\n"
    yield f"{of}{_first(kind)}\n"
    fields = {} if kind is headrace_worker.Job else _attributes(kind) or _arguments(kind.__init__)
    if struct := () if kind is headrace_worker.Job else getattr(kind, "__struct_fields__", ()):
        types = {name: text for base in kind.__mro__ for name, text in getattr(base, "__annotations__", {}).items()}
        rows = [(f"`{name}: {types[name]}`", fields[name]) for name in struct if name in fields]
        if plain := [f"`{name}: {types[name]}`" for name in struct if name not in fields]:
            rows.append((", ".join(plain), ""))
    else:
        rows = [(f"`{name}`", text) for name, text in fields.items()]
    rows += [(f"`{_call(kind, name)}`", _first(getattr(kind, name))) for name in members]
    if rows:
        yield _table("", rows)


def _methods(kind: Any, names: Iterable[str]) -> str:
    rows = []
    for name in names:
        method = getattr(kind, name)
        raised = ", ".join(f"`{each}`" for each in _raised(method))
        rows.append(f"| `{_cell(_call(kind, name))}` | {_cell(_first(method))} | {raised} |")
    return "| call | | raises |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _call(owner: Any, name: str) -> str:
    """Return a name with its arguments and what it returns; of a property or an attribute the name alone."""
    found = inspect.getattr_static(owner, name)
    function = inspect.unwrap(getattr(found, "__func__", found))
    if not inspect.isfunction(function):
        return name
    signature = inspect.signature(function)
    given = [each for each in signature.parameters.values() if each.name not in {"self", "cls"}]
    if owner in (headrace.Client, AppClient) and not name.startswith("wait_for"):
        given = [each for each in given if each.name != "timeout"]
    shown: list[str] = []
    for each in given:
        is_named = each.kind is each.KEYWORD_ONLY
        star = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        shown.append(f"{star}{each.name}=" if is_named else f"{star}{each.name}")
    returned = signature.return_annotation
    arrow = "" if returned in (signature.empty, "None") else f" → {returned}"
    return f"{name}({', '.join(shown)}){arrow}"


def _raised(method: Callable[..., Any]) -> list[str]:
    """Return the errors that a docstring names: under `Raises:`, or in `raise X, Y`."""
    doc = inspect.getdoc(method) or ""
    listed = [name for names in _section(doc, "Raises") for name in names.split(", ")]
    inline = [name for names in re.findall(r"[Rr]aise\s([A-Z]\w+(?:, [A-Z]\w+)*)", doc) for name in names.split(", ")]
    paged = re.findall(r"^Yield all .*`(list_\w+)` lists", doc)
    return list(
        dict.fromkeys([*listed, *inline, *(each for name in paged for each in _raised(getattr(AppClient, name)))])
    )


def _attributes(kind: Any) -> dict[str, str]:
    found = _section(inspect.cleandoc(kind.__dict__.get("__doc__") or ""), "Attributes")
    return {name: text for names, text in found.items() for name in names.split(", ")}


def _arguments(function: Callable[..., Any]) -> dict[str, str]:
    return _section(inspect.getdoc(function) or "", "Args")


def _members(kind: Any, names: Iterable[str]) -> dict[str, str]:
    known = _attributes(kind)
    return {_call(kind, name): known.get(name) or _first(getattr(kind, name)) for name in names}


def _own(kind: Any) -> list[str]:
    """Return the fields of a struct, and its other public members."""
    fields = list(kind.__struct_fields__)
    return fields + [name for name in vars(kind) if not name.startswith("_") and name not in fields]


def _section(doc: str, title: str) -> dict[str, str]:
    """Return the entries of one section of a docstring."""
    found = re.search(rf"^{title}:\n((?:(?: .*)?\n?)*)", doc, re.MULTILINE)
    entries: dict[str, str] = {}
    name = ""
    for line in found[1].splitlines() if found else ():
        if entry := re.match(r" {4}([\w*][\w, *]*): (.*)", line):
            name, entries[entry[1]] = entry[1], entry[2]
        elif line.strip() and name:
            entries[name] += " " + line.strip()
    return entries


def _first(thing: Any) -> str:
    """Return the first paragraph of a docstring, without its errors, which stand beside."""
    doc = inspect.getdoc(getattr(thing, "func", thing)) or ""
    text = " ".join(doc.partition("\n\n")[0].split())
    text = re.sub(r"[;.] [Rr]aise [A-Z]\w+(, [A-Z]\w+)*( (if|where|for) .*)?\.$", ".", text)
    return re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)


def _tree(module: Any) -> str:
    lines = inspect.getdoc(module) or ""
    return inspect.cleandoc("\n".join(re.findall(r"^    .+$", lines, re.MULTILINE)))


def _literals(name: str) -> str:
    words = re.findall(r"'(\w+)'", str(getattr(headrace, name)))
    return ", ".join(f"`{word}`" for word in words)


def _alias_docs() -> dict[str, str]:
    """Return what stands below the definitions of names in `headrace.model.event`."""
    source = inspect.getsource(importlib.import_module("headrace.model.event"))
    body = ast.parse(source).body
    return {
        before.targets[0].id: " ".join(after.value.value.split())
        for before, after in itertools.pairwise(body)
        if isinstance(before, ast.Assign)
        and isinstance(before.targets[0], ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def _codes(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def _table(first: str, rows: Iterable[tuple[str, str]], *, second: str = "") -> str:
    return f"| {first} | {second} |\n|---|---|\n" + "\n".join(f"| {_cell(a)} | {_cell(b)} |" for a, b in rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
