"""Examples of a payload are checked at the definition of their job, and are parameters of tests."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from headrace_worker import App, event_trigger
from headrace_worker.app.examples import Example
from headrace_worker.errors import JobError
from headrace_worker.testing import examples


class Made(msgspec.Struct):
    """An order was made."""

    __event__: ClassVar[str] = "order.made"
    id: int


class Paid(msgspec.Struct):
    """An order was paid."""

    __event__: ClassVar[str] = "order.paid"
    cents: int


def app_with(given: dict[Any, Any], annotation: Any = Made) -> App:
    app = App("shop")

    def function(payload: Any) -> None: ...

    function.__annotations__["payload"] = annotation
    trigger = None if annotation in (Made, Made | Paid) else event_trigger("any")
    app.job(id="job", trigger=trigger, examples=given)(function)
    return app


def test_examples_are_kept_with_the_event_that_they_fit() -> None:
    """Of a job for several typed events, the class of the payload or its fields say which."""
    app = app_with({"a": Paid(5), "b": {"cents": 1}, "c": {"id": 1}}, Made | Paid)
    assert app.examples["job"] == {
        "a": Example("order.paid", Paid(5)),
        "b": Example("order.paid", {"cents": 1}),
        "c": Example("order.made", {"id": 1}),
    }


@pytest.mark.parametrize(
    ("given", "annotation", "said"),
    [
        ({"a": {"id": "x"}}, Made, "a does not fit the job's payload: Expected `int`, got `str` - at `payload.id`"),
        ({"a": Paid(1)}, Made, "a is of 'order.paid' events"),
        ({"a b": {"id": 1}}, Made, "'a b' is no name"),
        ({"a": object()}, Any, "a can't be sent"),
    ],
    ids=["field", "class", "name", "value"],
)
def test_an_example_that_does_not_fit_is_refused(given: dict[Any, Any], annotation: Any, said: str) -> None:
    """At the definition of the job, which is not made."""
    with pytest.raises(JobError, match="job 'job': examples: ") as caught:
        app_with(given, annotation)
    assert said in str(caught.value)


def test_examples_are_parameters_of_a_test() -> None:
    """With the payload as the function gets it, under the names of the job and of the example."""
    app = app_with({"b": {"id": 2}, "a": Made(1)})
    assert [(each.id, each.values) for each in examples(app)] == [
        ("job-a", (app.jobs["job"], Made(1))),
        ("job-b", (app.jobs["job"], Made(2))),
    ]


def test_a_job_without_a_payload_may_have_examples() -> None:
    """Nothing parses them."""
    app = App("shop")
    app.job(id="job", trigger=event_trigger("any"), examples={"a": [1]})(lambda: None)
    assert [each.values[1] for each in examples(app)] == [[1]]
