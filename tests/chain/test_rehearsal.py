"""Mistakes of the last stage are told before the first has trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.cli import main

CLASSES = "[a, b, c, d, e, f, g, h]"
FOLDER = (
    "task:data.dataset={class_path: gkd_lightning.data.FolderSegmentation, init_args: "
    f"{{images: x, labels: y, classes: {CLASSES}}}}}"
)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["task:model.num_classes=7"], "stage task of gkd: model.num_classes: 7, but the data has 8 classes (sky"),
        (
            ["task_agnostic:model.num_heads=5"],
            "stage task_agnostic of gkd: model.num_heads: the teacher's width 192 is not",
        ),
        (["domain_agnostic:model.student.patch_size=7"], "stage domain_agnostic of gkd: "),
        ([FOLDER], "stage task of gkd: data: the classes of "),
        (
            ["task:model.class_path=gkd_lightning.distill.DomainGeneralDistillation"],
            "stage task of gkd: ",
        ),
    ],
    ids=["classes", "heads", "patch", "targets", "model"],
)
def test_told_before_anything_runs(
    settings: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [part for setting in settings for part in ("--set", setting)]
    assert main(["run", "minicity/demo", "--methods", "gkd", "--out", "out", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not Path("out").exists()


def test_a_row_that_ends_without_a_segmenter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "half.yaml"
    recipe.write_text("""
extends: minicity/demo
name: half
methods:
  half:
    title: Half
    stages:
      - name: task_agnostic
        configs:
          - stage/task_agnostic_small.yaml
          - data/minicity_proxy.yaml
          - {model.teacher: teacher/minicity.yaml}
          - {model.student: student/minicity_tiny.yaml}
""")
    assert main(["run", str(recipe), "--methods", "half", "--out", str(tmp_path / "out")]) == 2
    assert "methods.half: its last stage 'task_agnostic' makes no segmenter" in capsys.readouterr().err
