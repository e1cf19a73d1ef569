"""A job is looked at once, when it is defined: what could not work later is refused there, with what to change."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from headrace_worker import App, Context, DefinitionError, JobError, JobIO, Retry, event_trigger
from headrace_worker.app.job import Job
from tests.support import elsewhere

if TYPE_CHECKING:
    from typing import SupportsIndex as Absent  # stands for what is imported for type checkers only

TRIGGER = event_trigger("user.new")


class NewUser(msgspec.Struct):
    name: str


def _define(function: Any, **options: Any) -> Job:
    app = App("app")
    app.job(**{"id": "job", "trigger": TRIGGER, **options})(function)
    return app.jobs["job"]


def _parsed(job: Job, payload: object) -> Any:
    assert job.parse is not None
    return job.parse(msgspec.Raw(msgspec.msgpack.encode(payload)))


# What a function may take.


async def _all(payload: NewUser, io: JobIO, ctx: Context) -> None: ...
async def _keyword_only(*, ctx: Any, payload: Any) -> None: ...
def _plain(io: Any) -> None: ...
def _nothing() -> None: ...
def _defaults(payload: Any = None, ctx: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("function", "takes", "is_async"),
    [
        (_all, {"payload", "io", "ctx"}, True),
        (_keyword_only, {"payload", "ctx"}, True),
        (_plain, {"io"}, False),
        (_nothing, set(), False),
        (_defaults, {"payload", "ctx"}, False),
        (lambda payload: payload, {"payload"}, False),
    ],
)
def test_a_function_takes_any_of_three_by_name(function: Any, takes: set[str], is_async: bool) -> None:  # noqa: FBT001
    """payload, io and ctx, in any order, by position or keyword, async or plain."""
    job = _define(function)
    assert job.takes == takes
    assert job.is_async is is_async
    assert job.function is function
    assert job.name == "app/job"


def _args(payload: Any, *args: Any) -> None: ...
def _kwargs(payload: Any, **kwargs: Any) -> None: ...
def _other(payload: Any, database: Any = None) -> None: ...
def _misspelt(context: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (_args, "*args"),
        (_kwargs, "**kwargs"),
        (_other, "database"),
        (_misspelt, "context"),
        (lambda event: event, "event"),
    ],
)
def test_any_other_parameter_is_refused_by_name(function: Any, named: str) -> None:
    """Also with a default, or several under one name."""
    with pytest.raises(JobError, match="any of payload, io, ctx, state") as caught:
        _define(function)
    assert named in caught.value.reason


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


class _Yields:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_generator, "generator"),
        (_async_generator, "generator"),
        (functools.partial(_generator), "generator"),
        (_Yields(), "generator"),
        (NewUser, "a job is a function"),
        ("a text", "a job is a function"),
        (None, "a job is a function"),
        (type, "a job is a function"),
        (dict.fromkeys, "its function"),
    ],
)
def test_what_is_no_function_is_refused(function: Any, said: str) -> None:
    """Generators, classes, values, and built-ins that do not say what they take."""
    with pytest.raises(JobError, match=said):
        _define(function)


class _Callable:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def __call__(self, payload: NewUser) -> None:
        self.seen.append(payload)

    def method(self, payload: NewUser) -> None:
        self.seen.append(payload)


def _decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (_Callable(), True),
        (_Callable().method, False),
        (functools.partial(_Callable()), True),
        (functools.partial(_all), True),
        (functools.partial(functools.partial(_all)), True),
        (_decorated(_Callable().method), False),
        (staticmethod(elsewhere.takes_a_visitor), False),
    ],
)
def test_the_schema_is_found_behind_partials_and_decorators(function: Any, is_async: bool) -> None:  # noqa: FBT001
    """The annotation of `payload` counts wherever the function itself stands."""
    job = _define(function)
    assert job.is_async is is_async
    assert _parsed(job, {"name": "Ada"}).name == "Ada"


def test_an_annotation_is_read_where_its_function_is_from() -> None:
    """A decorator of this module around a function of another one: the names are the other's."""
    assert isinstance(_parsed(_define(_decorated(elsewhere.takes_a_visitor)), {"name": "Ada"}), elsewhere.Visitor)


async def _for_checkers_only(payload: NewUser, io: Absent, ctx: Absent) -> Absent | None: ...


def test_annotations_for_type_checkers_only_do_not_matter() -> None:
    """Those of io, ctx and the result need not exist when the program runs."""
    assert _parsed(_define(_for_checkers_only), {"name": "Ada"}) == NewUser("Ada")


def test_an_annotation_that_cant_be_found_says_what_to_do() -> None:
    """A type that is local to a function, as text, can't be found; `schema` gives it."""

    class Local(msgspec.Struct):
        name: str

    async def job(payload: Local) -> None: ...

    with pytest.raises(JobError, match=r"'Local', can't be found: .*or give it as schema=…"):
        _define(job)
    assert _parsed(_define(job, schema=Local), {"name": "Ada"}) == Local("Ada")


async def _no_expression(payload: 1 / 0) -> None: ...  # type: ignore[valid-type]
async def _no_type(payload: 7) -> None: ...  # type: ignore[valid-type]
async def _no_payload(payload: threading_lock) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("function", [_no_expression, _no_type, _no_payload])
def test_an_annotation_that_is_none_is_refused(function: Any) -> None:
    """Whatever evaluating it raises, the job is named."""
    with pytest.raises(JobError, match=r"job 'job': .*payload"):
        _define(function)


def test_a_schema_counts_without_a_payload_too() -> None:
    """A payload that does not fit is invalid although the function does not take it; without schema nothing is read."""
    job = _define(_nothing, schema=NewUser)
    assert _parsed(job, {"name": "Ada"}) == NewUser("Ada")
    assert _define(_nothing).parse is None
    assert _parsed(_define(_defaults, schema=NewUser), {"name": "Ada"}) == NewUser("Ada")


# Its options.


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (1, 1.0), (0.25, 0.25), (timedelta(minutes=1), 60.0), (1e9, 1e9)]
)
def test_a_timeout_is_seconds_or_a_timedelta(timeout: Any, seconds: float | None) -> None:
    """None is as long as it likes."""
    assert _define(_nothing, timeout=timeout).timeout_s == seconds


@pytest.mark.parametrize("timeout", [0, -1, True, "30", float("nan"), float("inf"), timedelta(0), timedelta(-1), [1]])
def test_a_bad_timeout_is_refused(timeout: Any) -> None:
    """The error shows it."""
    with pytest.raises(JobError, match="timeout must be seconds > 0"):
        _define(_nothing, timeout=timeout)


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "a:b", "é", "x" * 65, None, 7, "a\n"])
def test_bad_names_are_refused(bad: Any) -> None:
    """Ids and queues are names; the error says the rule."""
    with pytest.raises(JobError, match=r"job .* is not a name: 1 to 64 of the characters"):
        _define(_nothing, id=bad)
    with pytest.raises(JobError, match=r"queue .* is not a name"):
        _define(_nothing, queue=[] if bad is None else bad)
    with pytest.raises(DefinitionError, match=r"app .* is not a name"):
        App(bad)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trigger": "user.new"}, "trigger must be made by event_trigger"),
        ({"trigger": None}, "it has no trigger"),
        ({"retry": 3}, r"retry must be a Retry\(…\), not 3"),
        ({"retry": None}, "retry must be a Retry"),
    ],
)
def test_wrong_kinds_of_options_are_refused(options: dict[str, Any], said: str) -> None:
    """The error names the option."""
    with pytest.raises(JobError, match=said):
        _define(_nothing, **options)


def test_an_id_is_unique_in_its_app() -> None:
    """The second one is refused and the first stays; another app may have the same."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER)(_nothing)
    with pytest.raises(JobError, match="app 'app' has a job of this id already"):
        app.job(id="job", trigger=TRIGGER)(_plain)
    assert app.jobs["job"].function is _nothing
    App("other").job(id="job", trigger=TRIGGER)(_nothing)


def test_a_refused_job_leaves_nothing_behind() -> None:
    """Its id is free for the mended one."""
    app = App("app")
    with pytest.raises(JobError):
        app.job(id="job", trigger=TRIGGER)(_other)
    assert app.jobs == {}
    assert app.queues == ()


def test_decorating_returns_the_function_itself() -> None:
    """It can be called in a test as any function; one function may be several jobs."""
    app = App("app")

    @app.job(id="first", trigger=TRIGGER, queue="b", retry=Retry(max_attempts=1))
    @app.job(id="second", trigger=TRIGGER, queue="a")
    def double(payload: int) -> int:
        return payload * 2

    assert double(2) == 4
    assert app.jobs["first"].function is app.jobs["second"].function is double
    assert app.queues == ("a", "b")


@dataclass
class _Point:
    x: int


def test_the_error_of_a_type_that_nothing_decodes_into_names_it() -> None:
    """A type that no payload could ever fit is refused at definition."""

    def job(payload: Any) -> None: ...

    assert _parsed(_define(job, schema=_Point), {"x": 1}) == _Point(1)
    with pytest.raises(JobError, match=r"nothing can be decoded into the payload's type .*_Callable"):
        _define(job, schema=_Callable)


class _Unfinished(pydantic.BaseModel):
    later: NotThere  # type: ignore[name-defined]  # noqa: F821


def test_a_model_with_a_type_that_is_not_there_is_refused() -> None:
    """At its definition, and not at each attempt; so it is inside a list."""
    for schema in (_Unfinished, list[_Unfinished]):
        with pytest.raises(JobError, match="NotThere"):
            _define(lambda payload: payload, schema=schema)


class _Marked:
    """As asgiref marks what it makes, for Python 3.11."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

    def __get__(self, holder: object, kind: object = None) -> _Marked:
        return self

    async def __call__(self, *args: Any, **named: Any) -> Any:
        return self.__wrapped__(*args, **named)  # type: ignore[attr-defined]


def test_what_is_marked_as_async_is_async() -> None:
    """Also where it can be called and is no function, and looks like a method."""
    job = _define(_Marked(elsewhere.takes_a_visitor))
    assert job.is_async
    assert isinstance(_parsed(job, {"name": "Ada"}), elsewhere.Visitor)


def _handing_on(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    return inner


def _running(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **named: Any) -> Any:
        return asyncio.run(function(*args, **named))

    return inner


@pytest.mark.parametrize("wrap", [_handing_on, functools.cache, lambda each: _handing_on(_handing_on(each))])
def test_a_plain_wrapper_around_async_is_refused(wrap: Any) -> None:
    """It would return the coroutine, which nothing runs."""
    with pytest.raises(JobError, match="make the wrapper async def too"):
        _define(wrap(_all))


def test_a_plain_wrapper_that_runs_async_is_plain() -> None:
    """It has what runs it."""
    assert not _define(_running(_keyword_only)).is_async


def test_an_app_that_only_dispatches_takes_no_jobs() -> None:
    """It has said that it has none."""
    with pytest.raises(JobError, match="dispatch_only"):
        App("app", dispatch_only=True).job(id="job", trigger=TRIGGER)(_nothing)


@pytest.mark.parametrize(
    "use",
    [
        lambda app: app.job(_nothing),
        lambda app: app.job("welcome", trigger=TRIGGER),
        lambda app: app.job(trigger=TRIGGER),
        lambda app: app.job(),
    ],
)
def test_a_job_needs_an_id_by_name(use: Callable[[App], object]) -> None:
    """Also where the decorator is used without a call."""
    with pytest.raises(JobError, match=r"write @app\.job\(id='…', trigger=event_trigger\('…'\)\)"):
        use(App("app"))
