"""What a job's function gets beside its payload: which functions make the values, and in which order.

A job's function and each function in `Depends` take `payload`, `io`, `ctx` and `state` by name, and further values by
`Annotated[T, Depends(f)]`. The order is found once, at the job's definition. Pure: `run.hooks` takes the steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from headrace_worker.app import functions
from headrace_worker.errors import JobError

NAMED = ("payload", "io", "ctx", "state")
"""The parameters that are known by their names."""


class Depends:
    """Stands in an annotation, `Annotated[T, Depends(f)]`: the parameter gets what `f` makes for each attempt.

    `f` is a function, a coroutine function, a generator function that yields once, or returns a context manager; see
    docs/jobs.md.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function

    def __repr__(self) -> str:
        return f"Depends({functions.name_of(self.function)})"


class Wants(msgspec.Struct, frozen=True):
    """What one function takes: parameters that are known by name, and values that steps make, by the steps' numbers."""

    named: tuple[str, ...] = ()
    made: tuple[tuple[str, int], ...] = ()

    def pick(self, given: Mapping[str, Any], made: Sequence[Any]) -> dict[str, Any]:
        """Return the function's arguments."""
        arguments = {name: given[name] for name in self.named}
        for name, number in self.made:
            arguments[name] = made[number]
        return arguments


class Step(msgspec.Struct, frozen=True):
    """One call before that of the job's function.

    Attributes:
        is_manager: the call returns a context manager, to be closed after the job's function.
        is_async: what the call returns is to be awaited or, if it is a context manager, entered so.
    """

    call: Callable[..., Any]
    wants: Wants
    is_manager: bool
    is_async: bool


class Inspection:
    """Looks at a job's function and at all that it depends on.

    Attributes:
        steps: make the values; each needs only values of steps before it.
        replaced: the functions in whose place others are called.
    """

    def __init__(
        self, job_id: str, *, is_async: bool, has_state: bool, override: Mapping[Any, Callable[..., Any]] | None = None
    ) -> None:
        """Look at nothing yet.

        Args:
            is_async: the job's function is `async def`.
            has_state: the app has a lifespan.
            override: what is called in place of functions in `Depends`.
        """
        self._job_id = job_id
        self._is_async = is_async
        self._has_state = has_state
        self._override = override or {}
        self.steps: list[Step] = []
        self.replaced: set[Any] = set()
        self._numbers: dict[object, int] = {}
        self._chain: list[tuple[str, Any]] = []

    def wants_of(self, function: Any) -> Wants:
        """Return what a function takes, and add the steps that make its values.

        Raises:
            JobError: what it takes can't be given; the error names the parameter and what to write.
        """
        try:
            found = inspect.signature(function).parameters.values()
        except (ValueError, TypeError) as exc:
            raise self._error(f"{self._who()} does not say what it takes: {exc}") from exc
        named, made = [], []
        for parameter in found:
            if (dependency := self._dependency_of(function, parameter)) is None:
                named.append(parameter.name)
            else:
                made.append((parameter.name, self._number_of(dependency, parameter.name)))
        return Wants(tuple(named), tuple(made))

    def _dependency_of(self, function: Any, parameter: inspect.Parameter) -> Depends | None:
        """Return what makes a parameter's value; None for a parameter that is known by its name."""
        takes, name = f"{self._who()} takes {str(parameter)!r}", parameter.name
        self._refuse_foreign(parameter.default, takes)
        if isinstance(parameter.default, Depends):
            raise self._error(f"{takes}; write {name}: Annotated[…, {parameter.default}], without a default value")
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            if name in NAMED:
                self._check_named(function, parameter, takes)
                return None
            if (found := self._marker_of(function, name, takes)) is not None:
                if parameter.default is not parameter.empty:
                    raise self._error(f"{takes}; leave its default value out: {found} makes the value of each attempt")
                return found
        raise self._error(f"{takes}; {_instead_of(parameter)}")

    def _marker_of(self, function: Any, name: str, takes: str) -> Depends | None:
        try:
            annotation = functions.annotation_of(function, name)
        except Exception as exc:  # an annotation is any expression
            raise self._error(
                f"{takes}, and its annotation can't be found: {exc}; a job's function takes any of payload, io, ctx, "
                "state, by name, and others by an Annotated[…, Depends(…)] that exists when the program runs"
            ) from exc
        beside = functions.metadata_of(annotation)
        for each in beside:
            self._refuse_foreign(each, takes)
        markers = [each for each in beside if isinstance(each, Depends)]
        if len(markers) > 1:
            raise self._error(f"{takes}; leave one Depends(…) in it")
        return markers[0] if markers else None

    def _refuse_foreign(self, marker: object, takes: str) -> None:
        kind = type(marker)
        if kind.__name__ in {"Depends", "Security"} and kind.__module__.partition(".")[0] == "fastapi":
            raise self._error(
                f"{takes}: that is FastAPI's {kind.__name__}; import Depends from headrace_worker, and write it into "
                "an Annotated[…, Depends(…)]"
            )

    def _check_named(self, function: Any, parameter: inspect.Parameter, takes: str) -> None:
        """Refuse a parameter whose annotation is not of what it gets, and a state that does not exist."""
        if parameter.name == "state" and not self._has_state:
            raise self._error(f"{takes}, and the app has no lifespan that makes one; write App(…, lifespan=…)")
        fitting = {"io": "JobIO" if self._is_async else "SyncJobIO", "ctx": "Context"}.get(parameter.name)
        if fitting is None:
            return
        found = functions.our_types_in(function, parameter)
        if found and fitting not in found:
            kind = "an `async def` job" if self._is_async else "a plain `def` job"
            raise self._error(f"{takes}; in {kind} it is written {parameter.name}: {fitting}")

    def _number_of(self, dependency: Depends, name: str) -> int:
        """Return the number of the step that makes a value; the value is made once for all that take it."""
        function: Any = dependency.function
        key = function if getattr(function, "__hash__", None) is not None else id(function)
        if key in self._numbers:
            return self._numbers[key]
        if key in self._override:
            self.replaced.add(key)
            function = self._override[key]
        is_cycle = any(function == each for _, each in self._chain)
        self._chain.append((name, function))
        if not callable(function):
            raise self._error(f"{self._who()} is no function; name the function itself, without ()")
        if is_cycle:
            raise self._error(f"{self._who()} is a cycle; take one out")
        step = self._step_of(function)
        self._chain.pop()
        self._numbers[key] = len(self.steps)
        self.steps.append(step)
        return self._numbers[key]

    def _step_of(self, function: Any) -> Step:
        wants, who = self.wants_of(function), self._who()
        manager = functions.manager_of(function)
        call = function
        if functions.is_generator(function):
            call = functions.as_manager(function)
            manager = functions.manager_of(call)
        if functions.gives_coroutine(function):
            raise self._error(f"{who} is plain and returns a coroutine; make it async def")
        is_async = functions.is_async(function) or manager == "async" or (manager == "both" and self._is_async)
        if is_async and not self._is_async:
            raise self._error(
                f"{who} is async; a plain job makes its values in its own thread: make the job async def, or "
                "what it depends on plain"
            )
        return Step(call, wants, manager is not None, is_async)

    def _who(self) -> str:
        """Return the name of what is looked at, for errors: the job's function, or the way to what it depends on."""
        if not self._chain:
            return "its function"
        way = " → ".join(f"Depends({functions.name_of(function)})" for _, function in self._chain)
        return f"parameter {self._chain[0][0]}: {way}"

    def _error(self, reason: str) -> JobError:
        return JobError(self._job_id, reason)


def _instead_of(parameter: inspect.Parameter) -> str:
    """Return what to write in place of a parameter that can't be given."""
    name, known = parameter.name, ", ".join(NAMED)
    if parameter.kind is parameter.POSITIONAL_ONLY and name in NAMED:
        return "what it takes is given by name, so leave out the / behind it"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return f"write what it needs by name instead, any of {known}, and others as Annotated[…, Depends(…)]"
    if name in {"self", "cls"}:
        return "that is a method without its object; write a function outside of the class, or a @staticmethod"
    close = get_close_matches(name, NAMED, n=1)
    hint = f"did you mean {close[0]!r}? A" if close else "a"
    return f"{hint} job's function takes any of {known}, by name, and others as {name}: Annotated[…, Depends(…)]"
