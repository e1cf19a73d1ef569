"""What the README and the docs show works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace import Client, Event, RunRecord
from tests.support.processes import Processes
from tests.support.waiting import wait_until

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a document in one language."""
    text = (ROOT / document).read_text("utf-8")
    return [code for kind, code in _BLOCK.findall(text) if kind == language]


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
@pytest.mark.parametrize("code", blocks("docs/values.md", "python"))
def test_what_the_page_on_values_shows_holds(
    code: str, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its snippets runs, and what it asserts is so."""
    monkeypatch.setenv("HEADRACE_URL", url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
    exec(compile(code, "docs/values.md", "exec", dont_inherit=True), {"__name__": "values"})


def test_the_page_on_testing_shows_tests_that_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, with the settings that stand there."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL"):
        monkeypatch.delenv(name, raising=False)
    jobs, of_function, of_whole = blocks("docs/testing.md", "python")
    (settings,) = blocks("docs/testing.md", "ini")
    pytester.makepyfile(jobs=jobs, test_function=of_function, test_whole=of_whole)
    (pytester.path / "pytest.ini").write_text(settings)
    result = pytester.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)


def test_the_guide_to_jobs_shows_an_app_that_works(
    tmp_path: Path, processes: Processes, client: Client, url: str, namespace: str
) -> None:
    """Its modules, written where their first lines say, are an app, whose jobs fail and succeed as the guide says."""
    for code in blocks("docs/jobs.md", "python"):
        path = tmp_path / code.split("\n", 1)[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    path_here = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    worker = processes.worker("shop.app:app", env={"PYTHONPATH": path_here})
    worker.wait_for_line("worker started")
    good = client.send_event(Event("order.placed", {"id": "o_1", "price": 5}))
    bad = client.send_event(Event("order.placed", {"id": "o_2"}))
    (charged,) = client.wait_for_event(good.id, 30).runs
    (refused,) = client.wait_for_event(bad.id, 30).runs
    assert (charged.status, charged.output) == ("succeeded", 1)
    assert (refused.status, refused.attempt) == ("failed", 1)

    def mails() -> list[RunRecord]:
        return client.list_runs(job="shop/mail", status="succeeded").items

    env = {**os.environ, "HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace, "PYTHONPATH": path_here}
    subprocess.run([sys.executable, "send.py"], cwd=tmp_path, env=env, check=True, timeout=60)
    outputs = {run.job: run.output for run in client.list_runs(event_name="user.new").items}
    assert outputs == {"shop/welcome": "welcome, u_1", "shop/call-pro": "call u_1", "shop/count": 1}

    (mail,) = wait_until(mails, what="the run of the mail")
    assert mail.output == "a mail about o_1"
    worker.terminate()
    assert worker.wait() == 0


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
