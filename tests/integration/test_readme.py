"""What the README and the docs show works as it stands there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace import Client, Event, RunRecord
from headrace_worker.testing import call_job
from tests.support.processes import Processes
from tests.support.snippets import blocks, write_modules
from tests.support.waiting import wait_until

pytest_plugins = ["pytester"]


def test_thirty_lines_of_the_readme_run(
    tmp_path: Path, processes: Processes, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job, the worker and the client of the README do together what it says."""
    job, client = blocks("README.md", "python")
    (tmp_path / "jobs.py").write_text(job)
    monkeypatch.setenv("HEADRACE_URL", url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
    worker = processes.worker("jobs:app", env={"PYTHONPATH": str(tmp_path)})
    worker.wait_for_line("worker started")

    exec(compile(client.replace("deliver_after=30", "deliver_after=0.1"), "README.md", "exec"), {})

    with Client() as asker:

        def three_runs() -> list[RunRecord] | None:
            runs = asker.list_runs(status="succeeded").items
            return runs if len(runs) == 3 else None

        runs = wait_until(three_runs, what="the run of welcome and both of audit")
    assert sorted(run.job for run in runs or ()) == ["billing/audit", "billing/audit", "billing/welcome"]
    assert {run.output for run in runs or ()} == {"welcomed u_1234", None}


@pytest.mark.leaves_records
@pytest.mark.parametrize("code", [*blocks("docs/values.md", "python"), *blocks("docs/sending.md", "python")])
def test_what_the_pages_on_sending_and_values_show_holds(
    code: str, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of their snippets runs, and what it asserts is so."""
    monkeypatch.setenv("HEADRACE_URL", url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
    exec(compile(code, "docs", "exec", dont_inherit=True), {"__name__": "snippet"})


def test_the_page_on_testing_shows_tests_that_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, with the settings that stand there."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL"):
        monkeypatch.delenv(name, raising=False)
    jobs, of_function, of_attempt, of_whole = blocks("docs/testing.md", "python")
    settings, _of_django = blocks("docs/testing.md", "ini")
    pytester.makepyfile(jobs=jobs, test_function=of_function, test_attempt=of_attempt, test_whole=of_whole)
    (pytester.path / "pytest.ini").write_text(settings)
    result = pytester.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=7)
    assert "Warning" not in result.stderr.str()


def test_the_page_on_web_applications_shows_one_that_works(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tests pass as they stand there; without a server's URL the application does not start."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL"):
        monkeypatch.delenv(name, raising=False)
    write_modules("docs/web.md", pytester.path)
    (pytester.path / "pytest.ini").write_text(blocks("docs/testing.md", "ini")[0])
    pytest_options = ("-p", "pytest_headrace", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*pytest_options).assert_outcomes(passed=2)
    pytester.makepyfile(
        start="""
        import pytest
        from fastapi.testclient import TestClient
        from headrace import ConfigurationError
        from orders.web import web

        def test_start():
            with pytest.raises(ConfigurationError, match="HEADRACE_URL"), TestClient(web):
                pass
        """
    )
    pytester.runpytest_subprocess(*pytest_options, "-o", "headrace_env=false", "start.py").assert_outcomes(passed=1)


def test_the_guide_to_jobs_shows_an_app_that_works(
    tmp_path: Path, processes: Processes, client: Client, url: str, namespace: str
) -> None:
    """Its modules, written where their first lines say, are an app, whose jobs fail and succeed as the guide says."""
    write_modules("docs/jobs.md", tmp_path)
    path_here = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    worker = processes.worker("shop.app:app", env={"PYTHONPATH": path_here})
    worker.wait_for_line("worker started")
    good = client.send_event(Event("order.placed", {"id": "o_1", "price": 5}, headers={"x-request-id": "r_1"}))
    bad = client.send_event(Event("order.placed", {"id": "o_2"}))
    (charged,) = client.wait_for_event(good.id, 30).runs
    (refused,) = client.wait_for_event(bad.id, 30).runs
    assert (charged.status, charged.output) == ("succeeded", 5)
    assert (refused.status, refused.attempt) == ("failed", 1)

    def mails() -> list[RunRecord]:
        return client.list_runs(job="shop/mail", status="succeeded").items

    env = {**os.environ, "HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace, "PYTHONPATH": path_here}
    subprocess.run([sys.executable, "send.py"], cwd=tmp_path, env=env, check=True, timeout=60)
    packed = client.send_event(Event("order.packed", {"stock": "ready", "parcels": ["p_1", "p_2"]}))
    (pack,) = client.wait_for_event(packed.id, 30).runs
    assert (pack.status, pack.output) == ("succeeded", 2)
    outputs = {run.job: run.output for run in client.list_runs(event_name="user.new").items}
    assert outputs == {"shop/welcome": "welcome, u_1", "shop/call-pro": "call u_1", "shop/count": 1}

    (mail,) = wait_until(mails, what="the run of the mail")
    assert mail.output == "a mail about o_1"
    line = json.loads(worker.wait_for_line(r'^.*"event": "mailing".*$')[0])
    assert (line["request"], line["run"]) == ("r_1", mail.id)
    worker.terminate()
    assert worker.wait() == 0


def test_the_guide_to_jobs_commits_before_it_sends(pytester: pytest.Pytester) -> None:
    """So no event says what the database does not have, and another attempt changes nothing more."""
    write_modules("docs/jobs.md", pytester.path)
    pytester.makepyfile(
        """
        from headrace_worker.testing import call_job
        from shop import orders
        from shop.app import app
        from shop.resources import State

        ORDER = {"id": "o_1", "price": 5}

        class Broken(orders.Session):
            async def commit(self):
                raise ConnectionError("the database is away")

        def test_no_commit():
            attempt = call_job(app, "charge", ORDER, state=State(), override={orders.session: lambda: Broken({})})
            assert (attempt.status, len(attempt.sent)) == ("waiting", 0)

        def test_two_attempts():
            state = State()
            for number in (1, 2):
                assert call_job(app, "charge", ORDER, state=state, attempt=number).sent["charged"] == ORDER
            assert state.rows == {"o_1": 5}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_jobs_of_the_readme_are_tested_without_a_server() -> None:
    """As a user tests them: by one attempt of each."""
    module: dict[str, Any] = {"__name__": "jobs"}
    exec(compile(blocks("README.md", "python")[0], "README.md", "exec", dont_inherit=True), module)
    attempt = call_job(module["app"], "welcome", {"userId": "u_1", "plan": "pro"})
    assert (attempt.output, attempt.sent["welcomed"]) == ("welcomed u_1", {"userId": "u_1"})
    assert call_job(module["app"], "welcome", {"userId": 1, "plan": "pro"}).status == "invalid_payload"
    assert call_job(module["app"], "audit", {"any": "1"}, name="user.welcomed").status == "succeeded"


def test_thirty_lines_are_not_many_more() -> None:
    """What the README calls thirty lines to a running job is about that."""
    job = blocks("README.md", "python")[0]
    assert len([line for line in job.splitlines() if line.strip()]) <= 30


def test_the_codec_of_the_security_page_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """An object with the two methods that the page shows is a codec to a client and to an app."""
    monkeypatch.setenv("HEADRACE_URL", url)
    (code,) = blocks("docs/security.md", "python")
    exec(compile(code, "docs/security.md", "exec"), {})


@pytest.mark.parametrize("code", blocks("docs/filters.md", "python"))
def test_snippets_of_the_filter_page_run(code: str) -> None:
    """Each snippet of the page on filters runs, and its assertions hold."""
    exec(compile(code, "docs/filters.md", "exec"), {})
