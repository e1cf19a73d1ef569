"""The examples have tests of their own, which pass, as an application's do."""

from __future__ import annotations

import shutil

import pytest

from tests.support.snippets import ROOT

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(("example", "tests"), [("github", 8), ("sealed", 2)])
def test_the_tests_of_an_example_pass(
    example: str, tests: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of its folder, with the settings there."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEALING_KEYS", "2026-11:b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28=")
    shutil.copytree(ROOT / "examples" / example, pytester.path, dirs_exist_ok=True)
    result = pytester.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=tests)
