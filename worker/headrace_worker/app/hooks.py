"""What an app wraps around its worker and around each attempt: checked where it is given. Pure."""

from __future__ import annotations

import inspect
from typing import Any

from headrace_worker.app import functions
from headrace_worker.app.dependencies import Step, Wants
from headrace_worker.errors import DefinitionError


def around_of(function: Any) -> Step:
    """Return the step that enters what `App.around` was given.

    Raises:
        DefinitionError: it certainly is no context manager's factory, or takes anything but `ctx`.
    """
    name = f"app.around: {functions.name_of(function)}"
    manager = functions.manager_of(function) if callable(function) else None
    if manager is None:
        raise DefinitionError(
            f"{name} does not say whether it is a plain or an async context manager; put @contextmanager or "
            "@asynccontextmanager under @app.around"
        )
    try:
        taken = tuple(inspect.signature(function).parameters)
    except (ValueError, TypeError) as exc:
        raise DefinitionError(f"{name} does not say what it takes: {exc}") from exc
    if taken not in ((), ("ctx",)):
        raise DefinitionError(f"{name} takes {', '.join(taken)}; it may take ctx, or nothing")
    return Step(function, Wants(taken), is_manager=True, is_async=manager != "plain")


def checked_lifespan(function: Any) -> Any:
    """Return the lifespan that `App` was given.

    Raises:
        DefinitionError: it certainly is no factory of an async context manager without arguments.
    """
    if function is None:
        return None
    if not callable(function) or functions.is_generator(function) or functions.is_async(function):
        raise DefinitionError(
            f"App.lifespan: {functions.name_of(function)} must return an async context manager; put "
            "@asynccontextmanager above an `async def` that yields once"
        )
    if functions.manager_of(function) == "plain":
        raise DefinitionError(
            f"App.lifespan: {functions.name_of(function)} returns a plain context manager; make it an async one"
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # a built-in function that does not say what it takes
        return function
    try:
        signature.bind()
    except TypeError as exc:
        name = functions.name_of(function)
        raise DefinitionError(f"App.lifespan: {name} is called without arguments: {exc}") from exc
    return function


def checked_modules(given: Any) -> tuple[str, ...]:
    """Return the names of modules that `App` was given.

    Raises:
        DefinitionError: what was given are no names of modules.
    """
    names = tuple(given) if isinstance(given, list | tuple) else (given,)
    for name in names:
        if not isinstance(given, list | tuple) or not isinstance(name, str) or not _is_dotted(name):
            raise DefinitionError(
                f"App.modules must be a list of modules' full names, such as ['shop.jobs.orders'], not {given!r}"
            )
    return names


def _is_dotted(name: str) -> bool:
    return all(map(str.isidentifier, name.split(".")))
