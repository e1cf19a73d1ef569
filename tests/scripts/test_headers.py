"""Each script's header says what its body does: its keys, its arguments, its answers."""

from __future__ import annotations

import re

import pytest

from headrace.scripts import load
from tests.scripts.source import INCLUDES, SCRIPTS, arguments_of, code_of, file_text, header_of

each_script = pytest.mark.parametrize("name", SCRIPTS)


def _described(name: str, array: str) -> list[str]:
    """Return what stands in the brackets of each line that describes keys or arguments: `1`, `1..5`, `3..`, `..`."""
    return re.findall(rf"^-- {array}\[([^\]]*)\]", "\n".join(header_of(name)), re.MULTILINE)


@each_script
def test_the_first_line_is_a_sentence(name: str) -> None:
    """The first line is one whole sentence, and a blank one sets it apart."""
    first, second = header_of(name)[:2]
    assert re.fullmatch(r"-- [A-Z].*[a-z`]\.", first)
    assert second == "--"


@each_script
@pytest.mark.parametrize("array", ["KEYS", "ARGV"])
def test_descriptions_are_gapless(name: str, array: str) -> None:
    """Keys and arguments are described in their order, without gaps; open ranges come last."""
    following, is_open = 1, False
    for described in _described(name, array):
        first, _, last = described.partition("..")
        assert is_open if not first else int(first) == following and not is_open
        is_open = described.endswith("..")
        following = int(last or first or 0) + 1


def _bounds(name: str, array: str) -> tuple[set[int], int | None]:
    """Return the places of an array that are described one by one, and the place where an open range begins."""
    described: set[int] = set()
    for each in _described(name, array):
        first, dots, last = each.partition("..")
        if first and dots and not last:
            return described, int(first)
        if first:
            described |= set(range(int(first), int(last or first) + 1))
    return described, None


def _reads_keys_in_order(name: str) -> bool:
    return "--@ include _keys" in file_text(name)


@each_script
@pytest.mark.parametrize("array", ["KEYS", "ARGV"])
def test_what_is_used_is_described_and_the_reverse(name: str, array: str) -> None:
    """Every index in the body is described, every described one is in the body, an open range as a computed one."""
    if array == "KEYS" and _reads_keys_in_order(name):
        return
    code = code_of(name)
    used = {int(index) for index in re.findall(rf"\b{array}\[(\d+)\]", code)}
    is_computed = re.search(rf"\b{array}\[(?!\d+\])|#{array}|concat\({array}", code) is not None
    described, begins_open = _bounds(name, array)
    if begins_open is None:
        assert used == described
    else:
        assert {index for index in used if index < begins_open} == described
        assert is_computed


@pytest.mark.parametrize("name", [name for name in SCRIPTS if _reads_keys_in_order(name)])
def test_keys_that_are_read_in_order_are_described(name: str) -> None:
    """The body takes one key for each that is described, whatever the call; an open range it takes by its data."""
    lines = [line.partition("--")[0] for line in file_text(name).splitlines()]
    assert not any("KEYS" in line for line in lines)
    always = [line for line in lines if line.startswith("local ") and "and next_key()" not in line]
    taken = sum(line.count("next_key()") for line in always)
    takes_more = any("take_keys(" in line or ("next_key()" in line and line not in always) for line in lines)
    described, begins_open = _bounds(name, "KEYS")
    assert described == set(range(1, taken + 1))
    assert takes_more == (begins_open is not None)


@each_script
def test_named_arguments_are_described_and_the_reverse(name: str) -> None:
    """Every argument that the body reads by its name is described, and every described one is read."""
    used = set(re.findall(r"\bargs\.(\w+)", file_text(name)))
    assert used == set(arguments_of(name))
    assert bool(used) == ("cmsgpack.unpack(ARGV[1])" in file_text(name))


@pytest.mark.parametrize("name", INCLUDES)
def test_shared_code_reads_no_arguments(name: str) -> None:
    """What several scripts include takes its inputs as parameters; only `_keys` reads KEYS."""
    code = re.sub(r"--.*", "", file_text(name))
    assert not re.search(r"\bargs\b|\bARGV\b", code)
    assert name == "_keys" or "KEYS" not in code


@each_script
def test_answers_are_described(name: str) -> None:
    """Every value that the body returns by name or by number is under Returns."""
    header = "\n".join(header_of(name))
    assert "-- Returns  " in header
    code = "\n".join(line for line in file_text(name).splitlines() if not line.startswith("--"))
    for answer in re.findall(r"^ *return \{? ?('\w+'|-?\d+)", code, re.MULTILINE):
        assert re.search(rf"Returns  .*{re.escape(answer)}", header), answer


@pytest.mark.parametrize("name", [*SCRIPTS, *INCLUDES])
def test_no_script_declares_flags(name: str) -> None:
    """A script with a `#!lua` line is refused by a full server, whatever it does."""
    assert "#!" not in file_text(name)


@each_script
def test_includes_are_in_their_places(name: str) -> None:
    """Nothing is left to include, and what is included is used."""
    assert "--@" not in load(name).text
    for include in re.findall(r"^--@ include (\w+)$", file_text(name), re.MULTILINE):
        functions = re.findall(r"^local function (\w+)", file_text(include), re.MULTILINE)
        rest = code_of(name).replace(file_text(include), "")
        assert any(len(re.findall(rf"\b{function}\(", rest)) > 1 for function in functions), include


@pytest.mark.parametrize("name", [*SCRIPTS, *INCLUDES])
def test_no_key_is_put_together(name: str) -> None:
    """A key comes from KEYS; only a channel's name is put together."""
    for command, key in re.findall(r"redis\.p?call\('([A-Z]+)',\s*([^,()]+)", file_text(name)):
        assert ".." not in key or command == "PUBLISH", f"{command} {key}"
