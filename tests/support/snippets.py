"""The code that the pages for readers show."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("README.md", "producer/README.md", "worker/README.md", "docs/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# ([\w/]+\.py)\n")


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    text = (ROOT / page).read_text("utf-8")
    return [code for kind, code in _BLOCK.findall(text) if kind == language]


def write_modules(page: str, folder: Path) -> None:
    """Write each Python block of a page where its first line says, or under the name of its page and its place."""
    for place, code in enumerate(blocks(page, "python"), 1):
        named = _PATH.match(code)
        name = named[1] if named else re.sub(r"\W", "_", page.removesuffix(".md")) + f"_{place}.py"
        path = folder / name
        if path.exists():
            raise FileExistsError(f"{page} shows {name}, and so does another page")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, "utf-8")
