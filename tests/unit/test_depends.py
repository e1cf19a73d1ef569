"""What a function can't take is refused when its job is defined, with the way to it and what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import pytest

from headrace_worker import App, Depends, JobError, event_trigger


def _reason(function: Any) -> str:
    with pytest.raises(JobError) as caught:
        App("app").job(id="job", trigger=event_trigger("x"))(function)
    return caught.value.reason


def one() -> int:
    return 1


def first(x: Annotated[int, Depends(lambda: 1)]) -> int:
    return x


def second(y: Annotated[int, Depends(first)]) -> int:
    return y


first.__annotations__["x"] = Annotated[int, Depends(second)]


def asks(request: Any) -> Any:
    return request


def through(it: Annotated[Any, Depends(asks)]) -> Any:
    return it


async def awaited() -> int:
    return 1


def in_a_circle(q: Annotated[int, Depends(first)]) -> None: ...
def of_what_asks(q: Annotated[Any, Depends(through)]) -> None: ...
def of_a_value(n: Annotated[int, Depends(one())]) -> None: ...
def of_what_is_async(n: Annotated[int, Depends(awaited)]) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (in_a_circle, "parameter q: Depends(first) → Depends(second) → Depends(first) is a cycle; take one out"),
        (
            of_what_asks,
            "parameter q: Depends(through) → Depends(asks) takes \"request: 'Any'\"; a job's function takes",
        ),
        (of_a_value, "parameter n: Depends(1) is no function; name the function itself, without ()"),
        (of_what_is_async, "parameter n: Depends(awaited) is async; a plain job makes its values in its own thread"),
    ],
)
def test_the_way_to_a_wrong_dependency_is_one_line(function: Any, said: str) -> None:
    """From the job's parameter on, each function once."""
    assert _reason(function).startswith(said)


def _by_position(payload: Any, /) -> None: ...
def _method(self: Any, payload: Any) -> None: ...
def _args(*args: Any) -> None: ...
def _misspelt(paylod: Any) -> None: ...
def _other(database: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_by_position, "what it takes is given by name, so leave out the / behind it"),
        (_method, "that is a method without its object; write a function outside of the class, or a @staticmethod"),
        (_args, "write what it needs by name instead, any of payload, io, ctx, state, and others as Annotated["),
        (_misspelt, "did you mean 'payload'? A job's function takes any of payload, io, ctx, state, by name"),
        (_other, "a job's function takes any of payload, io, ctx, state, by name, and others as database: Annotated["),
    ],
)
def test_what_to_write_in_place_of_a_parameter(function: Any, said: str) -> None:
    """By what is wrong with it."""
    assert f"; {said}" in _reason(function)


def test_a_static_method_is_a_job() -> None:
    """As the error says."""
    app = App("app")

    class Jobs:
        @app.job(id="job", trigger=event_trigger("x"))
        @staticmethod
        def job(payload: Any) -> None: ...

    assert app.jobs["job"].takes == {"payload"}


@pytest.mark.parametrize("of_fastapi", [fastapi.Depends, fastapi.Security])
def test_the_marker_of_fastapi_is_called_by_its_name(of_fastapi: Callable[[Any], Any]) -> None:
    """As a default value, and in an annotation."""
    marker = of_fastapi(one)

    def as_default(n: int = marker) -> None: ...
    def as_state(state: Any = marker) -> None: ...
    def annotated(n: Any) -> None: ...

    annotated.__annotations__["n"] = Annotated[int, marker]
    for function in (as_default, as_state, annotated):
        assert f"that is FastAPI's {of_fastapi.__name__}; import Depends from headrace_worker" in _reason(function)
