"""A stage whose data changed says so; an evaluation of changed data is another one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from gkd_lightning.chain.data_changes import check_data_changes, evaluated_data
from gkd_lightning.chain.execution import run_stages
from gkd_lightning.cli import main
from gkd_lightning.cli.study import Study, execute
from gkd_lightning.data import FolderSegmentation, contents
from gkd_lightning.errors import UserError

FOLDER = "gkd_lightning.data.FolderSegmentation"
RECIPE = """
extends: minicity/demo
name: own
methods:
  none:
    title: None
    stages:
      - name: task
        configs:
          - [trainer/cpu.yaml, stage/task_small.yaml, data/segmentation_view.yaml, own.yaml]
          - {model.encoder: student/minicity_tiny.yaml}
        set: {trainer.max_steps: 2, trainer.precision: 32-true, model.num_classes: 2}
evaluate: {configs: [targets.yaml]}
"""
SET = f"{{class_path: {FOLDER}, init_args: {{images: %s/images, labels: %s/labels, classes: [a, b]}}}}"


def write(folder: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        cv2.imwrite(str(folder / f"images/{number}.png"), rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        cv2.imwrite(str(folder / f"labels/{number}.png"), rng.integers(0, 2, (96, 96), dtype=np.uint8))


def dataset(folder: Path) -> FolderSegmentation:
    return FolderSegmentation(str(folder / "images"), str(folder / "labels"), ["a", "b"])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_contents_follow_the_files_and_not_their_place(tmp_path: Path) -> None:
    write(tmp_path / "one")
    first = contents(dataset(tmp_path / "one"), labels=True)
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # other times of change, other folder
    assert contents(dataset(tmp_path / "two"), labels=True) == first
    image, label = (tmp_path / "two" / part / "1.png" for part in ("images", "labels"))
    without = contents(dataset(tmp_path / "two"), labels=False)
    shutil.copy(tmp_path / "two/labels/2.png", label)
    os.utime(label, ns=(1, 1))
    assert contents(dataset(tmp_path / "two"), labels=True) != first
    assert contents(dataset(tmp_path / "two"), labels=False) == without
    shutil.copy(tmp_path / "two/images/2.png", image)
    assert contents(dataset(tmp_path / "two"), labels=False) != without


def test_a_second_look_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    first = contents(dataset(tmp_path), labels=True)
    monkeypatch.setattr("gkd_lightning.data.archives.sha256", lambda path: pytest.fail(f"read {path}"))
    assert contents(dataset(tmp_path), labels=True) == first


def write_study(folder: Path) -> None:
    """`own_recipe.yaml` and its data, for commands that are given in this folder."""
    for name in ("source", "target"):
        write(folder / name)
    (folder / "own.yaml").write_text(
        "data:\n  class_path: gkd_lightning.data.SourceDataModule\n"
        "  init_args:\n    image_size: 96\n    batch_size: 2\n"
        f"    dataset: {SET % ('source', 'source')}\n"
    )
    (folder / "targets.yaml").write_text(
        "data:\n  class_path: gkd_lightning.data.TargetDataModule\n  init_args:\n    domains:\n"
        f"      night: {SET % ('target', 'target')}\n"
    )
    (folder / "own_recipe.yaml").write_text(RECIPE)


def test_an_interrupted_stage_says_that_its_data_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    plan = Study("own_recipe.yaml", methods="none").plan()
    (stage,) = plan.stages

    def interrupted(arguments: list[str]) -> None:
        (stage.directory / "resume.ckpt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("gkd_lightning.chain.stage_cli.StageCLI", interrupted)
    monkeypatch.setattr("gkd_lightning.data.archives.sha256", lambda path: pytest.fail(f"read {path}"))
    with pytest.raises(KeyboardInterrupt):
        run_stages(plan)
    assert stage.state() == "resume"
    check_data_changes(plan)
    shutil.copy("source/labels/2.png", "source/labels/1.png")
    told = "files of its training data have changed since it began; --from task trains it again, --accept-data goes on"
    with pytest.raises(UserError, match=told):
        check_data_changes(plan)
    with pytest.raises(UserError, match=told):
        execute(Study("own_recipe.yaml", methods="none"), only=stage.directory.name)
    check_data_changes(plan, accept=True)
    check_data_changes(plan)
    assert stage.state() == "resume"


@pytest.mark.slow
def test_changed_labels_are_told_and_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    command = ["run", "own_recipe.yaml", "--methods", "none"]
    assert main(command) == 0
    assert main(command) == 0
    (judged,) = Path("runs/own/evaluations").iterdir()
    (done,) = Path("runs/own/stages").glob("*/done.json")
    before = done.read_bytes()
    write(tmp_path / "target", seed=1)
    assert main(command) == 0
    assert len(list(Path("runs/own/evaluations").iterdir())) == 2
    assert done.read_bytes() == before
    write(tmp_path / "source", seed=1)
    capsys.readouterr()
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "files of its training data have changed since then; --from task trains it again" in line
    assert main([*command, "--accept-data"]) == 0
    assert main(command) == 0
    assert main([*command, "--from", "task"]) == 0
    assert judged.is_dir()


def test_what_is_evaluated_by_domain(tmp_path: Path) -> None:
    write(tmp_path)
    spec = {"class_path": FOLDER, "init_args": {"images": f"{tmp_path}/images", "labels": f"{tmp_path}/labels"}}
    spec["init_args"]["classes"] = ["a", "b"]  # type: ignore[index]
    found = evaluated_data({"data": {"init_args": {"domains": {"night": spec}}}})
    assert found == {"night": contents(dataset(tmp_path), labels=True)}
