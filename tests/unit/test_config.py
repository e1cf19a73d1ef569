"""The settings of a worker are checked as a whole, and what is wrong is refused by the name of its field."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from headrace import ConfigurationError, Retention
from headrace_worker import WorkerConfig


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("concurrency", 0, "a whole number of 1 or more, not 0"),
        ("concurrency", 1.5, "a whole number of 1 or more, not 1.5"),
        ("concurrency", True, "a whole number of 1 or more, not True"),
        ("concurrency", None, "a whole number of 1 or more, not None"),
        ("max_lost", 0, "a whole number of 1 or more, not 0"),
        ("dispatchers", -1, "a whole number of 0 or more, not -1"),
        ("max_output_bytes", -1, "a whole number of 0 or more, not -1"),
        ("max_output_bytes", "64k", "a whole number of 0 or more, not '64k'"),
        ("grace", -0.1, "0 seconds or more, not -0.1"),
        ("lease", 0.1, "0.3 seconds or more, not 0.1"),
        ("block", 0, "0.05 seconds or more, not 0"),
        ("block", float("inf"), "0.05 seconds or more, not inf"),
        ("unknown_job", float("nan"), "0 seconds or more, not nan"),
        ("grace", "30", "0 seconds or more, not '30'"),
        ("lease", True, "0.3 seconds or more, not True"),
        ("queues", (), "queues is empty"),
        ("queues", "emails", "a tuple of names, or None for all of the app, not 'emails'"),
        ("queues", {"emails"}, "a tuple of names"),
        ("queues", ("a", "b c"), "queues: 'b c' is not a name: 1 to 64 of the characters"),
        ("queues", (None,), "queues: None is not a name"),
        ("retention", 3600, "a Retention(…), not 3600"),
    ],
)
def test_a_bad_setting_is_refused_by_name(field: str, value: Any, said: str) -> None:
    """The error names the field, its rule, and the value."""
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        WorkerConfig(**{field: value})
    assert str(caught.value).startswith(field)


def test_the_smallest_settings_are_taken() -> None:
    """Each bound is inclusive."""
    WorkerConfig(
        concurrency=1, max_lost=1, dispatchers=0, max_output_bytes=0, grace=0, lease=0.3, block=0.05, unknown_job=0,
        retention=Retention(0, 0, 0, 0),
    )  # fmt: skip


def test_queues_are_a_tuple_without_doubles() -> None:
    """A list does as well; a queue that is named twice is asked once."""
    assert WorkerConfig(queues=["b", "a", "b"]).queues == ("b", "a")  # type: ignore[arg-type]
    assert WorkerConfig(queues=("a",)).queues == ("a",)
    assert WorkerConfig().queues is None


def test_times_reach_the_server_as_whole_milliseconds() -> None:
    """A dead worker is looked at again when its longest read and a lease have passed."""
    config = WorkerConfig(lease=0.3335, block=1.2)
    assert config.lease_ms == 334
    assert config.look_again_ms == 1534


def test_durations_are_seconds_or_timedeltas() -> None:
    """Both are the same settings."""
    given = WorkerConfig(grace=timedelta(minutes=1), lease=timedelta(seconds=10), stall=timedelta(seconds=20))
    assert given == WorkerConfig(grace=60, lease=10, stall=20)
    assert (given.grace_s, given.lease_s, given.stall_limit_s) == (60, 10, 20)
