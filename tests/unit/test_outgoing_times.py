"""A delay or a time of delivery is kept to the millisecond, or refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import pytest

from headrace import Event
from headrace.formats import codec
from headrace.model.values import decode_value
from headrace.plans.prepare import SendOptions, when
from tests.support.outgoing import NOW, prepare_one, refuse


@pytest.mark.parametrize("after", [0, 0.0, -0.0, timedelta(0), 0.0001])
def test_a_delay_of_nothing_delivers_now(after: float | timedelta) -> None:
    """Zero, and what rounds to it, is no delay."""
    assert when(SendOptions(deliver_after=after)) == ""


@pytest.mark.parametrize(
    ("after", "expected"),
    [(30, "+30000"), (0.25, "+250"), (timedelta(days=1), "+86400000"), (0.1 + 0.2, "+300"), (3_162_240_000, None)],
)
def test_a_delay_is_seconds_or_a_timedelta(after: float | timedelta, expected: str | None) -> None:
    """It is left to the server's clock when the delay began, and may be up to a hundred years."""
    assert when(SendOptions(deliver_after=after)) == (expected or "+3162240000000")


@pytest.mark.parametrize(
    "after",
    [-1, -0.001, timedelta(microseconds=-1), float("nan"), float("inf"), float("-inf"), 10**400, 3_162_240_001],
    ids=lambda value: repr(value)[:20],
)
def test_a_delay_out_of_range_is_refused(after: float | timedelta) -> None:
    """Negative, endless or no number."""
    error = refuse(Event("a"), options=SendOptions(deliver_after=after))
    assert (error.field, error.index) == ("deliver_after", None)
    assert error.reason.startswith("must be 0 to 100 years of seconds")


@pytest.mark.parametrize("after", ["30", True, Decimal(3), NOW, [30]], ids=repr)
def test_a_delay_of_another_type_is_refused(after: Any) -> None:
    """The error says what it should be and what it is."""
    error = refuse(Event("a"), options=SendOptions(deliver_after=after))
    assert error.reason == f"must be seconds or a timedelta, not {type(after).__name__}"


def test_a_time_is_rounded_up_to_the_millisecond() -> None:
    """An event is never early, not even by a microsecond."""
    base = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=-5)))
    millis = round(base.timestamp() * 1000)
    found = [when(SendOptions(deliver_at=base + timedelta(microseconds=extra))) for extra in (0, 1, 999, 1000)]
    assert found == [str(millis), str(millis + 1), str(millis + 1), str(millis + 1)]


def test_a_time_long_past_is_still_a_time() -> None:
    """What is before 1970 is written as the first millisecond after it: the server finds that it is past."""
    assert when(SendOptions(deliver_at=datetime(1, 1, 1, tzinfo=UTC))) == "1"
    assert when(SendOptions(deliver_at=datetime(1970, 1, 1, tzinfo=UTC))) == "1"


def test_both_delays_are_an_error() -> None:
    """Also where the second is zero."""
    for after in (30, 0, timedelta(0)):
        error = refuse(Event("a"), options=SendOptions(deliver_at=NOW, deliver_after=after))
        assert error.field == "deliver_at"
        assert "together with deliver_after; give one of them" in error.reason


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    dst = tzname = utcoffset


NAIVE = [NOW.replace(tzinfo=None), NOW.replace(tzinfo=Nowhere())]


@pytest.mark.parametrize("moment", NAIVE, ids=["no zone", "a zone without an offset"])
def test_a_naive_datetime_is_refused(moment: datetime) -> None:
    """As a timestamp and as a time of delivery; the error says how to make an aware one."""
    for error in (
        refuse(Event("a", timestamp=moment)),
        refuse(Event("a"), options=SendOptions(deliver_at=moment)),
    ):
        assert error.field in {"timestamp", "deliver_at"}
        assert "naive datetime; give it a time zone, such as datetime.now(timezone.utc)" in error.reason


EDGE = [
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
]


@pytest.mark.parametrize("moment", EDGE, ids=["before", "after"])
def test_a_time_that_utc_cannot_say_is_refused(moment: datetime) -> None:
    """It could be sent, and never be read."""
    assert "outside the years 1 to 9999" in refuse(Event("a", timestamp=moment)).reason
    assert "outside the years 1 to 9999" in refuse(Event("a"), options=SendOptions(deliver_at=moment)).reason


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_first_and_the_last_time_are_carried(moment: datetime) -> None:
    """To the microsecond."""
    assert codec.from_micros(codec.decode_event(prepare_one(Event("a", timestamp=moment)).body).t) == moment


class Foreign(datetime):
    """As other libraries have it: its operators give what is their own."""

    def __sub__(self, other: object) -> Any:
        return "an interval"

    __add__ = __radd__ = __rsub__ = __sub__

    def __lt__(self, other: object) -> bool:
        raise TypeError("can't compare")


class NotATime(Foreign):
    """As pandas.NaT."""

    @property
    def year(self) -> Any:
        return float("nan")


class Stretch(timedelta):
    """As other libraries have it."""

    def total_seconds(self) -> float:
        return 30

    @property
    def days(self) -> int:
        return -7


def test_datetimes_of_other_libraries_are_datetimes() -> None:
    """As a timestamp, as a time of delivery and inside a payload: they are made plain before anything is calculated."""
    moment, same = Foreign(2100, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    outgoing = prepare_one(Event("a", {"at": moment}, timestamp=moment), SendOptions(deliver_at=moment))
    stored = codec.decode_event(outgoing.body)
    assert codec.from_micros(stored.t) == outgoing.timestamp == same
    assert type(outgoing.timestamp) is datetime
    assert decode_value(stored.p) == {"at": same}
    assert outgoing.terms.when == str(round(same.timestamp() * 1000))


def test_durations_of_other_libraries_are_durations() -> None:
    """As a delay and inside a payload."""
    outgoing = prepare_one(Event("a", Stretch(days=1)), SendOptions(deliver_after=Stretch(days=1)))
    assert outgoing.terms.when == "+30000"
    assert decode_value(codec.decode_event(outgoing.body).p) == "P1D"


class FakeDate(date):
    """As freezegun's, which stands in place of the class in every module."""


class FakeDatetime(datetime, FakeDate):
    """As freezegun's."""


def test_faked_datetimes_are_datetimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the fake stands in place of Python's own class."""
    monkeypatch.setattr("headrace.model.moments.datetime", FakeDatetime)
    monkeypatch.setattr("headrace.model.values.date", FakeDate)
    moment = FakeDatetime(2024, 1, 2, tzinfo=UTC)
    event = Event("a", [moment, FakeDate(2024, 1, 2)], timestamp=moment)
    stored = codec.decode_event(prepare_one(event, SendOptions(deliver_at=moment)).body)
    assert decode_value(stored.p) == [datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02"]


class Lost(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> timedelta:
        raise KeyError("no such zone")

    dst = tzname = utcoffset  # type: ignore[assignment]


@pytest.mark.parametrize("moment", [NotATime(2024, 1, 1, tzinfo=UTC), NOW.replace(tzinfo=Lost())], ids=["NaT", "zone"])
def test_a_moment_that_is_none_is_refused(moment: datetime) -> None:
    """The error names the field, and nothing else is raised."""
    assert refuse(Event("a", timestamp=moment)).field == "timestamp"
    assert refuse(Event("a"), options=SendOptions(deliver_at=moment)).field == "deliver_at"
    assert refuse(Event("a", [moment])).field == "payload[0]"


def test_the_last_moment_can_be_asked_for() -> None:
    """It is rounded up to the last millisecond that can be read again, and no further."""
    last = when(SendOptions(deliver_at=datetime.max.replace(tzinfo=UTC)))
    assert codec.from_millis(int(last)).year == 9999


@pytest.mark.parametrize("moment", ["2024-05-01T12:00:00Z", 1_714_564_800, NOW.date()], ids=repr)
def test_what_is_no_datetime_is_refused(moment: Any) -> None:
    """The error says what it is."""
    says = f"must be a datetime, not {type(moment).__name__}"
    assert refuse(Event("a", timestamp=moment)).reason == says
    assert refuse(Event("a"), options=SendOptions(deliver_at=moment)).reason == says
