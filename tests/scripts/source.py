"""What the scripts' own texts say: their headers, the keys and arguments that they use, the commands that they call."""

from __future__ import annotations

import re
from importlib.resources import files

from headrace.scripts import load

_FILES = sorted(file.name for file in files("headrace.scripts").iterdir() if file.name.endswith(".lua"))
SCRIPTS = [name.removesuffix(".lua") for name in _FILES if not name.startswith("_")]
"""The verbs."""
INCLUDES = [name.removesuffix(".lua") for name in _FILES if name.startswith("_")]

_CALL = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '(CREATE|DELCONSUMER|SETID)')?")
_CHUNKED = re.compile(r"call_in_chunks\('([A-Z]+)'")


def file_text(name: str) -> str:
    """Return the text of one file, its includes not in it."""
    return (files("headrace.scripts") / f"{name}.lua").read_text("utf-8")


def header_of(name: str) -> list[str]:
    """Return the lines at the beginning of a verb's file that say what it does."""
    lines = file_text(name).splitlines()
    return lines[: next(place for place, line in enumerate(lines) if not line.startswith("-- ") and line != "--")]


def arguments_of(name: str) -> list[str]:
    """Return the names of a verb's arguments, as its header describes them; empty if they have none."""
    return re.findall(r"^--   (\w+) +(?:map|list|text|bool|count|bytes|ms) ", "\n".join(header_of(name)), re.MULTILINE)


def code_of(name: str) -> str:
    """Return what a verb executes, includes and all, without its comments."""
    lines = load(name).text.splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def commands_of(name: str) -> set[str]:
    """Return the commands that a verb calls, as ACL rules name them: `hset`, `xgroup|create`."""
    code = code_of(name)
    found = {"|".join(part for part in each if part).lower() for each in _CALL.findall(code)}
    return found | {each.lower() for each in _CHUNKED.findall(code)}
