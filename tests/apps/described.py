"""Jobs whose failures can hardly be told of: the code of their exceptions, schemas and outputs raises itself."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import Any, NoReturn

from headrace_worker import Abort, App, Retry, RetryAfter, event_trigger
from tests.support.codecs import Scrambler

app = App("described")
_ONCE = Retry(max_attempts=1)
_TWICE = Retry(max_attempts=2, min_delay=0.01, jitter=False)


class PanicException(BaseException):
    """As pyo3 has it: no Exception."""


ENDS: dict[str, Callable[[], BaseException]] = {
    "panic": lambda: PanicException("index out of range"),
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "generator": GeneratorExit,
    "stop": StopIteration,
    "cancelled": asyncio.CancelledError,
    "memory": MemoryError,
    "group": lambda: BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError()]),
}
"""What a job's code, or the code of what it uses, may raise besides errors."""


def raise_fault(name: str) -> NoReturn:
    """Raise the fault of that name."""
    fault = FAULTS[name]()
    raise fault


class _Silent(Exception):
    """Raises what it is given when it is asked what it says."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __str__(self) -> str:
        raise ENDS[self.fault]()  # noqa: RSE102 - what is called is not the exception

    __repr__ = __str__


class _OddText(str):
    __slots__ = ()

    def __add__(self, _: object) -> Any:
        raise KeyboardInterrupt

    __radd__ = encode = __len__ = __format__ = __str__ = __add__  # type: ignore[assignment]


class _SaysOddly(Exception):
    def __str__(self) -> str:
        return _OddText("odd")


class _SaysNothing(Exception):
    def __str__(self) -> Any:
        return 3  # noqa: PLE0307 - that is the point


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise KeyboardInterrupt
        return super().__getattribute__(name)


class _WithoutName(Exception, metaclass=_Nameless):
    """Its class does not say what it is called."""


class _WithoutParts(Exception):
    """Raises when it is asked for its cause, its notes or its class."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__cause__", "__context__", "__notes__", "__class__", "__traceback__"):
            raise PanicException(f"no {name}")
        return super().__getattribute__(name)


def _cycle() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _chain() -> BaseException:
    last = ValueError("0")
    for number in range(1, 5_000):
        exc = ValueError(str(number))
        exc.__cause__, last = last, exc
    return last


def _nested() -> BaseException:
    exc: Exception = ValueError("innermost")
    for _ in range(3_000):
        exc = ExceptionGroup("around it", [exc])
    return exc


def _damaged_retry() -> BaseException:
    exc = RetryAfter(1)
    exc.delay_s = "soon"  # type: ignore[assignment]
    return exc


FAULTS: dict[str, Callable[[], BaseException]] = {
    # A template engine or a parser makes such ones with parts of its own.
    "parser": lambda: SyntaxError("bad", ("f.py", 1, 2, 3)),  # type: ignore[arg-type]
    "says oddly": _SaysOddly,
    "says nothing": _SaysNothing,
    "without name": _WithoutName,
    "without parts": _WithoutParts,
    "cycle": _cycle,
    "chain": _chain,
    "group": lambda: ExceptionGroup("many", [ValueError(str(number)) for number in range(5_000)]),
    "nested": _nested,
    "surrogates": lambda: ValueError("\ud800" * 10),
    "large": lambda: ValueError("x" * 100_000_000),
    "damaged retry": _damaged_retry,
    **{f"silent: {fault}": (lambda fault=fault: _Silent(fault)) for fault in ENDS},  # type: ignore[misc]
    **ENDS,
}


@app.job(id="ok", trigger=event_trigger("ok"))
async def ok(payload: Any) -> Any:
    return payload


@app.job(id="raises", trigger=event_trigger("raises"), retry=_ONCE)
async def raises(payload: str) -> None:
    raise_fault(payload)


@app.job(id="plain", trigger=event_trigger("plain"), retry=_ONCE)
def plain(payload: str) -> None:
    raise_fault(payload)


@app.job(id="again", trigger=event_trigger("again"), retry=_TWICE)
async def again(payload: str) -> None:
    raise_fault(payload)


class _OddAbort(Abort):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@app.job(id="aborts", trigger=event_trigger("aborts"), retry=Retry(max_attempts=5))
async def aborts() -> None:
    raise _OddAbort


@dataclasses.dataclass
class Order:
    """A payload whose own code raises what it names."""

    fault: str

    def __post_init__(self) -> None:
        if self.fault:
            raise_fault(self.fault)


@app.job(id="schema", trigger=event_trigger("schema"), retry=_ONCE)
async def schema(payload: Order) -> str:
    return payload.fault


class _Output(dict[str, int]):
    """Raises what it is given when it is encoded."""

    def __init__(self, fault: str) -> None:
        super().__init__(one=1)
        self.fault = fault

    def items(self) -> Any:
        raise_fault(self.fault)

    __iter__ = __reduce__ = __len__ = items


class _Convertible:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __getattribute__(self, name: str) -> Any:
        if name in ("fault", "__class__"):
            return object.__getattribute__(self, name)
        raise_fault(self.fault)

    def __repr__(self) -> str:
        raise_fault(self.fault)

    __str__ = __reduce__ = __repr__


@app.job(id="output", trigger=event_trigger("output"), retry=_ONCE)
async def output(payload: str) -> Any:
    kind, _, fault = payload.partition(" ")
    if kind == "set":
        return {_Hashed(fault)}
    return _Output(fault) if kind == "dict" else _Convertible(fault)


class _Hashed(_Convertible):
    def __hash__(self) -> int:
        return 1


class _Faulty(Scrambler):
    """Raises what its data names, behind `open` or `seal`."""

    def decode(self, data: bytes, bound_to: bytes) -> bytes:
        return self._checked(b"open", super().decode(data, bound_to))

    def encode(self, data: bytes, bound_to: bytes) -> bytes:
        return super().encode(self._checked(b"seal", data), bound_to)

    @staticmethod
    def _checked(verb: bytes, data: bytes) -> bytes:
        if found := re.search(verb + rb" ([^!]+)!", data):
            raise_fault(found[1].decode())
        return data


sealed_app = App("sealed", codec=_Faulty())


@sealed_app.job(id="sealed", trigger=event_trigger("sealed"), retry=_ONCE)
async def sealed(payload: str) -> str:
    return payload
