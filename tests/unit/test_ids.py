"""Ids are unique where they are new, and always the same where they are derived."""

from __future__ import annotations

import os
import re
import time
from itertools import islice

import pytest
from ulid import ULID

from headrace.model.ids import derived_event_id, new_event_ids, run_id, split_run_id


def test_a_new_id_is_a_ulid_of_the_present() -> None:
    """It has the form of one, reads back as one, and its time is that of the call."""
    before = time.time_ns() // 1_000_000
    made = next(new_event_ids())
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", made)
    assert before <= ULID.from_str(made).milliseconds <= time.time_ns() // 1_000_000
    assert str(ULID.from_str(made)) == made


def test_the_ids_of_one_call_are_unique_and_in_order() -> None:
    """However many a call has, each is greater than the one before."""
    ids = list(islice(new_event_ids(), 5_000))
    assert ids == sorted(set(ids))


def test_the_ids_of_one_call_count_on_by_one() -> None:
    """The end of one block of ids joins the start of the next without a gap or an overlap."""
    values = [int(ULID.from_str(made)) for made in islice(new_event_ids(), 3_000)]
    assert values == list(range(values[0], values[0] + 3_000))


def test_counting_never_changes_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even from the greatest randomness there is, the ids of a call stay in their millisecond."""
    monkeypatch.setattr(os, "urandom", lambda count: b"\xff" * count)
    moments = {ULID.from_str(made).milliseconds for made in islice(new_event_ids(), 5_000)}
    assert len(moments) == 1


def test_calls_in_one_millisecond_share_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call draws its own randomness, so that neither a thread nor a fork's other side counts on from it."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    ids = [made for _ in range(200) for made in islice(new_event_ids(), 50)]
    assert len(set(ids)) == len(ids)


def test_a_derived_id_depends_on_run_and_key_alone() -> None:
    """The same both give the same id, in every process and release; another one of them gives another."""
    assert derived_event_id("e1:app/job", "mail") == "d_77tyllorydfjigvckmwellqjgy"
    others = {derived_event_id(run, key) for run in ("e1:app/job", "e2:app/job") for key in ("mail", "sms", "")}
    assert len(others) == 6


def test_run_and_key_are_told_apart() -> None:
    """Where the one ends and the other begins is part of what a derived id says."""
    assert derived_event_id("ab", "c") != derived_event_id("a", "bc")
    assert derived_event_id("e:a/j", "x:a/j:k") != derived_event_id("e:a/j:x:a/j", "k")


@pytest.mark.parametrize("event_id", ["x" * 256, "\0\n:{}/\U0001f300", "\ud800"])
def test_a_derived_id_does_not_grow(event_id: str) -> None:
    """From any run's id it is 28 plain characters."""
    assert re.fullmatch(r"d_[a-z2-7]{26}", derived_event_id(run_id(event_id, "app/job"), "key\udfff"))


@pytest.mark.parametrize("event_id", ["e", "a:b", "::", "x:app/job", "a/b", "\n", "{}:0", "\U0001f300"])
def test_a_run_id_splits_into_what_it_was_made_of(event_id: str) -> None:
    """Whatever the event's id holds."""
    assert split_run_id(run_id(event_id, "app/job")) == (event_id, "app/job")


@pytest.mark.parametrize("text", ["", "e", "e:job", ":app/job", "app/job", "e:app/job/more", "e:app/job:"])
def test_what_is_no_run_id_is_none(text: str) -> None:
    """An event, a colon and one job of one app, or nothing."""
    assert split_run_id(text) is None
