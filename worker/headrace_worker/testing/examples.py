"""The examples of an app's jobs, as parameters of a test."""

from __future__ import annotations

from typing import Any

from headrace_worker.app.app import App
from headrace_worker.app.examples import parsed


def examples(app: App) -> list[Any]:
    """Return a pytest parameter for each example of each job: the job, and the payload as its function gets it.

    Write `@pytest.mark.parametrize(("job", "payload"), examples(app))`; each has the id `<job id>-<name>`.
    """
    import pytest  # noqa: PLC0415 - only tests have it

    return [
        pytest.param(app.jobs[job_id], parsed(app.jobs[job_id], example), id=f"{job_id}-{name}")
        for job_id, of_job in sorted(app.examples.items())
        for name, example in sorted(of_job.items())
    ]
