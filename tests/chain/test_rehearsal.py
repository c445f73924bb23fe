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


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("model.teachers.near.standardize=phi_s", "model.teachers.standardize: unknown key"),
        ("model.teachers.near.weight=-1", "model.teachers.near.weight: -1; give a number at least 0"),
        ("model.teachers.wide.input_size=145", "model.teachers.wide.input_size: vit_tiny_patch16_224: image"),
        ("model.teachers.wide.statistics_steps=500", "teachers.wide.statistics_steps: 500, but the training has 260"),
        ("model.teachers.third.weight=1", "model.teachers.encoder.name: is required"),
        ("model.teacher={name: vit_tiny_patch16_224}", "model.teacher, teachers: give one of them"),
        ("model.teachers.wide.encoder.options={embed_dim: 92, depth: 2, num_heads: 2}",
         "model.teachers.wide: standardise: phi_s needs a Hadamard matrix as wide as the tokens"),
        ("model.teachers.wide.objective={class_path: gkd_lightning.baselines.TinyMIM}",
         "model.teachers.wide: TinyMIM needs equal tokens, got 145 and 325"),
        ("model.balance={class_path: gkd_lightning.distill.Dropping, init_args: {probability: 1.0}}",
         "model.balance.probability: 1; give a number above 0 and below 1"),
        ("model.offload=disk", "model.offload: cannot be disk"),
    ],
)  # fmt: skip
def test_mistakes_in_several_teachers(
    setting: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    run = ["run", "minicity/two_teachers", "--methods", "two_teachers", "--out", out]
    assert main([*run, "--set", f"task_agnostic:{setting}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not Path(out).exists()


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
