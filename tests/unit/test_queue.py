"""What an app says of its queues: each has one definition, and a job with a concurrency has a queue of its own."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import ConfigurationError
from headrace.formats.partitions import Partitions
from headrace_worker import App, DefinitionError, JobError, Queue, WorkerConfig, event_trigger
from headrace_worker.membership.setup import WorkerSetup


async def _nothing() -> None:
    """No run is executed here."""


def _define(app: App, job_id: str, **options: Any) -> None:
    app.job(id=job_id, trigger=event_trigger("x"), **options)(_nothing)


def test_a_job_with_a_concurrency_has_a_queue_of_its_own() -> None:
    """It is named as the job."""
    app = App("app")
    _define(app, "limited", concurrency=3)
    _define(app, "other")
    assert app.queues == ("default", "limited")
    assert app.queue("limited") == Queue("limited", concurrency=3)
    assert app.queue("default") == Queue("default", concurrency=None, weight=1)


def test_jobs_share_a_defined_queue() -> None:
    """By its definition or its name, in any order."""
    app, mail = App("app"), Queue("mail", concurrency=2, weight=3)
    _define(app, "first", queue="mail")
    _define(app, "second", queue=mail)
    _define(app, "third", queue=Queue("mail", concurrency=2, weight=3))
    assert app.queues == ("mail",)
    assert app.queue("mail") == mail


def test_two_definitions_of_a_queue_are_refused() -> None:
    """The error shows both."""
    app = App("app")
    _define(app, "first", queue=Queue("mail", concurrency=2))
    with pytest.raises(JobError, match=r"second.*twice: as Queue\(.*concurrency=2.*here as Queue\(.*concurrency=3"):
        _define(app, "second", queue=Queue("mail", concurrency=3))
    assert list(app.jobs) == ["first"]


def test_a_concurrency_needs_a_queue_of_its_own() -> None:
    """A queue beside it is refused, and the error says how to limit a queue that jobs share."""
    app = App("app")
    for queue in ("mail", Queue("mail")):
        with pytest.raises(JobError, match=r"write queue=Queue\('mail', concurrency=2\) instead"):
            _define(app, "job", queue=queue, concurrency=2)


def test_the_own_queue_of_a_job_is_shared_with_no_other() -> None:
    """Whichever is defined first."""
    app = App("app")
    _define(app, "limited", concurrency=1)
    with pytest.raises(JobError, match="queue 'limited' is the own queue of job 'limited'"):
        _define(app, "other", queue="limited")
    _define(app, "another", queue="sync")
    with pytest.raises(JobError, match="is the queue of job 'another'"):
        _define(app, "sync", concurrency=1)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "2", 1_000_001])
def test_a_bad_concurrency_is_refused(concurrency: Any) -> None:
    """Of a job as of a queue; the error names it and its rule."""
    with pytest.raises(JobError, match="concurrency must be a whole number from 1 to 1,000,000"):
        _define(App("app"), "job", concurrency=concurrency)
    with pytest.raises(DefinitionError, match="queue 'mail': concurrency must be"):
        Queue("mail", concurrency=concurrency)


@pytest.mark.parametrize("weight", [0, None, True, 0.5, 1_001])
def test_a_bad_weight_is_refused(weight: Any) -> None:
    """The error names it and its rule."""
    with pytest.raises(DefinitionError, match="queue 'mail': weight must be a whole number from 1 to 1,000"):
        Queue("mail", weight=weight)


def test_a_bad_name_of_a_queue_is_refused() -> None:
    """As everywhere."""
    with pytest.raises(DefinitionError, match="queue 'a/b' is not a name"):
        Queue("a/b")


def test_a_limit_is_divided_among_the_partitions() -> None:
    """Their parts are equal but for one, and together the limit."""
    app, partitions = App("app"), Partitions("ns", 3)
    _define(app, "job", concurrency=5)
    setups = [WorkerSetup.of(app, partitions, "redis://x", WorkerConfig(), partition=number) for number in range(3)]
    assert [setup.limit_of(setup.definitions[0]) for setup in setups] == [2, 2, 1]


def test_a_limit_that_can_not_be_divided_stops_the_start() -> None:
    """A partition without a part of it would never start a run."""
    app = App("app")
    _define(app, "job", concurrency=2)
    with pytest.raises(ConfigurationError, match=r"'job' has concurrency=2, .* among the 3 partitions"):
        WorkerSetup.of(app, Partitions("ns", 3), "redis://x", WorkerConfig())
