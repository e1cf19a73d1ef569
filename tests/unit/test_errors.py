"""Errors form one tree, hold their facts, say what to do, and survive pickling."""

from __future__ import annotations

import copy
import pickle
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
import redis.exceptions as theirs

import headrace
import headrace_worker
from headrace import errors
from headrace.errors import HeadraceError
from headrace.transport.faults import ScriptMissing, translate
from headrace_worker import errors as worker_errors

SAMPLES: list[HeadraceError] = [
    errors.HeadraceError("x"),
    errors.ConfigurationError("x"),
    errors.InvalidArgument("limit", "must be 1 to 1000, not 0"),
    errors.InvalidEvent("name", "is missing", 3),
    errors.QueueNotFound("mail", {"shop/mail", "shop/default"}),
    errors.EventTooLarge(2_000_000, 1_048_576, 3),
    errors.PayloadError("Expected `str`, got `int` - at `payload.user_id`"),
    errors.EventConflict("e1", [1]),
    errors.NotFound("x"),
    errors.EventNotFound("e1"),
    errors.RunNotFound("e1:app/job"),
    errors.DeadLetterNotFound("1-0"),
    errors.RunNotQueued("e1:app/job"),
    errors.RunNotRetryable("e1:app/job", "queued", "it is not over"),
    errors.ContentsGone("e1"),
    errors.WaitTimeout("e1", 1.5),
    errors.StillExecuting("e1:app/job", 1.5),
    errors.UndecodableEvent("x"),
    errors.DamagedRecord("e1", "headrace:{prod:0}:event:e1", "x", [1]),
    errors.SealedEvent("x"),
    errors.CallError("x", [1]),
    errors.CallBroken("x", [1]),
    errors.ServerError("x", [1]),
    errors.ServerUnreachable("x"),
    errors.ServerNotReady("LOADING", "x"),
    errors.ServerFull("x", [1]),
    errors.PermissionMissing("x"),
    errors.AuthenticationFailed("x"),
    errors.StreamExhausted("x"),
    errors.UnsupportedServer("x"),
]
PUBLIC = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


def drawn_tree(drawing: str) -> dict[str, tuple[str, str]]:
    """Return the parent of each drawn error, and the module that is named in brackets."""
    found: dict[str, tuple[str, str]] = {}
    path: list[str] = []
    for line in drawing.splitlines():
        drawn = re.match(r"    ([│ ├└─]*)(\w+)(?:$|  .*?(?:\(([a-z_.]+)\))?$)", line)
        if drawn:
            depth = len(drawn[1]) // 4
            path = [*path[:depth], drawn[2]]
            found[drawn[2]] = (path[-2] if depth else "Exception", drawn[3] or "")
    return found


def errors_below(kind: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
    for each in kind.__subclasses__():
        yield each
        yield from errors_below(each)


def test_the_tree_is_as_it_is_drawn() -> None:
    """Every error stands in the docstring, under the class that it is derived from."""
    real = {name: (kind.__bases__[0].__name__, "") for name, kind in PUBLIC.items()}
    assert drawn_tree(errors.__doc__ or "") == real


def test_the_worker_s_tree_is_as_it_is_drawn() -> None:
    """Every error of each of its modules, with its module, beside the client's errors that it is derived from."""
    for module in pkgutil.walk_packages(headrace_worker.__path__, "headrace_worker."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    real = {
        kind.__name__: (
            kind.__bases__[0].__name__,
            kind.__module__.removeprefix("headrace_worker.").removeprefix("errors"),
        )
        for kind in errors_below(HeadraceError)
        if kind.__module__.startswith("headrace_worker.")
    }
    drawn = drawn_tree(worker_errors.__doc__ or "")
    assert {name: place for name, place in drawn.items() if name not in PUBLIC} == real


def test_every_error_is_public() -> None:
    """What can be raised can be imported from the package, to be caught."""
    assert set(PUBLIC) <= set(headrace.__all__)
    assert headrace.__all__ == sorted(headrace.__all__)


def test_errors_are_also_what_python_calls_them() -> None:
    """A wrong value is a ValueError, what is not found a LookupError, what takes too long a TimeoutError."""
    for kind in (errors.ConfigurationError, errors.InvalidArgument, errors.InvalidEvent, errors.UndecodableEvent):
        assert issubclass(kind, ValueError)
    assert issubclass(errors.NotFound, LookupError)
    assert issubclass(errors.WaitTimeout, TimeoutError)


def test_there_is_a_sample_of_every_error() -> None:
    """So that what the tests below hold, they hold of all."""
    assert {type(sample) for sample in SAMPLES} == set(PUBLIC.values())


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("clone", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_survives_on_its_way_to_another_process(error: HeadraceError, clone: object) -> None:
    """A copy has the same type, message and facts, so that a process pool can pass it on."""
    assert callable(clone)
    twin = clone(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.InvalidEvent("name", "is missing"), "name: is missing; nothing was sent"),
        (errors.InvalidEvent("name", "is missing", 0), "events[0].name: is missing; nothing was sent"),
        (
            errors.EventTooLarge(2_000_000, 1_048_576),
            (
                "payload: the encoded event has 2,000,000 bytes, more than the 1,048,576 that max_event_bytes allows; "
                "keep the data elsewhere and send a reference to it; nothing was sent"
            ),
        ),
        (
            errors.EventConflict("e1"),
            (
                "event 'e1' is already delayed under another name or source and was left unchanged; "
                "cancel it first, or use another id"
            ),
        ),
        (
            errors.EventNotFound("e1"),
            "no event 'e1' in this namespace: it was never here, or its retention has passed",
        ),
        (
            errors.RunNotFound("r"),
            (
                "no run 'r' in this namespace: it was never here, or its retention has passed; "
                "that looks like the id of an event; a run's id is <event id>:<app>/<job id>"
            ),
        ),
        (
            errors.DeadLetterNotFound("1-0"),
            (
                "no dead letter '1-0' in this namespace: it was never here, or its retention has passed; "
                "a dead letter has an id of its own, as in 1764000000000-0, beside that of its run"
            ),
        ),
        (
            errors.DeadLetterNotFound("1-0~3"),
            (
                "no dead letter '1-0~3' in this namespace: it was never here, or its retention has passed; "
                "a dead letter has an id of its own, as in 1764000000000-0, beside that of its run"
            ),
        ),
        (
            errors.QueueNotFound("mail", {"shop/mail", "shop/default"}),
            "no queue 'mail' in this namespace: there is shop/default, shop/mail; name it as APP/QUEUE",
        ),
        (errors.RunNotRetryable("r", "queued", "why"), "run 'r' is queued and can't be retried: why"),
        (errors.WaitTimeout("e1", 2.0), "event 'e1' has not settled within 2 s; it goes on"),
        (
            errors.StillExecuting("r", 2.0),
            "run 'r' is canceled, but its function has not ended within 2 s; it goes on",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_writes_its_own_message(error: HeadraceError, message: str) -> None:
    """It says what happened, what did not, and what to do."""
    assert str(error) == message


@pytest.mark.parametrize("kind", [errors.EventNotFound, errors.RunNotFound, errors.DeadLetterNotFound])
@pytest.mark.parametrize(
    ("looks", "ids"),
    [
        ("a run", ["e1:app/job", "e:1\n/x:app/job"]),
        ("a dead letter", ["1764000000000-0", "1-0"]),
        ("an event", ["e1", "e1:app", "e1:a/b/c", ":app/job", "1-", "1-0-0"]),
    ],
)
def test_an_id_that_is_of_another_kind_is_pointed_out(kind: type[errors.NotFound], looks: str, ids: list[str]) -> None:
    """Each kind by its form; what has none of the others' is an event's."""
    for missing_id in ids:
        said = str(kind(missing_id))
        assert (f"; that looks like the id of {looks}" in said) is not looks.endswith(kind.noun)
        assert said.count("looks like") == 1 - looks.endswith(kind.noun)


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (theirs.ConnectionError("Error 111"), errors.ServerUnreachable, "Error 111"),
        (theirs.TimeoutError("Timeout reading"), errors.ServerUnreachable, "Timeout reading"),
        (ConnectionResetError("reset"), errors.ServerUnreachable, "reset"),
        (theirs.OutOfMemoryError("command not allowed"), errors.ServerFull, "raise maxmemory"),
        (
            theirs.ResponseError("Error running script (call to f_1): @user_script:1: -OOM command not allowed"),
            errors.ServerFull,
            "took nothing",
        ),
        (theirs.NoPermissionError("no permissions"), errors.PermissionMissing, "deploy/acl"),
        (
            theirs.ResponseError("ACL failure in script: No permissions to access a key script: 1"),
            errors.PermissionMissing,
            "deploy/acl",
        ),
        (
            theirs.ResponseError("Error running script: The user executing the script can't run this command"),
            errors.PermissionMissing,
            "deploy/acl",
        ),
        (theirs.AuthenticationError("invalid username-password pair"), errors.AuthenticationFailed, "of the URL"),
        (theirs.ResponseError("WRONGTYPE Operation against a key"), errors.ServerError, "another namespace"),
        (theirs.ResponseError("unknown command 'XADD'"), errors.UnsupportedServer, "Redis >= 6.2 or Valkey >= 7.2"),
        (theirs.ResponseError("something new"), errors.ServerError, "something new"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else "",
)
def test_what_redis_py_raises_becomes_ours(raised: Exception, kind: type[HeadraceError], says: str) -> None:
    """One place translates, keeps the server's words, and says what to do about them."""
    error = translate(raised)
    assert type(error) is kind
    assert says in str(error)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (theirs.BusyLoadingError("Redis is loading the dataset in memory"), "LOADING"),
        (theirs.ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (theirs.MasterDownError("Link with MASTER is down"), "MASTERDOWN"),
        (theirs.TryAgainError("Multiple keys request during rehashing of slot"), "TRYAGAIN"),
        (theirs.ClusterDownError("The cluster is down"), "CLUSTERDOWN"),
        (theirs.AuthenticationError("Authentication required."), "NOAUTH"),
        (theirs.ConnectionError("max number of clients reached"), "MAXCLIENTS"),
        (theirs.ResponseError("Protocol error: unauthenticated multibulk length"), "NOAUTH"),
        (theirs.ResponseError("UNBLOCKED force unblock from blocking operation"), "UNBLOCKED"),
        (theirs.ResponseError("BUSY Redis is busy running a script."), "BUSY"),
        (theirs.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
        (theirs.ResponseError("MISCONF Errors writing to the AOF file: No space left"), "MISCONF"),
        (theirs.ResponseError("NOGROUP No such key"), "NOGROUP"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_states_to_wait_through_are_told_from_refusals(raised: Exception, code: str) -> None:
    """Each has its own error with the server's word, whatever class redis-py has for it."""
    error = translate(raised)
    assert isinstance(error, errors.ServerNotReady)
    assert error.code == code


def wrapped(cause: BaseException) -> BaseException:
    """As redis.asyncio raises whatever a connect raises."""
    error = theirs.ConnectionError(cause)
    error.__cause__ = cause
    return error


OURS: list[tuple[Exception, type[HeadraceError], str]] = [
    (RuntimeError("can't start new thread"), errors.CallBroken, "in this process, at RuntimeError: can't start new"),
    (MemoryError(), errors.CallBroken, "in this process, at MemoryError"),
    (TypeError("no"), errors.CallBroken, "at TypeError: no"),
    (RuntimeError("BUSY, OOM, READONLY"), errors.CallBroken, "at RuntimeError: BUSY"),
    (theirs.DataError("Invalid input"), errors.CallBroken, "at DataError"),
    (theirs.InvalidResponse("Protocol error, got 'H'"), errors.UnsupportedServer, "does not speak the protocol"),
    (OSError(24, "Too many open files"), errors.ServerUnreachable, "this process can't open another connection"),
    (theirs.ConnectionError("Error 1 connecting to BUSY:1."), errors.ServerUnreachable, "can't be reached"),
    (UnicodeError("label too long"), errors.CallBroken, "label too long"),
]


@pytest.mark.parametrize(("raised", "kind", "says"), OURS, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_only_the_servers_answer_is_told_as_one(
    raised: Exception, kind: type[HeadraceError], says: str, *, is_wrapped: bool
) -> None:
    """A fault of this process is reported as one, even if a connect of redis.asyncio has raised it."""
    error = translate(wrapped(raised) if is_wrapped else raised)
    assert type(error) is kind
    assert says in str(error)
    assert "refused" not in str(error)


@pytest.mark.parametrize("raised", [RuntimeError("x"), theirs.TimeoutError("x"), ConnectionResetError("x")])
def test_a_break_after_a_write_leaves_its_effect_unknown(raised: Exception) -> None:
    """The error says so, once; what the server has answered leaves nothing open."""
    error = translate(raised, is_sent=True)
    assert isinstance(error, errors.CallError)
    assert error.may_be_done
    assert str(error).count("whether the server has carried it out is not known") == 1
    error.mark_may_be_done("again")
    assert not str(error).endswith("again")
    refused = translate(theirs.ResponseError("something new"), is_sent=True)
    assert isinstance(refused, errors.CallError)
    assert not refused.may_be_done


def test_our_own_errors_are_left_alone() -> None:
    """Translating twice changes nothing."""
    once = translate(theirs.ResponseError("something new"))
    assert translate(once) is once


def test_a_lost_script_is_known_as_such() -> None:
    """The transport sends the script again for it."""
    assert isinstance(translate(theirs.NoScriptError("No matching script.")), ScriptMissing)
