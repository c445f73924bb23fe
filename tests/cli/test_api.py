"""`gkd_lightning.run` and `distil` are doors to what the command line does: same files, same mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gkd_lightning
from gkd_lightning.cli import main
from gkd_lightning.distill import load_heads
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256
from gkd_lightning.recipes.yaml_text import read_yaml
from tests.chain.artefacts import teacher_yaml
from tests.chain.studies import write_study
from tests.deploy.predict.made import picture

STUDENT = {
    "name": "vit_tiny_patch16_224",
    "patch_size": 8,
    "options": {"embed_dim": 32, "depth": 4, "num_heads": 2},
}
OURS = {"trainer.accelerator": "cpu", "data.num_workers": 0, "trainer.enable_progress_bar": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for index in range(6):
        Image.fromarray(picture(index)).save(tmp_path / f"photos/{index}.png")
    teacher_yaml(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def distil(**changes: Any) -> Path:
    usual: dict[str, Any] = {
        "teacher": "teacher.yaml", "student": STUDENT, "images": "photos", "out": "student", "steps": 2,
        "image_size": 32, "batch_size": 4, "settings": OURS,
    }  # fmt: skip
    return gkd_lightning.distil(**{**usual, **changes})


def test_distil_makes_what_fit_makes(folder: Path) -> None:
    student = distil()
    assert student == Path("student/student.safetensors")
    assert gkd_lightning.load_encoder(student).image_size == (32, 32)
    assert main(["fit", "--config", "student/config.yaml", "--trainer.default_root_dir", "again"]) == 0
    assert file_sha256("again/student.safetensors") == file_sha256(student)
    other = distil(out="other", settings={**OURS, "model.alpha": 0.1}, configs=["method/mse.yaml"], images=["photos"])
    assert file_sha256(other) != file_sha256(student)


def test_distil_takes_several_teachers(folder: Path) -> None:
    near, wide = "teacher.yaml", {"encoder": "teacher.yaml", "weight": 0.5, "input_size": 48}
    student = distil(teacher={"near": near, "wide": wide}, settings={**OURS, "model.balance": "dropping"})
    assert {name.split(".")[0] for name in load_heads(student)} == {"near/fea", "near/patch", "near/token",
                                                                    "wide/fea", "wide/patch", "wide/token"}  # fmt: skip
    teachers = read_yaml(folder / "student/config.yaml")["model"]["init_args"]["teachers"]
    assert (teachers["wide"]["weight"], teachers["wide"]["encoder"]["image_size"]) == (0.5, 48)
    assert teachers["near"]["encoder"]["image_size"] == 32
    one = distil(teacher={"near": near}, out="one")
    assert file_sha256(one) == file_sha256(distil(out="single"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "teacher/dinov9_s.yaml"}, "teacher/dinov9_s.yaml: no such configuration fragment, did you mean"),
        ({"student": {**STUDENT, "name": "vit_smal"}}, "vit_smal"),
        ({"images": "nowhere"}, "nowhere: no such folder"),
        ({"teacher": {}}, "teachers: names none"),
        ({"teacher": {"near": {"encoder": "teacher.yaml", "wieght": 1}}}, "wieght: unknown key, did you mean 'weight'"),
        ({"steps": 0}, "steps: 0: give 1 or more"),
        ({"out": "teacher.yaml"}, "out: teacher.yaml: is a file"),
        ({"batch_size": 0}, "data.batch_size"),
        ({"settings": {**OURS, "model.alpah": 1}}, "model.alpah: unknown key, did you mean 'alpha'"),
        ({"configs": ["method/msee.yaml"]}, "method/msee.yaml: no such configuration fragment"),
    ],
)
def test_mistakes_of_distil_are_those_of_fit(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        distil(**changes)
    assert not (folder / "student").exists()


@pytest.mark.slow
def test_run_does_what_the_command_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_study(folder))
    settings = {"trainer.max_steps": 2, "data.num_workers": 0}
    found = gkd_lightning.run(recipe, methods=["none"], seeds=[3], settings=settings, out="out")
    assert found.out == Path("out")
    assert list(found.artefacts) == [("none", 3)]
    assert gkd_lightning.load(found.artefacts["none", 3]).classes[0] == "sky"
    assert found.results is not None
    assert [(run.method, run.seed) for run in found.results.runs] == [("none", 3)]
    capsys.readouterr()
    options = [f"--set={key}={value}" for key, value in settings.items()]
    assert main(["run", recipe, "--methods", "none", "--seeds", "3", "--out", "out", *options]) == 0
    assert "finished before, skipped" in capsys.readouterr().out  # it is the very same stage


def test_mistakes_of_run_are_those_of_the_command(folder: Path) -> None:
    recipe = str(write_study(folder))
    for changes, message in (
        ({"recipe": "minicity/demoo"}, "minicity/demoo: no such recipe, did you mean"),
        ({"methods": ["gkdd"]}, "no method 'gkdd', did you mean 'gkd'"),
        ({"seeds": [-1]}, "--seeds -1: expected different whole numbers"),
        ({"settings": {"model.alpah": 1}}, "alpah"),
        ({"start": "taks"}, "--from taks: no such stage, did you mean 'task'"),
        ({"jobs": 0}, "--jobs 0: give 1 or more"),
    ):
        with pytest.raises(UserError, match=message):
            gkd_lightning.run(**{"recipe": recipe, "out": "out", **changes})
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_the_snippet_of_the_page_runs(folder: Path) -> None:
    recipe = write_study(folder)
    text = recipe.read_text().replace("  none:", "  other:").replace("max_steps: 13", "max_steps: 2")
    recipe.rename("mine.yaml").write_text(text.split("  other:")[0] + "evaluate: {configs: [targets.yaml]}\n")
    page = (Path(__file__).parents[2] / "docs/deploy.md").read_text(encoding="utf-8")
    _, code, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shorter = code.replace("steps=500", 'steps=2, settings={"data.num_workers": 0, "data.batch_size": 2}')
    found: dict[str, Any] = {"gkd_lightning": gkd_lightning}
    exec(shorter.replace('max_steps": 1000', 'max_steps": 2'), found)
    assert found["student"] == Path("distilled/student.safetensors")
    assert found["encoder"].image_size == (96, 96)
    assert found["model"].classes[0] == "sky"
    assert [run.method for run in found["done"].results.runs] == ["gkd"]


def test_the_root_offers_names_without_importing_them() -> None:
    program = (
        "import sys, gkd_lightning\nassert callable(gkd_lightning.run) and callable(gkd_lightning.distil)\n"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
