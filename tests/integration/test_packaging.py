"""What is distributed is whole: code, scripts and types, with the dependencies that it needs and no others."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build_wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], zipfile.ZipFile]:
    """Build the wheel of a distribution from its folder, as pip does, with what is installed."""

    def build(distribution: str) -> zipfile.ZipFile:
        target = tmp_path_factory.mktemp(distribution)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
        done = subprocess.run(command, cwd=ROOT / distribution, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (wheel,) = target.glob("*.whl")
        return zipfile.ZipFile(wheel)

    return build


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def sources(package: str) -> set[str]:
    """The files of a package that belong to it."""
    folder = ROOT / package
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.suffix in {".py", ".lua"} or path.name == "py.typed"
    }


@pytest.mark.parametrize(("distribution", "package"), [("producer", "headrace"), ("worker", "headrace_worker")])
def test_a_wheel_has_every_file_of_its_package(
    build_wheel: Callable[[str], zipfile.ZipFile], distribution: str, package: str
) -> None:
    """Modules, scripts and the mark of its types, and nothing but them and its own description."""
    beside = {"headrace_command.py", "pytest_headrace.py"} if distribution == "worker" else set()
    expected = sources(f"{distribution}/{package}") | beside
    found = {name for name in build_wheel(distribution).namelist() if ".dist-info/" not in name}
    assert f"{package}/py.typed" in expected
    assert found == expected


def test_the_client_has_its_scripts(build_wheel: Callable[[str], zipfile.ZipFile]) -> None:
    """They are read from the installed package."""
    found = {Path(name).name for name in build_wheel("producer").namelist() if name.endswith(".lua")}
    assert {"send.lua", "cancel.lua", "watch.lua", "rerun.lua", "_time.lua"} <= found


def test_the_client_brings_three_dependencies(build_wheel: Callable[[str], zipfile.ZipFile]) -> None:
    """Redis with hiredis, msgspec and python-ulid: a web application that only sends installs no more."""
    required = metadata(build_wheel("producer")).get_all("Requires-Dist", [])
    assert sorted(line.partition(">")[0].partition("<")[0].strip() for line in required) == [
        "msgspec",
        "python-ulid",
        "redis[hiredis]",
    ]


def test_the_worker_needs_the_client_of_its_own_version(build_wheel: Callable[[str], zipfile.ZipFile]) -> None:
    """They share scripts and formats."""
    worker, client = metadata(build_wheel("worker")), metadata(build_wheel("producer"))
    assert worker["Version"] == client["Version"]
    assert f"headrace=={client['Version']}" in worker.get_all("Requires-Dist", [])


@pytest.mark.parametrize(("distribution", "package"), [("producer", "headrace"), ("worker", "headrace_worker")])
def test_a_wheel_says_what_it_is(
    build_wheel: Callable[[str], zipfile.ZipFile], distribution: str, package: str
) -> None:
    """Its licence is in it, its version that of the code, and it asks for a Python that it runs on."""
    wheel = build_wheel(distribution)
    about = metadata(wheel)
    assert about["License-Expression"] == "MIT"
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())
    assert about["Requires-Python"] == ">=3.11"
    assert f'__version__ = "{about["Version"]}"' in wheel.read(f"{package}/__init__.py").decode()


def test_the_client_can_be_installed_alone(build_wheel: Callable[[str], zipfile.ZipFile], tmp_path: Path) -> None:
    """Unpacked somewhere else it loads every script, without the worker and without this folder."""
    build_wheel("producer").extractall(tmp_path)
    code = (
        "import sys; sys.modules['headrace_worker'] = None\n"
        "import headrace, headrace.scripts as scripts, pathlib\n"
        f"assert pathlib.Path(headrace.__file__).is_relative_to({str(tmp_path)!r})\n"
        "names = [path.stem for path in pathlib.Path(scripts.__file__).parent.glob('[a-z]*.lua')]\n"
        "print(len([scripts.load(name) for name in names]))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((ROOT / "producer/headrace/scripts").glob("[a-z]*.lua")))


def test_the_worker_brings_the_command_and_the_plugin(build_wheel: Callable[[str], zipfile.ZipFile]) -> None:
    """By entry points: the module that can be interrupted as it loads the rest, and pytest's plugin under its name."""
    wheel = build_wheel("worker")
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    found = wheel.read(name).decode()
    assert "[console_scripts]\nheadrace = headrace_command:main\n" in found
    assert "[pytest11]\npytest_headrace = pytest_headrace\n" in found
