"""The code that type checkers check covers the public interface."""

from __future__ import annotations

import ast
from importlib import import_module

import pytest

from tests.support.snippets import PAGES, ROOT, blocks


@pytest.mark.parametrize("package", ["headrace", "headrace_worker", "headrace_worker.testing"])
def test_each_public_name_is_checked(package: str) -> None:
    """Code in tests/typing imports it; the linter refuses an import that is not used."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests/typing").glob("*.py")]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in imports if node.module == package for alias in node.names}
    assert set(import_module(package).__all__) - imported == set()


def test_each_page_with_code_is_checked() -> None:
    """No page for readers shows Python that `tests.typing` does not write out."""
    folders = [ROOT / name for name in ("docs", "examples", "producer", "worker", "deploy", "bench")]
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(path for folder in folders for path in folder.rglob("*.md")),
    ]
    shown = [str(page.relative_to(ROOT)) for page in pages if blocks(str(page.relative_to(ROOT)), "python")]
    assert set(shown) - set(PAGES) == set()
