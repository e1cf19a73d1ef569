"""What `enable` must give and change."""

from __future__ import annotations

from headrace.formats.codec import from_millis
from headrace_worker.protocol.switching import Disabled, enable
from tests.scripts.cases.case import LONG_PAST, Step, case
from tests.scripts.state import Keyspace


@case
def a_disabled_job(keyspace: Keyspace) -> Step:
    """It is enabled, and the version is bumped; another disabled job stays so."""
    keyspace.seed("HSET", "routes:app", "x:job", f"{LONG_PAST} why")
    gives = Disabled(from_millis(LONG_PAST), "why")
    return Step(enable(keyspace.keys, "app", "job"), gives, {"routes:app x:job": None, "routes:version": "2"})


@case
def an_enabled_job(keyspace: Keyspace) -> Step:
    """Nothing happens."""
    return Step(enable(keyspace.keys, "app", "job"), None, {})
