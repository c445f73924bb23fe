"""One fragment in the place of another changes what it should, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.chain.plan import Plan
from gkd_lightning.cli.study import Study
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.fragments import get_value

DATASET = "data.init_args.dataset.class_path"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))


def planned(tmp_path: Path, *settings: str) -> Plan:
    return Study("f2l/gtav", settings, methods="deit_s", out=tmp_path / "out").plan()


def test_another_teacher_in_both_distillations(tmp_path: Path) -> None:
    usual = planned(tmp_path)
    plan = planned(tmp_path, "teacher/dinov2_b.yaml=teacher/dinov3_b.yaml")
    names = [get_value(stage.config, "model.teacher.name") for stage in plan.stages]
    assert names == ["vit_base_patch16_dinov3.lvd1689m"] * 2 + [None]
    before = [get_value(stage.config, "model.teacher") for stage in usual.stages]
    for stage, was in zip(plan.stages[:2], before, strict=False):
        now = get_value(stage.config, "model.teacher")
        assert now["image_size"] == was["image_size"]  # the stage says how large, the teacher what it is
        assert now["patch_size"] == was["patch_size"]
        assert set(now) <= set(was) | {"options"}
    assert [stage.hash for stage in plan.stages] != [stage.hash for stage in usual.stages]


def test_another_source_leaves_1a_alone(tmp_path: Path) -> None:
    usual = planned(tmp_path)
    plan = planned(tmp_path, "data/gtav_source.yaml=data/cityscapes_source.yaml")
    assert plan.stages[0].hash == usual.stages[0].hash
    sets = [str(get_value(stage.config, DATASET)).rpartition(".")[2] for stage in plan.stages]
    assert sets == ["ImageNet", "Cityscapes", "Cityscapes"]


def test_another_proxy_another_student_other_targets(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "data: {init_args: {dataset: {class_path: gkd_lightning.data.ProxyImages, init_args: {root: photos}}}}"
    )
    plan = planned(
        tmp_path,
        f"data/imagenet_proxy.yaml={mine}",
        "task:student/deit_s.yaml=student/deit_b.yaml",
        "evaluate:data/citys_bdd_mapillary_targets.yaml=data/acdc_targets.yaml",
    )
    assert get_value(plan.stages[0].config, "data.init_args.dataset.init_args.root") == "photos"
    names = [get_value(stage.config, "model.student.name") for stage in plan.stages[:2]]
    assert {str(name).split("_")[1] for name in names} == {"small"}  # the scope said: the task stage alone
    assert "base" in get_value(plan.stages[2].config, "model.encoder.name")
    assert set(get_value(plan.evaluation, "data.init_args.domains")) >= {"acdc-night", "acdc-fog"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "teacher/dinov2_bb.yaml=teacher/dinov2_l.yaml",
            r"not used by this recipe, did you mean 'teacher/dinov2_b\.yaml'",
        ),
        ("task:teacher/dinov2_b.yaml=teacher/dinov2_l.yaml", r"not used by this recipe.*used: data/gtav_source"),
        ("teacher/dinov2_b.yaml=teacher/dinov2_x.yaml", "teacher/dinov2_x.yaml: no such configuration fragment"),
        ("teacher/dinov2_b.yaml=3", "give another fragment"),
        ("tusk:teacher/dinov2_b.yaml=teacher/dinov2_l.yaml", "no stage is named 'tusk', did you mean 'task'"),
    ],
)
def test_mistakes(setting: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        planned(tmp_path, setting)
