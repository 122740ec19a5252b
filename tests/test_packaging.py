"""The distribution: what the wheel holds, what it imports, and that locks, Makefile and README agree with the code."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mien.edge.bundle import Bundle

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge", "train", "convert")
LAYERS = {
    "desktop": {"extras": ["desktop"], "groups": ["build"]},
    "headless": {"extras": ["headless"], "groups": ["build"]},
    "demo": {"extras": ["demo"], "groups": []},
    "train": {"extras": ["train", "kaggle"], "groups": []},
    "outlets": {"extras": ["web", "mqtt", "metrics"], "groups": []},
    "deploy": {"extras": ["deploy"], "groups": ["build"]},
    "test": {"extras": [], "groups": ["test"]},
    "browser": {"extras": [], "groups": ["browser"]},
    "lint": {"extras": [], "groups": ["lint"]},
}
"""File in locks/ → the parts of pyproject.toml that it locks, besides the base."""
COMMANDS = {
    "mien": "mien.edge.main:app",
    "mien-train": "mien.train.main:app",
    "mien-convert": "mien.convert.main:app",
}

in_checkout = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="about the checkout, which isn't here")


@cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stderr
    return result.stdout


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, so that nothing that lay in build/ gets into it."""
    if Version(importlib.metadata.version("setuptools")) < Version("77"):
        pytest.skip("setuptools is too old to build the wheel: make test installs one")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tree)]
    result = subprocess.run(build, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


@in_checkout
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {
        f"mien/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert "mien/edge/data/haarcascade_frontalface_default.xml" in held


@in_checkout
def test_the_wheel_carries_licences_and_metadata(wheel: zipfile.ZipFile) -> None:
    assert {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name} == {"LICENSE", "NOTICE"}
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(name).decode()
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))
    assert "Root-Is-Purelib: true" in wheel.read(name).decode()


# What is installed, editable or from the wheel


def test_the_installed_version_is_the_projects() -> None:
    assert importlib.metadata.version("mien") == project()["project"]["version"]


def test_the_commands_are_installed() -> None:
    points = importlib.metadata.distribution("mien").entry_points
    assert {point.name: point.value for point in points if point.group == "console_scripts"} == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_starts_without_tensorflow(command: str, tmp_path: Path) -> None:
    """`--help` and `--version` answer where only the device's part is installed."""
    module = COMMANDS[command].partition(":")[0]
    for option in ("--help", "--version"):
        out = python(
            f"import sys, atexit; sys.argv = [{command!r}, {option!r}]\n"
            "atexit.register(lambda: print('\\nloaded:', sorted({'tensorflow', 'keras'} & set(sys.modules))))\n"
            f"from {module} import app; app()"
        )
        assert ("Usage" in out) if option == "--help" else out.startswith(f"mien {project()['project']['version']}\n")
        assert out.endswith("loaded: []\n")
    script = Path(sys.executable).parent / command
    result = subprocess.run([script, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"mien {project()['project']['version']}\n")


def test_the_device_imports_neither_tensorflow_nor_the_workstation() -> None:
    """Each module of mien.edge in one fresh interpreter; the runtime and OpenCV included."""
    loaded = python(
        "import importlib, pkgutil, sys\n"
        "import mien.edge\n"
        "names = [module.name for module in pkgutil.walk_packages(mien.edge.__path__, 'mien.edge.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "from mien.edge.runtime import runtime_name; runtime_name()\n"
        "print(len(names), *sys.modules)"
    ).split()
    files = [
        path for path in (ROOT / "edge").rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT / "edge"
    ]
    assert int(loaded[0]) == len(files) or not files
    assert "cv2" in loaded
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {"tensorflow", "keras", "matplotlib", "skimage", "scipy", "picamera2"}
    assert not tops & {"starlette", "uvicorn", "paho", "prometheus_client", "rich"}
    assert not [name for name in loaded if name.startswith(("mien.train", "mien.convert"))]


@in_checkout
def test_the_device_installs_no_tensorflow() -> None:
    for layer in ("desktop", "headless", "demo"):
        assert not {"tensorflow", "keras", "tensorboard"} & set(pins(layer))


# The locks


@cache
def pins(layer: str) -> dict[str, Version]:
    """Package → version in locks/LAYER.txt, whose every line is checked on the way."""
    found: dict[str, Version] = {}
    hashes = 0
    lines = (ROOT / "locks" / f"{layer}.txt").read_text().splitlines()
    for line in lines:
        if pin := re.fullmatch(r"([a-z0-9][a-z0-9-]*)==([^\s;]+)( ; [^\\/:]+)? \\", line):
            assert hashes or not found, f"{layer}: the package before {line!r} has no hash"
            assert pin[1] not in found, f"{layer}: {pin[1]} is locked twice"
            found[pin[1]], hashes = Version(pin[2]), 0
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashes += 1
        else:
            assert line.startswith("# "), f"{layer}: unexpected line {line!r}"
            assert "/" not in line.replace("locks/", ""), f"{layer}: an address or path in {line!r}"
    assert hashes
    return found


def requirements(layer: str) -> Iterator[Requirement]:
    parts, data = LAYERS[layer], project()
    texts = list(data["project"]["dependencies"])
    for extra in parts["extras"]:
        texts += data["project"]["optional-dependencies"][extra]
    for group in parts["groups"]:
        texts += data["dependency-groups"][group]
    for text in texts:
        requirement = Requirement(text)
        if not requirement.marker or requirement.marker.evaluate(
            {"platform_machine": "x86_64", "python_version": "3.11"}
        ):
            yield requirement


@in_checkout
def test_every_part_of_the_project_is_locked() -> None:
    assert {path.stem for path in (ROOT / "locks").glob("*.txt")} == {*LAYERS, "armv7l"}
    locked = {name for parts in LAYERS.values() for name in (*parts["extras"], *parts["groups"])}
    assert locked == {*project()["project"]["optional-dependencies"], *project()["dependency-groups"]}


@in_checkout
@pytest.mark.parametrize("layer", LAYERS)
def test_a_lock_is_whole_free_of_addresses_and_in_step_with_the_project(layer: str) -> None:
    for requirement in requirements(layer):
        version = pins(layer).get(canonicalize_name(requirement.name))
        assert version and version in requirement.specifier, f"{requirement}: locked {version}; run make lock"


@in_checkout
def test_32_bit_devices_have_a_lock_of_their_own() -> None:
    wanted = [Requirement(text) for text in project()["project"]["dependencies"] if text.startswith("tflite-runtime")]
    assert [(each.name, str(each.specifier)) for each in wanted] == [
        (name, f"=={version}") for name, version in pins("armv7l").items()
    ]


@in_checkout
def test_the_locks_agree_with_each_other() -> None:
    versions: dict[str, Version] = {}
    for layer in LAYERS:
        for name, version in pins(layer).items():
            assert versions.setdefault(name, version) == version, f"{name} differs in locks/{layer}.txt"


@in_checkout
def test_both_builds_of_opencv_are_never_locked_together() -> None:
    builds = {layer: {name for name in pins(layer) if name.startswith("opencv")} for layer in LAYERS}
    assert builds.pop("desktop") == {"opencv-python"}
    assert builds.pop("headless") == {"opencv-python-headless"}
    assert not any(builds.values())


# The Makefile, the set-up and the README


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Without what an outer make, such as `make test`, hands down.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "-C", str(cwd), "--no-print-directory", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@in_checkout
def test_make_help_lists_every_target_with_a_line() -> None:
    listed = {line.split()[0] for line in make("help").stdout.splitlines() if re.match(r"  [a-z-]+ +\w", line)}
    assert listed == targets()
    assert make().stdout == make("help").stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(phony.split()) == targets()


@in_checkout
def test_make_passes_its_variables_on() -> None:
    commands = make("-n", "train", "convert", "DATA=a b.zip", "OUT=my run", "ARGS=--seed 3").stdout.splitlines()
    called = [shlex.split(line) for line in commands if line.startswith(".venv/bin/mien")]
    fit, convert = called
    assert fit[:6] == [".venv/bin/mien-train", "fit", "--data", "a b.zip", "--out", "my run"]
    assert fit[6:8] == ["--recipe", "deep"] and set(fit[8:-2:2]) == {"--teacher"} and fit[-2:] == ["--seed", "3"]
    assert convert[:4] == [".venv/bin/mien-convert", "run", "--model", "my run/model.keras"]
    assert convert[4:8] == ["--data", "a b.zip", "--out", "my run/bundle"]
    (demo,) = (line for line in make("-n", "demo", "SOURCE=my film.mp4").stdout.splitlines() if "mien demo" in line)
    assert shlex.split(demo) == [".venv/bin/mien", "demo", "my film.mp4", "--out", "out/demo"]


@in_checkout
def test_make_train_takes_the_teachers_that_are_kept_unless_asked_for_something_else() -> None:
    def options(*arguments: str) -> list[str]:
        (line,) = (line for line in make("-n", "train", *arguments).stdout.splitlines() if "mien-train fit" in line)
        return shlex.split(line)[6:]

    recipe, name, *teachers = options()
    assert (recipe, name) == ("--recipe", "deep") and set(teachers[::2]) == {"--teacher"}
    for path in teachers[1::2]:
        assert Bundle.load(ROOT / path).card.metrics["gate"]["passed"], path
    assert options("ARGS=--arch reference") == ["--arch", "reference"]
    assert options("ARGS=--recipe base") == ["--recipe", "base"]


@in_checkout
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PYTHON": "/bin/false"}, "PYTHON=/bin/false isn't a 64-bit Python 3.11 to 3.14"),
        ({"OPENCV": "both"}, "OPENCV is desktop or headless, not both"),
    ],
)
def test_a_setup_that_can_not_work_says_why_and_leaves_nothing(
    variables: dict[str, str], message: str, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path)
    result = subprocess.run(
        ["sh", "setup.sh"], env={"PATH": "/usr/bin:/bin", **variables}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"mien: error: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["setup.sh"]


def readme_commands() -> list[list[str]]:
    """The README's shell commands, comments removed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [words for block in blocks for line in block.splitlines() if (words := shlex.split(line, comments=True))]


@in_checkout
def test_the_readmes_make_commands_are_targets() -> None:
    used = [word for words in readme_commands() if words[0] == "make" for word in words[1:] if "=" not in word]
    assert {"demo", "test", "data", "train", "convert", "bench"} <= set(used) <= targets()


@in_checkout
def test_the_readmes_mien_commands_have_those_options() -> None:
    import typer

    from mien.convert.main import app as convert
    from mien.edge.main import app as edge
    from mien.train.main import app as train

    apps = {"mien": edge, "mien-train": train, "mien-convert": convert}
    checked = 0
    for words in readme_commands():
        if words[0] not in apps:
            continue
        command = typer.main.get_command(apps[words[0]])
        command.make_context(words[0], words[1:], resilient_parsing=True)
        name, *options = words[1:]
        assert name in command.commands, f"{shlex.join(words)}: no such command"  # type: ignore[attr-defined]
        known = {option for each in command.commands[name].params for option in each.opts}  # type: ignore[attr-defined]
        assert {option for option in options if option.startswith("--")} <= known, shlex.join(words)
        checked += 1
    assert checked >= 8


@in_checkout
def test_the_readmes_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert "://" in target or (ROOT / target).exists(), target
