"""Tests that stop or move Python's clocks, with freezegun or time-machine, use the kit as others do."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

_JOBS = """
import asyncio
from datetime import UTC, datetime
from headrace import Client, Event
from headrace_worker import App, JobIO, Retry, event_trigger

app = App("shop")
client = Client()
attempts = []

@app.job(id="welcome", trigger=event_trigger("user.new"))
async def welcome(payload, io: JobIO):
    await asyncio.sleep(0.01)
    await io.send_event("welcomed", Event("user.welcomed"), deliver_after=60)
    return datetime.now(UTC).year

@app.job(id="flaky", trigger=event_trigger("user.welcomed"), retry=Retry.fixed(3600, max_attempts=3))
def flaky():
    attempts.append(1)
    if len(attempts) == 1:
        raise ConnectionError("once")
    return datetime.now(UTC).year

@app.job(id="slow", trigger=event_trigger("slow"), timeout=0.05, retry=Retry.none())
async def slow():
    await asyncio.sleep(60)
"""

_TESTS = """
from datetime import UTC, datetime
import freezegun
import pytest
import shop
import time_machine
from headrace import Event
from headrace_worker.testing import acall_job

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
CLOCKS = {
    "freezegun": lambda: freezegun.freeze_time("2030-01-01"),
    "freezegun, at the epoch": lambda: freezegun.freeze_time("1970-01-01"),
    "freezegun, ticking": lambda: freezegun.freeze_time("2030-01-01", tick=True),
    "freezegun, with a real asyncio": lambda: freezegun.freeze_time("2030-01-01", real_asyncio=True),
    "freezegun, not for Headrace": lambda: freezegun.freeze_time("2030-01-01", ignore=["headrace"]),
    "time-machine": lambda: time_machine.travel(MOMENT, tick=False),
    "time-machine, ticking": lambda: time_machine.travel(MOMENT),
}

@pytest.fixture(params=CLOCKS)
def clock(request):
    shop.attempts.clear()
    return CLOCKS[request.param]

async def test_whole(headrace, clock):
    with clock():
        shop.client.send_event(Event("user.new"))
        runs = await headrace.run(shop.app)
        assert (runs["welcome"].output, len(runs)) == (datetime.now().year, 1)
        await headrace.travel(minutes=1)
        runs = await headrace.run(shop.app)
        assert (runs["flaky"].output, runs["flaky"].attempt) == (datetime.now().year, 2)
        headrace.assert_nothing_left()

def test_without_await(headrace_sync, clock):
    with clock():
        shop.client.send_event(Event("slow"), deliver_at=datetime.now(UTC))
        headrace_sync.travel(days=40_000)
        assert headrace_sync.run(shop.app, failures="keep")["slow"].status == "timed_out"

def test_attempt(call_job, clock):
    with clock():
        assert call_job(shop.app, "flaky").retry_after.total_seconds() == 3_600
        assert call_job(shop.app, "welcome", 1).output == datetime.now().year
        assert call_job(shop.app, "slow").status == "timed_out"

async def test_attempt_on_the_loop(clock):
    with clock():
        assert (await acall_job(shop.app, "slow")).status == "timed_out"
"""


def test_the_kit_works_while_clocks_stand(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs see the time of the test; delays, retries and timeouts end, by the clocks of system and server."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(shop=_JOBS, test_shop=_TESTS)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nheadrace_env = true\ntimeout = 30\n")
    result = pytester.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=7 * 4)
