"""Two workers have the same name, which only a broken random generator can cause."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import headrace_worker.worker
from tests.faults.deployment import Deployment
from tests.support.waiting import await_until


async def test_two_workers_of_one_name_settle_each_run_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pending entries of one are those of the other too, so both may call a function; only one outcome counts.

    When one of them stops, the other one goes on: under a new name, unless it had the old one known again before it
    noticed that it was gone.
    """
    monkeypatch.setattr(headrace_worker.worker, "new_name", lambda: "twin")
    settings: dict[str, Any] = {"lease": 2, "block": 0.2, "grace": 0.0, "concurrency": 20}
    async with deployment.working(deployment.app("load"), **settings) as staying:
        async with deployment.working(deployment.app("load"), **settings) as leaving:
            assert leaving.name == staying.name == "twin"
            ids = deployment.send_many("load", 200)
            await await_until(lambda: deployment.calls.count() > 100, 30, what="both to be at work")
        await deployment.drained("load")
        await await_until(lambda: deployment.is_registered(staying.name), 30, what="a name that is known")
        ids += deployment.send_many("load", 10)
        await deployment.drained("load")
    settled = Counter(run for _, fields in deployment.redis.xrange(deployment.keys.runs) for run in fields)
    assert sum(settled.values()) == 630
    assert set(settled.values()) == {1}
    assert all(deployment.statuses(event) == dict.fromkeys("abc", "succeeded") for event in ids)
