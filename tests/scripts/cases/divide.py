"""What `divide` must give and change."""

from __future__ import annotations

from headrace.calls import checking
from tests.scripts.cases.case import Step, case
from tests.scripts.state import Keyspace


@case
def a_new_namespace(keyspace: Keyspace) -> Step:
    """The first to use a namespace says how many partitions it has."""
    return Step(checking.divide(keyspace.keys, 4), 4, {"meta partitions": "4"}, full="refused")


@case
def a_namespace_that_workers_have_used(keyspace: Keyspace) -> Step:
    """What else is known of the namespace stays as it is."""
    keyspace.seed("HSET", "meta", "renewed", 5)
    return Step(checking.divide(keyspace.keys, 2), 2, {"meta partitions": "2"}, full="refused")


@case
def a_divided_namespace(keyspace: Keyspace) -> Step:
    """Whatever is asked for, the number stays, on a full server too."""
    keyspace.seed("HSET", "meta", "partitions", 4)
    return Step(checking.divide(keyspace.keys, 1), 4, {})
