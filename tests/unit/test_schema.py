"""A payload becomes what the schema says, or an error that names the paths at fault."""

from __future__ import annotations

import dataclasses
import sys
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, Union

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from headrace import PayloadError, UndecodableEvent
from headrace.formats import codec
from headrace.model.schema import parser_of

pack = msgspec.msgpack.encode


class Plan(Enum):
    FREE = "free"
    PRO = "pro"


class Address(msgspec.Struct):
    city: str
    zip: Annotated[str, msgspec.Meta(pattern="^[0-9]{5}$")] = "00000"


class User(msgspec.Struct):
    name: str
    plan: Plan = Plan.FREE
    addresses: list[Address] = []
    friends: list[User] = []


@dataclass
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


class Options(TypedDict):
    verbose: bool
    level: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: int


class Model(pydantic.BaseModel):
    name: str
    tags: list[int] = []
    inner: Model | None = None


@pydantic.dataclasses.dataclass
class Checked:
    x: Annotated[int, pydantic.Field(gt=0)]


def _parse(schema: Any, payload: object) -> Any:
    return parser_of(schema)(msgspec.Raw(pack(payload)))


@pytest.mark.parametrize(
    ("schema", "payload", "value"),
    [
        (None, {"a": 1}, {"a": 1}),
        (Any, [1], [1]),
        (object, 0, 0),
        (User, {"name": "Ada"}, User("Ada")),
        (User, {"name": "Ada", "plan": "pro", "unknown": 1}, User("Ada", Plan.PRO)),
        (User, {"name": "Ada", "friends": [{"name": "Bob"}]}, User("Ada", friends=[User("Bob")])),
        (Point, {"x": 1}, Point(1)),
        (Options, {"verbose": True}, {"verbose": True}),
        (Pair, [1, "b"], Pair(1, "b")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (list[Address], [{"city": "x"}], [Address("x")]),
        (Optional[User], None, None),  # noqa: UP045 - the older spelling works as well
        (Union[User, None], {"name": "Ada"}, User("Ada")),  # noqa: UP007 - the older spelling works as well
        (Cat | Dog, {"type": "Dog", "tricks": 3}, Dog(3)),
        (Annotated[int, msgspec.Meta(ge=1)], 1, 1),
        (Literal["a", "b"], "b", "b"),
        (type(None), None, None),
        (int, 0, 0),
        (str, "", ""),
        (datetime, "2026-01-02T03:04:05Z", datetime.fromisoformat("2026-01-02T03:04:05+00:00")),
        (Model, {"name": "Ada"}, Model(name="Ada")),
        (Model | None, None, None),
        (list[Model], [{"name": "Ada"}], [Model(name="Ada")]),
        (Model | int, 7, 7),
        (Checked, {"x": 1}, Checked(1)),
    ],
)
def test_a_payload_that_fits_becomes_its_type(schema: Any, payload: object, value: object) -> None:
    """Structs, dataclasses, TypedDicts, built-in types and models of pydantic, alone and inside others."""
    parsed = _parse(schema, payload)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("schema", "payload", "message"),
    [
        (User, {}, "Object missing required field `name` - at `payload`"),
        (User, 7, "Expected `object`, got `int` - at `payload`"),
        (User, {"name": 1}, "Expected `str`, got `int` - at `payload.name`"),
        (User, {"name": "a", "plan": "gold"}, "Invalid enum value 'gold' - at `payload.plan`"),
        (
            User,
            {"name": "a", "addresses": [{"city": "x"}, {"city": "x", "zip": "1"}]},
            "Expected `str` matching regex '^[0-9]{5}$' - at `payload.addresses[1].zip`",
        ),
        (Point, {"x": -1}, "x is negative - at `payload`"),
        (dict[str, int], {"a": "b"}, "Expected `int`, got `str` - at `payload[...]`"),
        (Options, {"level": 1}, "Object missing required field `verbose` - at `payload`"),
        (Cat | Dog, {"type": "Cow"}, "Invalid value 'Cow' - at `payload.type`"),
        (int, True, "Expected `int`, got `bool` - at `payload`"),
        (Model, {}, "Field required - at `payload.name`"),
        (
            Model,
            {"name": 1, "tags": [1, "x"], "inner": {"name": "a", "inner": {}}},
            (
                "Input should be a valid string - at `payload.name`; "
                "Input should be a valid integer, unable to parse string as an integer - at `payload.tags[1]`; "
                "Field required - at `payload.inner.inner.name`"
            ),
        ),
        (Checked, {"x": 0}, "Input should be greater than 0 - at `payload.x`"),
    ],
)
def test_one_that_does_not_fit_names_the_paths(schema: Any, payload: object, message: str) -> None:
    """The error is an InvalidPayload and says what was expected where."""
    with pytest.raises(PayloadError) as caught:
        _parse(schema, payload)
    assert str(caught.value) == message


def test_many_faults_are_counted_and_not_all_named() -> None:
    """The error of a huge payload stays small."""
    with pytest.raises(PayloadError) as caught:
        _parse(Model, {"name": "a", "tags": ["x"] * 10_000})
    assert str(caught.value).count("payload.tags") == 20
    assert str(caught.value).endswith("; and 9,980 more")


def test_values_are_not_in_the_error() -> None:
    """A payload may be secret, and the error is shown to operators."""
    for schema in (User, Model):
        with pytest.raises(PayloadError) as caught:
            _parse(schema, {"name": ["hunter2"]})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("schema", [threading.Lock, Path, list[Path], dict[int, Path | None], type("Own", (), {}), 7])
def test_a_type_that_no_payload_could_fit_is_refused(schema: Any) -> None:
    """Rather than making every run invalid."""
    with pytest.raises(TypeError):
        parser_of(schema)


def test_a_type_hidden_in_a_field_is_refused_too() -> None:
    """The error names it."""
    holder = msgspec.defstruct("Holder", [("paths", list[Path])])
    with pytest.raises(TypeError, match="knows no way to make Path"):
        parser_of(holder)
    with pytest.raises(TypeError, match="knows no way to make Path"):
        parser_of(dataclasses.make_dataclass("Held", [("holder", holder)]))


@pytest.mark.parametrize("schema", [None, User, dict[str, Any], Model])
@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x81\xa1a", b"\xa1\xff", b"\x91" * 100_000])
def test_damaged_bytes_are_an_error_and_no_crash(schema: Any, raw: bytes) -> None:
    """They fit nothing, or can't be read."""
    with pytest.raises((PayloadError, UndecodableEvent)):
        parser_of(schema)(msgspec.Raw(raw))


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    id: uuid.UUID
    tags: tuple[str, ...]
    plan: Plan = Plan.FREE
    at: datetime | None = None
    raw: bytes = b""


def test_a_strict_model_is_strict_by_the_rules_of_json() -> None:
    """A text is a UUID, a list a tuple, a moment a moment; a number is no text."""
    moment = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
    payload = {"id": uuid.UUID(int=1), "tags": ("a",), "plan": "pro", "at": moment, "raw": b"x"}
    assert _parse(Strict, payload) == Strict(id=uuid.UUID(int=1), tags=("a",), plan=Plan.PRO, at=moment, raw=b"x")
    assert _parse(list[Strict], [payload])[0].raw == b"x"
    with pytest.raises(PayloadError) as caught:
        _parse(Strict, {"id": str(uuid.UUID(int=1)), "tags": [1]})
    assert str(caught.value) == "Input should be a valid string - at `payload.tags[0]`"


class Bytes(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(val_json_bytes="base64", ser_json_bytes="base64")
    raw: bytes


@pytest.mark.parametrize("model", [Bytes(raw=b"\xff\xfe"), Strict(id=uuid.UUID(int=1), tags=("a",), raw=b"x")])
def test_what_is_made_of_a_model_makes_the_model(model: pydantic.BaseModel) -> None:
    """Also where its bytes are base64 in JSON."""
    assert parser_of(type(model))(msgspec.Raw(codec.encode_value(model))) == model


def test_bytes_that_are_no_text_fit_a_model() -> None:
    """They are in no JSON, and in msgpack they are."""
    assert _parse(Checkless, {"raw": b"\xff"}).raw == b"\xff"


class Checkless(pydantic.BaseModel):
    raw: bytes


class Exiting(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        sys.exit(3)


class ExitingModel(pydantic.BaseModel):
    x: int

    @pydantic.field_validator("x")
    @classmethod
    def leave(cls, _: int) -> int:
        sys.exit(3)


@pytest.mark.parametrize("schema", [Exiting, ExitingModel])
def test_what_ends_more_than_an_attempt_is_its_error(schema: Any) -> None:
    """What a schema's own code raises reaches the executor as it is, which makes an outcome of it."""
    with pytest.raises(SystemExit):
        _parse(schema, {"x": 1})
