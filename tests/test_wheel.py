"""An installed wheel needs nothing of the checkout: recipes, configurations and the teacher travel with it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def gkd(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a new environment: this package from the wheel, its dependencies from the present one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin/gkd"


def call(gkd: Path, folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "GKD_DATA")}
    done = subprocess.run(
        [str(gkd), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "gkd_lightning/_shipped/configs/stage/task_agnostic.yaml",
        "gkd_lightning/_shipped/experiments/minicity/demo.yaml",
        "gkd_lightning/assets/minicity_teacher.safetensors",
        "gkd_lightning/report/report.html.j2",
        "gkd_lightning/deploy/card.md.j2",
        "gkd_lightning/py.typed",
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests/") or "bench/" in name or "/results/" in name for name in names)


def test_lists_work_in_an_empty_folder(gkd: Path, tmp_path: Path) -> None:
    assert "minicity/demo_quick" in call(gkd, tmp_path, "list", "recipes")
    assert "teacher/minicity.yaml" in call(gkd, tmp_path, "list", "teachers")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_runs_from_a_wheel(gkd: Path, tmp_path: Path) -> None:
    call(gkd, tmp_path, "demo", "--quick")
    assert "data:image/" in (tmp_path / "runs/minicity-demo-quick/report.html").read_text()
