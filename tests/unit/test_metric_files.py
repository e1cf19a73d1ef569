"""The files of metrics have their space before a value is written, or the value waits in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from headrace_worker.metrics import metric_files
from headrace_worker.metrics.metric_files import ValueFile, shrink, take_fault

KEY = "k" * 200


@pytest.fixture(autouse=True)
def _no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "_RETRY_S", 0.0)
    take_fault()


def values_in(path: Path) -> dict[str, float]:
    """What prometheus-client itself reads."""
    read = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {key.rstrip(): value for key, value, _, _ in read}


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_file_has_no_holes_as_it_is_made_and_as_it_grows(tmp_path: Path) -> None:
    """So no write into it can meet a full disk."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    written = {}
    for number in range(2_000):
        key = f"{KEY}{number}"
        assert file.read_value(key) == (0.0, 0.0)
        file.write_value(key, float(number), 0.0)
        written[key] = float(number)
        if number in (0, 1_999):
            assert allocated(path) >= path.stat().st_size >= 65_536
    assert path.stat().st_size == 524_288
    assert values_in(path) == written
    assert file.read_value(f"{KEY}7") == (7.0, 0.0)
    assert take_fault() == ""
    file.close()


def test_what_a_file_holds_outlives_its_process(tmp_path: Path) -> None:
    """A process with the same id counts on, also in a file that was cut to what it used."""
    path = tmp_path / "counter_77.db"
    file = ValueFile(str(path))
    for number in range(10):
        file.read_value(f"{KEY}{number}")
        file.write_value(f"{KEY}{number}", 1.0, 0.0)
    file.close()
    before = values_in(path)
    for _ in range(2):
        shrink(tmp_path, 77)
        assert path.stat().st_size < 4_096
        assert values_in(path) == before
    again = ValueFile(str(path))
    assert again.read_value(f"{KEY}3")[0] == 1.0
    again.write_value(f"{KEY}new", 5.0, 0.0)
    assert values_in(path) == {**before, f"{KEY}new": 5.0}
    again.close()


def test_what_can_t_be_kept_is_written_when_it_can(tmp_path: Path) -> None:
    """A folder that is gone raises nothing, and comes back with the last values."""
    path = tmp_path / "gone" / "counter_1.db"
    file = ValueFile(str(path))
    assert file.read_value(KEY) == (0.0, 0.0)
    file.write_value(KEY, 3.0, 0.0)
    assert "No such file or directory" in take_fault()
    path.parent.mkdir()
    file.write_value(KEY, 4.0, 0.0)
    assert values_in(path) == {KEY: 4.0}
    assert take_fault() == ""
    file.close()


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\x7f", b"x", b"\x00\x10\x00\x00" + b"\xff" * 4_092])
def test_a_damaged_file_raises_nothing(tmp_path: Path, damage: bytes) -> None:
    """It is said, and the values stay in memory."""
    path = tmp_path / "counter_1.db"
    path.write_bytes(damage)
    file = ValueFile(str(path))
    file.read_value(KEY)
    file.write_value(KEY, 1.0, 0.0)
    assert take_fault()
    assert path.read_bytes() == damage
    file.close()


def test_a_file_that_can_t_grow_goes_on_with_what_it_has(tmp_path: Path) -> None:
    """Neither a file that can't be made nor one that can't grow is left in parts; values with a place are written."""
    code = f"""
import resource, sys
from headrace_worker.metrics.metric_files import ValueFile, take_fault
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk, but for this process only
file = ValueFile({str(tmp_path / "counter_1.db")!r})
for number in range(1_000):
    key = {KEY!r} + str(number)
    file.read_value(key)
    file.write_value(key, 1.0, 0.0)
assert "too large" in take_fault()
file.write_value({KEY!r} + "0", 2.0, 0.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
other = ValueFile({str(tmp_path / "gauge_all_1.db")!r})
other.write_value("key", 1.0, 0.0)
assert "too large" in take_fault()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["counter_1.db"]
    values = values_in(tmp_path / "counter_1.db")
    assert values[f"{KEY}0"] == 2.0
    assert 250 < len(values) < 300
    assert (tmp_path / "counter_1.db").stat().st_size == 65_536
