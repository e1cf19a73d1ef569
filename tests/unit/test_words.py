"""Words that the glossary has replaced stay out of the code and the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import PACKAGES, ROOT

RETIRED = {
    "bell": "wake-up stream",
    "buried": "dead-lettered",
    "bury": "move to `dead`, dead-letter",
    "in hand": "in flight",
    "lapsed": "expired",
    "last life": "quarantine",
    "lifeline": "control channel",
    "put back": "re-queue",
    "read ahead": "prefetch",
    "rehearsal": "script check",
    "seat": "dispatcher slot",
    "tether": "parent death",
    "unseat": "drop a dispatcher",
    "whoever": "the worker, the process, the caller",
}
"""What stands for each word now; `docs/design.md` has the glossary."""


def pages() -> Iterator[Path]:
    """Yield the sources of both packages and the pages for readers; the changelog tells of former names."""
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")
    for folder in ("docs", "deploy", "examples"):
        yield from (ROOT / folder).rglob("*.md")
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md")


@pytest.mark.parametrize("word", RETIRED)
def test_retired_words_stay_away(word: str) -> None:
    """Each is found as a whole word, whatever its case, with its plural."""
    pattern = re.compile(r"\b" + word.replace(" ", r"\s+") + r"s?\b", re.IGNORECASE)
    found = [str(page.relative_to(ROOT)) for page in pages() if pattern.search(page.read_text("utf-8"))]
    assert not found, f"write {RETIRED[word]!r} instead"
