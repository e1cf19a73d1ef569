"""The fixtures for tests of jobs, as a suite of an application uses them, in a pytest of its own."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

_JOBS = """
import asyncio
from headrace import Client, Event
from headrace_worker import App, JobIO, Retry, event_trigger

app = App("shop")
client = Client()
attempts = []

@app.job(id="welcome", trigger=event_trigger("user.new"))
async def welcome(payload, io: JobIO):
    await io.send_event("welcomed", Event("user.welcomed", payload))
    return "hello " + payload["id"]

@app.job(id="count", trigger=event_trigger("user.welcomed"))
def count(payload):
    return 1

@app.job(id="flaky", trigger=event_trigger("flaky"), retry=Retry.fixed(3600, max_attempts=3))
async def flaky(payload):
    attempts.append(payload)
    if len(attempts) < payload:
        raise ConnectionError("the bank is closed")

@app.job(id="broken", trigger=event_trigger("broken"), retry=Retry(max_attempts=1))
def broken(payload):
    raise LookupError("no such order")

@app.job(id="strict", trigger=event_trigger("strict"))
async def strict(payload: int):
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An application with jobs, and a client made at the import of its module."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(shop=_JOBS)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nheadrace_env = true\n")
    return pytester


def _run(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    suite.makepyfile(test_shop="import pytest\nfrom headrace import Event\nimport shop\n" + textwrap.dedent(tests))
    return suite.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider", *options)


def test_a_test_runs_jobs_and_sees_what_was_sent(suite: pytest.Pytester) -> None:
    """Events that jobs send are run too; each test begins with nothing."""
    result = _run(
        suite,
        """
        @pytest.mark.parametrize("n", [1, 2])
        async def test_welcome(headrace, n):
            shop.client.send_event(Event("user.new", {"id": "u_1"}))
            runs = await headrace.run(shop.app)
            assert runs["welcome"].output == "hello u_1"
            assert [run.job for run in runs] == ["shop/welcome", "shop/count"]
            assert len(headrace.assert_sent("user.welcomed", id=runs["count"].event_id, times=1)) == 1
            headrace.assert_nothing_left()

        def test_welcome_without_await(headrace_sync):
            shop.client.send_event(Event("user.new", {"id": "u_2"}))
            runs = headrace_sync.run(shop.app)
            assert runs["shop/count"].status == "succeeded"
            assert [event.name for event in headrace_sync.sent()] == ["user.new", "user.welcomed"]
        """,
    )
    result.assert_outcomes(passed=3)


def test_retries_come_at_once_and_delays_when_time_has_passed(suite: pytest.Pytester) -> None:
    """No test waits for an hour."""
    result = _run(
        suite,
        """
        async def test_retries(headrace):
            shop.client.send_event(Event("flaky", 3))
            runs = await headrace.run(shop.app, timeout=20)
            assert (runs["flaky"].status, runs["flaky"].attempt, len(shop.attempts)) == ("succeeded", 3, 3)

        async def test_delay(headrace):
            shop.client.send_event(Event("user.welcomed", 1, id="e7"), deliver_after=7 * 86_400)
            assert len(await headrace.run(shop.app)) == 0
            with pytest.raises(AssertionError, match="left are: 1 delayed event; of them event e7 .user.welcomed."):
                headrace.assert_nothing_left()
            await headrace.travel(days=6)
            assert len(await headrace.run(shop.app)) == 0
            await headrace.travel(days=1)
            assert (await headrace.run(shop.app))["count"].output == 1
            headrace.assert_nothing_left()

        def test_delay_without_await(headrace_sync):
            shop.client.send_event(Event("user.welcomed", 1), deliver_after=3600)
            headrace_sync.travel(hours=1)
            assert headrace_sync.run(shop.app)["count"].output == 1
        """,
    )
    result.assert_outcomes(passed=3)


def test_what_jobs_raise_is_raised_in_the_test(suite: pytest.Pytester) -> None:
    """The exceptions themselves, with the run's id; or the failures stay in the records."""
    result = _run(
        suite,
        """
        async def test_raised(headrace):
            shop.client.send_event(Event("broken"))
            shop.client.send_event(Event("strict", "no number"))
            with pytest.raises(ExceptionGroup, match="2 runs failed") as raised:
                await headrace.run(shop.app)
            kinds = {type(each).__name__: str(each) for each in raised.value.exceptions}
            assert kinds["LookupError"] == "no such order"
            assert "Expected `int`, got `str`" in kinds["RunFailed"]
            assert all("in run " in each.__notes__[0] for each in raised.value.exceptions)

        async def test_kept(headrace):
            shop.client.send_event(Event("broken"))
            runs = await headrace.run(shop.app, failures="keep")
            assert runs["broken"].error.type == "LookupError"
            with pytest.raises(AssertionError, match="1 dead letter; of them dead .*:shop/broken: .*no such order"):
                headrace.assert_nothing_left()

        async def test_not_settled(headrace):
            shop.client.send_event(Event("user.new", {"id": "u_1"}))
            from headrace_worker.testing import NotSettled
            with pytest.raises(NotSettled, match="after 0 s: 1 event to be dispatched; of them event "):
                await headrace.run(shop.app, timeout=0)
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_failing_assertion_shows_what_was_sent(suite: pytest.Pytester) -> None:
    """And not only that something was not."""
    result = _run(
        suite,
        """
        def test_nothing(headrace_sync):
            headrace_sync.assert_sent("user.new")

        def test_another(headrace_sync):
            shop.client.send_event(Event("user.new", {"plan": "free"}))
            headrace_sync.assert_sent("user.new", plan="pro")

        def test_too_often(headrace_sync):
            shop.client.send_events([Event("x"), Event("x")])
            headrace_sync.assert_sent("x", times=1)

        def test_id_of_the_payload(headrace_sync):
            shop.client.send_events([Event("y", {"id": "o_1"}), Event("y", 5)])
            headrace_sync.assert_sent("y", id="o_1")
        """,
    )
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines_random(
        [
            "*event 'user.new' was to be sent at least once, and was 0 times; nothing was sent",
            "*event 'user.new', plan='pro' was to be sent at least once, and was 0 times; sent were:",
            "*user.new {'plan': 'free'}",
            "*event 'x' was to be sent 1 times, and was 2 times; sent were:",
            "*; `id` is the event's own id; for the payload's write payload={'id': 'o_1'}; sent were:",
        ]
    )


def test_what_was_sent_is_compared_with_typed_events(suite: pytest.Pytester) -> None:
    """An instance is the event, or its payload; of each library, and with fields that are left to their defaults."""
    suite.makepyfile(
        events="""
        from dataclasses import dataclass
        from typing import ClassVar
        import msgspec, pydantic

        class New(msgspec.Struct, rename="camel"):
            __event__: ClassVar[str] = "new"
            user_id: str
            plan: str = "free"

        @dataclass
        class Left:
            __event__: ClassVar[str] = "left"
            user_id: str

        class Paid(pydantic.BaseModel):
            __event__: ClassVar[str] = "paid"
            price: int
        """
    )
    result = _run(
        suite,
        """
        from events import Left, New, Paid
        from headrace import InvalidArgument

        @pytest.mark.parametrize("event", [New("u_1"), Left("u_1"), Paid(price=5)], ids=str)
        def test_sent(headrace_sync, event):
            shop.client.send_event(event)
            headrace_sync.assert_sent(event, times=1)
            headrace_sync.assert_sent(type(event), payload=event)
            headrace_sync.assert_sent(event.__event__, payload=event, source="trigger.dev")
            headrace_sync.assert_sent(New("u_2"), times=0)
            assert headrace_sync.sent(type(event)) == headrace_sync.sent()

        def test_defaults(headrace_sync):
            shop.client.send_events([Event("new", {"userId": "u_1"}), Event("new", 5)])
            headrace_sync.assert_sent(New("u_1"), times=1)
            headrace_sync.assert_sent(New, payload=New("u_1"), user_id="u_1", times=1)

        def test_refused(headrace_sync):
            with pytest.raises(InvalidArgument, match="userId: New has no such field; fields of New: user_id, plan"):
                headrace_sync.assert_sent(New, times=0, userId="u")
            with pytest.raises(InvalidArgument, match="price_: Paid has no such field; fields of Paid: price"):
                headrace_sync.assert_sent(Paid, times=0, price_=5)
            with pytest.raises(InvalidArgument, match="event: must be a name, a typed event or the class of"):
                headrace_sync.assert_sent(5)
            with pytest.raises(InvalidArgument, match="payload: is what is given already"):
                headrace_sync.assert_sent(New("u_1"), payload=5)
        """,
    )
    result.assert_outcomes(passed=5)


def test_wrong_calls_of_the_kit_are_refused(suite: pytest.Pytester) -> None:
    """Where they would pass and do nothing, or fail far from the mistake."""
    result = _run(
        suite,
        """
        from datetime import timedelta
        from headrace import InvalidArgument
        from headrace_worker import Worker
        from headrace_worker.testing import call_job

        def test_no_loop(headrace):
            for call in (lambda: headrace.run(shop.app), lambda: headrace.travel(days=1)):
                with pytest.raises(InvalidArgument, match="a plain test takes the fixture headrace_sync"):
                    call()

        @pytest.mark.parametrize(("args", "parts"), [
            ((), {}), ((-1,), {}), ((float("nan"),), {}), (("1h",), {}), ((5,), {"days": 1}), ((), {"days": -1}),
            ((timedelta(-1),), {}), ((), {"months": 1}), ((), {"days": 1e99}),
        ])
        def test_no_time(headrace_sync, args, parts):
            with pytest.raises(InvalidArgument, match="travel: must be 0 seconds or more"):
                headrace_sync.travel(*args, **parts)

        def test_seconds(headrace_sync):
            shop.client.send_event(Event("user.welcomed", 1), deliver_after=60)
            headrace_sync.travel(30)
            headrace_sync.travel(timedelta(seconds=30))
            assert headrace_sync.run(shop.app)["count"].output == 1

        def test_no_app(headrace_sync):
            with pytest.raises(InvalidArgument, match="app: must be an App, not 'shop:app'; import it: from shop imp"):
                headrace_sync.run("shop:app")
            with pytest.raises(InvalidArgument, match="app: must be an App, not 'shop:app'"):
                call_job("shop:app", "count")
            with pytest.raises(InvalidArgument, match="app: must be an App, not None$"):
                Worker(None)
        """,
    )
    result.assert_outcomes(passed=12)


def test_dependencies_and_state_stand_for_the_app_s(suite: pytest.Pytester) -> None:
    """In one run of the kit; the app keeps its own."""
    suite.makepyfile(
        bank="""
        from contextlib import asynccontextmanager
        from typing import Annotated
        from headrace_worker import App, Depends, event_trigger

        @asynccontextmanager
        async def lifespan():
            yield ["a real pool"]

        app = App("bank", lifespan=lifespan, modules=["bank_jobs"])
        """,
        bank_jobs="""
        from typing import Annotated
        from headrace_worker import Depends, event_trigger
        from bank import app

        def rate(state):
            return f"the rate of {state[0]}"

        @app.job(id="pay", trigger=event_trigger("pay"))
        def pay(state, rate: Annotated[str, Depends(rate)]):
            return [state, rate]
        """,
    )
    result = _run(
        suite,
        """
        import bank
        from headrace import InvalidArgument

        async def test_stand_ins(headrace):
            shop.client.send_event(Event("pay"))
            runs = await headrace.run(bank.app, state=["a fake"])
            assert runs["pay"].output == [["a fake"], "the rate of a fake"]
            import bank_jobs
            shop.client.send_event(Event("pay"))
            runs = await headrace.run(bank.app, override={bank_jobs.rate: 7})
            assert runs["pay"].output == [["a real pool"], 7]
            shop.client.send_event(Event("pay"))
            assert (await headrace.run(bank.app))["pay"].output[1] == "the rate of a real pool"
            with pytest.raises(InvalidArgument, match="print is no dependency of pay; known are rate"):
                await headrace.run(bank.app, override={print: 1})
            with pytest.raises(InvalidArgument, match="no dependency of pay; give the function rate, not its name"):
                await headrace.run(bank.app, override={"rate": 1})

        def test_without_await(headrace_sync):
            shop.client.send_event(Event("pay"))
            assert headrace_sync.run(bank.app, state=["x"])["pay"].output[0] == ["x"]
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_test_that_leaves_something_behind_fails(suite: pytest.Pytester) -> None:
    """It is named: a function with its run and its place, and a worker that was not stopped."""
    result = _run(
        suite,
        """
        import asyncio, threading
        from headrace_worker import App, Retry, Worker, WorkerConfig, event_trigger

        app, go_on = App("left"), threading.Event()

        @app.job(id="endless", trigger=event_trigger("endless"), timeout=0.05, retry=Retry.none())
        def endless():
            go_on.wait(30)

        async def test_thread(headrace):
            shop.client.send_event(Event("endless", id="e1"))
            assert (await headrace.run(app, failures="keep"))["endless"].status == "timed_out"

        async def test_nothing(headrace):
            go_on.set()
            shop.client.send_event(Event("user.welcomed", 1))
            await headrace.run(shop.app)

        def test_worker(headrace_sync):
            started = threading.Event()

            async def work():
                worker = Worker(shop.app, config=WorkerConfig(block=0.05), on_started=started.set)
                await worker.run()

            threading.Thread(target=asyncio.run, args=(work(),), daemon=True).start()
            assert started.wait(30)
        """,
    )
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "the test has left: the function of run e1:left/endless still executes, at *test_shop.py:1?",
            "the test has left: a worker that was not stopped: call its stop()",
        ]
    )


def test_each_process_of_xdist_has_a_server_of_its_own(suite: pytest.Pytester) -> None:
    """So tests in parallel see nothing of each other."""
    result = _run(
        suite,
        """
        @pytest.mark.parametrize("n", range(6))
        async def test_alone(headrace, n):
            shop.client.send_event(Event("user.new", {"id": str(n)}))
            assert len(headrace.sent()) == 1
            assert (await headrace.run(shop.app))["welcome"].output == f"hello {n}"
        """,
        "-n", "2",
    )  # fmt: skip
    result.assert_outcomes(passed=6)


def test_tests_run_under_anyio(suite: pytest.Pytester) -> None:
    """The fixture belongs to no plugin for async tests."""
    result = _run(
        suite,
        """
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_welcome(headrace):
            shop.client.send_event(Event("user.new", {"id": "u_1"}))
            assert (await headrace.run(shop.app))["welcome"].output == "hello u_1"
        """,
        "-p", "no:asyncio", "-o", "asyncio_mode=",
    )  # fmt: skip
    result.assert_outcomes(passed=1)


def test_a_given_server_is_used_in_a_namespace_of_its_own(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """It is emptied key by key before a test, and nothing else on that server is touched."""
    monkeypatch.setenv("HEADRACE_TEST_URL", url)
    result = _run(
        suite,
        """
        def test_namespace(headrace_sync):
            assert headrace_sync.namespace == "test-main"
            assert headrace_sync.sent() == []
            shop.client.send_event(Event("user.new", {"id": "u_1"}))
            assert len(headrace_sync.sent()) == 1

        def test_again(headrace_sync):
            assert headrace_sync.sent() == []
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_plugin_alone_imports_nothing_of_headrace(suite: pytest.Pytester) -> None:
    """Coverage begins after plugins are loaded, and tests without the fixtures pay nothing."""
    suite.makepyfile(
        test_nothing="""
        import sys
        def test_imports():
            assert [name for name in sys.modules if name.split(".")[0] in ("headrace", "headrace_worker")] == []
        """
    )
    result = suite.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
