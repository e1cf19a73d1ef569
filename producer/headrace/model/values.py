"""What can be a payload, a context or an output: how it is made plain, and where in it the fault is. Pure.

Values are encoded by msgspec in C, so nothing is looked at here while all is well. Only what the encoder does not know
comes to `plain`, and only a value that was refused is gone through to find its part at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from headrace.errors import UndecodableEvent
from headrace.model.moments import plain_moment

MAX_DEPTH: Final = 640
"""How many lists and maps may be inside each other. Python 3.11 takes the fewest: 998, less what its stack has then."""

_SHOWN = 80
_NOTE_CHARS = 1_000
_MAP, _LIST, _TEXT = 0x80, 0x90, 0xA0
_LONG_LISTS, _LONG_MAPS = frozenset({0xDC, 0xDD}), frozenset({0xDE, 0xDF})
"""The marks of msgpack that maps and lists begin with."""
_NO_MARKS = bytes(byte for byte in range(256) if not (_MAP <= byte < _TEXT or byte in _LONG_LISTS | _LONG_MAPS))
_COUNTED_BYTES = 32_768
_map_decoder = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


class TooDeep(ValueError):
    """A value has more than MAX_DEPTH lists and maps inside each other."""

    def __init__(self) -> None:
        super().__init__(f"is nested deeper than {MAX_DEPTH} levels; send a flatter value, or a text of it")


def _plain_bytes(value: bytes | bytearray) -> bytes:
    return bytes(memoryview(value))


def _plain_date(value: date) -> date:
    own: type[date] = date.__mro__[-2]  # where tests have put a fake in its place, the class behind that
    return own(value.year, value.month, value.day)


def _plain_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _plain_duration(value: timedelta) -> timedelta:
    days: int = timedelta.days.__get__(value)  # subclasses count days in their own way
    seconds: int = timedelta.seconds.__get__(value)
    micros: int = timedelta.microseconds.__get__(value)
    return timedelta(days, seconds, micros)


_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, _plain_bytes),
    (bytearray, _plain_bytes),
    (datetime, plain_moment),
    (date, _plain_date),
    (time, _plain_time),
    (timedelta, _plain_duration),
    (Decimal, Decimal),
)
"""The classes whose subclasses count as them, and how; a datetime is a date too, so it stands before it."""


def plain(value: Any) -> Any:
    """Return what stands for a value that the encoder does not know: its base's value, or a pydantic model's data.

    Raises:
        TypeError: there is none.
    """
    for base, made in _BASES:
        if isinstance(value, base):
            return made(value)
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is None:
        raise TypeError(f"has the type {type(value).__name__}, which has no form in msgpack")
    return _model_data(value, serializer)


def _model_data(model: Any, serializer: Any) -> Any:
    """Return the data of a pydantic model that the same model can be made of; what JSON can't hold stays as it is."""
    try:
        return serializer.to_python(model, mode="json", by_alias=True, round_trip=True, warnings=False)
    except ValueError:  # bytes that are no UTF-8, say
        return serializer.to_python(model, mode="python", by_alias=True, round_trip=True, warnings=False)


encoder: Final = msgspec.msgpack.Encoder(enc_hook=plain)
_decoder = msgspec.msgpack.Decoder()
UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError, OverflowError, TypeError)
"""What msgspec raises for bytes that are no msgpack, or none of the type asked for: before 0.22 a TypeError, for a key
that is a map."""


def decode_value(raw: msgspec.Raw | bytes) -> Any:
    """Return the value of msgpack bytes; raise UndecodableEvent where they are damaged."""
    try:
        return _decoder.decode(raw)
    except UNREADABLE as exc:
        raise UndecodableEvent(f"damaged msgpack: {exc}") from exc


def may_be_deep(encoded: bytes) -> bool:
    """Return whether a longer value has to be looked through for its depth.

    The marks of lists and maps are rare among the bytes of most values. They are counted up to a size at which it is
    quicker to pass over its texts.
    """
    return len(encoded) > _COUNTED_BYTES or len(encoded.translate(None, _NO_MARKS)) > MAX_DEPTH


def check_depth(encoded: bytes | msgspec.Raw) -> None:
    """Raise TooDeep for an encoded value that has too many levels.

    Each level takes a byte, so a short part can't be deep: only long maps and lists are taken apart, their parts whole.
    """
    parts: list[bytes | msgspec.Raw] = [encoded]
    for levels in range(MAX_DEPTH, 0, -1):
        parts = [inner for part in parts if len(part) > levels for inner in _parts_of(part)]
        if not parts:
            return
    if any(_is_map(part) or _is_list(part) for part in parts):
        raise TooDeep


def _parts_of(encoded: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return what is in a map or a list; what is neither has nothing in it."""
    if _is_map(encoded):
        pairs = _map_decoder.decode(encoded)
        return [*pairs.values(), *(msgspec.Raw(encoder.encode(key)) for key in pairs if type(key) is tuple)]
    return _list_decoder.decode(encoded) if _is_list(encoded) else []


def _is_map(encoded: bytes | msgspec.Raw) -> bool:
    mark = memoryview(encoded)[0]
    return _MAP <= mark < _LIST or mark in _LONG_MAPS


def _is_list(encoded: bytes | msgspec.Raw) -> bool:
    mark = memoryview(encoded)[0]
    return _LIST <= mark < _TEXT or mark in _LONG_LISTS


def encode(value: Any) -> bytes:
    """Return a value as msgpack that every worker can read; raise what says why there is none, of any class."""
    encoded = encoder.encode(value)
    _decoder.decode(encoded)
    check_depth(encoded)
    return encoded


def find_fault(value: Any, at: str) -> tuple[str, str]:
    """Return the path of the part for which a value is refused, such as `payload.items[3].price`, and why.

    Args:
        at: the path of the value itself.
    """
    place, current, around = at, value, [id(value)]
    for _ in range(MAX_DEPTH):
        found = next(((step, part) for step, part in _steps(current) if _refusal(part)), None)
        if found is None:
            return place, _reason(current)
        place, current = place + found[0], found[1]
        if id(current) in around:
            return place, "contains itself, without an end"
        around.append(id(current))
    return at, str(TooDeep())


def note_of_uncarried(value: Any, fault: BaseException) -> str:
    """Return what stands for an output that was refused: its type, its part at fault and why; never raises."""
    try:
        at, reason = find_fault(value, "output") if isinstance(fault, Exception) else ("output", type(fault).__name__)
        why = f"{at} {reason}"[:_NOTE_CHARS].encode("utf-8", "backslashreplace").decode()
    except BaseException as exc:  # noqa: BLE001 - its own code once more
        why = type(exc).__name__
    name = type(value).__name__.encode("utf-8", "backslashreplace").decode()
    return f"<an output of type {name} could not be carried: {why}>"


def is_carried(value: Any) -> bool:
    """Return whether every worker can read a value."""
    return _refusal(value) is None


def _refusal(value: Any) -> BaseException | None:
    try:
        encode(value)
    except Exception as exc:  # noqa: BLE001 - a value's own code may raise anything
        return exc
    return None


def _reason(value: Any) -> str:
    if isinstance(value, dict):
        for key in value:
            if fault := _refusal({key: None}):
                return f"has a key that can't be carried by msgpack, {_shown(key)}: {_said(fault)}"
    fault = _refusal(value)
    if isinstance(fault, TooDeep):
        return str(fault)
    if isinstance(value, msgspec.Raw | msgspec.msgpack.Ext):
        return f"is a {type(value).__name__} that can't be read as msgpack: {_said(fault)}"
    return f"can't be carried by msgpack: {_said(fault)}"


def _said(fault: BaseException | None) -> str:
    try:
        return str(fault) or type(fault).__name__
    except Exception:  # noqa: BLE001 - as above
        return type(fault).__name__


def _shown(key: Any) -> str:
    try:
        return ascii(key)[:_SHOWN]
    except Exception:  # noqa: BLE001 - as above
        return f"a {type(key).__name__}"


def _steps(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value with their steps in its path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield _step(key), part
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield f"[{place}]", part
    elif isinstance(value, set | frozenset):
        for part in value:
            yield "[…]", part
    else:
        for name in _field_names(value):
            part = getattr(value, name, None)
            yield f".{name}", part


def _field_names(value: Any) -> tuple[str, ...]:
    kind = type(value)
    for attribute in ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__"):
        if names := getattr(kind, attribute, None):
            return tuple(names)
    return tuple(field.name for field in getattr(kind, "__attrs_attrs__", ()))


def _step(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() and key.isascii() else f"[{_shown(key)}]"
