"""Every key stands in the namespace's slot, and no two things share one."""

from __future__ import annotations

import re

import pytest

from headrace import ConfigurationError
from headrace.formats.keys import Keys, check_name


def all_keys(keys: Keys) -> dict[str, str]:
    fixed = {
        name: value for name, value in vars(keys).items() if isinstance(value, str) and value.startswith("headrace:")
    }
    fixed.pop("prefix")
    fixed.pop("controls_channel")  # no key
    made = {
        "event": keys.event("id"),
        "queue": keys.queue("app", "default"),
        "wake-up": keys.wake_up("app"),
        "routes": keys.routes("app"),
        "worker": keys.worker("host-1"),
    }
    return fixed | made


def test_every_key_is_in_the_slot_of_its_namespace() -> None:
    """All begin with the prefix whose braces a cluster hashes."""
    for name, key in all_keys(Keys("prod")).items():
        assert key.startswith("headrace:{prod:0}:"), name


def test_no_two_things_have_one_key() -> None:
    """Each function and attribute names another key."""
    named = all_keys(Keys("prod"))
    assert len(set(named.values())) == len(named) == 22


def test_namespaces_partitions_and_scratch_keys_are_apart() -> None:
    """None of their keys is one of another's, also where one name begins with another."""
    kinds = [Keys("prod"), Keys("prod", 1), Keys("prod-2"), Keys("prod", scratch="scratch:")]
    keys = [key for kind in kinds for key in all_keys(kind).values()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("event_id", ["a:b", "{other}", "}{", "line\nfeed", "\0", "\U0001f300", "events"])
def test_an_event_id_stands_in_its_key_as_it_is(event_id: str) -> None:
    """What comes behind the first braces does not change the slot."""
    assert Keys("prod").event(event_id) == "headrace:{prod:0}:event:" + event_id


def test_the_channel_of_an_event_is_no_key() -> None:
    """It has the prefix too, so that one pattern of an ACL covers it, and a name that no key has."""
    keys = Keys("prod")
    assert keys.settled_channel("id") == "headrace:{prod:0}:settled:id"
    assert keys.settled_channel("id") not in all_keys(keys).values()


@pytest.mark.parametrize("name", ["a", "A-Z_a.z-09", "x" * 64])
def test_a_name_is_returned(name: str) -> None:
    """One to 64 of the plain characters are a name."""
    assert check_name("queue", name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "a b", "a:b", "a/b", "{a}", "a\n", "ä", "\u0661", None, 1, b"a"], ids=repr
)
def test_what_is_no_name_is_refused(name: object) -> None:
    """The error says what was named, and by which rule it is none."""
    with pytest.raises(ConfigurationError, match=rf"queue {re.escape(repr(name))} is not a name: 1 to 64 of"):
        check_name("queue", name)


def test_a_namespace_is_a_name() -> None:
    """Keys are made for no other."""
    with pytest.raises(ConfigurationError, match="namespace 'a:b' is not a name"):
        Keys("a:b")
