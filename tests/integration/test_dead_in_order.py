"""Dead letters are retried in the order in which they died."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headrace import Client, DeadLetter, Event, Page
from headrace_worker import App, Retry, event_trigger
from headrace_worker.operate.bulk import Rest, Times, carry_out, choose
from headrace_worker.operate.dead_letters import LetterRuns
from headrace_worker.operate.pace import Pace
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


@pytest.mark.parametrize("partitions", [1, 4])
async def test_runs_of_a_key_are_retried_in_order_of_failure(url: str, namespace: str, partitions: int) -> None:
    """All at once, more than a page of them, in one partition and in several; runs that fail again are left."""
    app, is_up, calls = App("app"), False, list[int]()

    @app.job(id="ledger", trigger=event_trigger("entry"), retry=Retry(max_attempts=1))
    async def ledger(payload: int) -> None:
        calls.append(payload)
        if not is_up or payload == 0:
            raise ConnectionError("the ledger is down")

    host = WorkerHost(url, namespace, partitions)
    with Client(url, namespace=namespace, partitions=partitions) as client:

        async def settled(count: int) -> None:
            await await_until(lambda: len(calls) == count and _open(client, ids) == 0, 60, what="settled runs")

        async with host.working(app):
            ids = [sent.id for sent in client.send_events([Event("entry", n) for n in range(230)], ordering_key="a")]
            await settled(230)
            is_up = True
            runs = LetterRuns(client)
            rest = Rest("dead retry", "", Times(client.server_time()))

            def read(times: Times, cursor: str | None, limit: int) -> Page[DeadLetter]:
                return runs.note(client.list_dead_letters(until=times.end, cursor=cursor, limit=limit))

            chosen = choose(read, 1_000, rest, pace=Pace(), oldest_first=True)
            retried = list(carry_out(chosen, runs.retry, pace=Pace("full")))
            assert [each.came_to.id for each in retried] == [f"{event_id}:app/ledger" for event_id in ids]
            await settled(460)
        assert calls[230:] == list(range(230))
        assert [letter.run_id for letter in client.iter_dead_letters()] == [f"{ids[0]}:app/ledger"]


def _open(client: Client, ids: Sequence[str]) -> int:
    return sum(not client.get_event(event_id).is_settled for event_id in (ids[0], ids[-1]))
