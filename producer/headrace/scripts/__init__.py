"""The Lua scripts, one a verb, and how they are loaded.

A line `--@ include _name` stands for the text of `_name.lua`, so that what several verbs share is written once.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

import msgspec

_INCLUDE = re.compile(r"^--@ include (_\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)


class Script(msgspec.Struct, frozen=True):
    """One script: its verb, its whole text and the SHA1 under which a server knows it."""

    name: str
    text: str
    sha: str


def _source(name: str) -> str:
    return (files(__name__) / f"{name}.lua").read_text("utf-8")


@cache
def load(name: str) -> Script:
    """Return the script of a verb, with its includes in their places and without the lines that are comments."""
    text = _COMMENT.sub("", _INCLUDE.sub(lambda match: _source(match[1]), _source(name)))
    # SHA1 is how Redis names scripts; nothing is protected by it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
