"""Finished means whole, finite and trained; what interrupts or moves a run leaves nothing that misleads the next."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gkd_lightning.chain.execution import check_plan, run_stages
from gkd_lightning.chain.grid import combinations
from gkd_lightning.chain.lock import locked
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import load_recipe
from tests.chain.test_selection import Scored, WithValidation
from tests.chain.toys import CONFIG

RECIPE = "name: toy\ncommon: {configs: [toy.yaml]}\nmethods: {one: {stages: [{name: first}]}}\n"


def plan_of(folder: Path, *settings: tuple[str, Any]) -> Plan:
    (folder / "toy.yaml").write_text(CONFIG)
    (folder / "recipe.yaml").write_text(RECIPE)
    return make_plan(load_recipe(str(folder / "recipe.yaml")), folder / "out", settings)


@pytest.mark.parametrize("key", ["max_steps", "max_epochs", "limit_train_batches"])
def test_a_training_of_nothing_is_refused(tmp_path: Path, key: str) -> None:
    told = rf"trainer\.{key}: 0 trains nothing"
    with pytest.raises(UserError, match=f"stage first of one: {told}"):
        check_plan(plan_of(tmp_path, (f"trainer.{key}", 0)))
    with pytest.raises(UserError, match=told):
        StageCLI(["--config", str(tmp_path / "toy.yaml"), f"--trainer.{key}", "0"])


def test_a_seed_is_no_setting(tmp_path: Path) -> None:
    for setting in ("seed_everything", "first:seed_everything"):
        with pytest.raises(
            UserError, match=r"stage first: seed_everything: seeds are the recipe's `seeds`, or --seeds"
        ):
            plan_of(tmp_path, (setting, 5))


def test_a_stage_that_lost_a_file_is_not_finished(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    (stage,) = plan.stages
    run_stages(plan)
    record = stage.directory / "student.json"
    record.write_text("{}")
    manifest = stage.manifest()
    assert manifest is not None
    assert manifest["files"] == ["student.safetensors"]
    (stage.directory / "done.json").unlink()
    run_stages(plan)
    assert (stage.manifest() or {})["files"] == ["student.json", "student.safetensors"]
    record.unlink()
    assert stage.state() == "run"


def interrupted(folder: Path) -> Path:
    """A run's folder with a checkpoint after step 8 of 13, and the best weights after the second of three looks."""
    config = folder / "toy.yaml"
    text = CONFIG.replace("tests.chain.toys.ToyStage", f"{Scored.__module__}.Scored")
    text = text.replace("tests.chain.toys.ToyData", f"{WithValidation.__module__}.WithValidation")
    config.write_text(
        text.replace("max_steps: 13", "max_steps: 13, val_check_interval: 4, check_val_every_n_epoch: null")
        + "selection: source-val\n"
    )
    StageCLI([*arguments(folder, "begun"), "--trainer.max_steps", "11"]).run()
    return folder / "begun"


def arguments(folder: Path, name: str) -> list[str]:
    return ["--config", str(folder / "toy.yaml"), "--trainer.default_root_dir", str(folder / name)]


def test_a_copied_run_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    begun = interrupted(tmp_path)
    assert str(tmp_path).encode() not in (begun / "resume.ckpt").read_bytes()
    shutil.copytree(begun, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in begun.iterdir()}
    StageCLI([*arguments(tmp_path, "copy"), "--ckpt_path", str(tmp_path / "copy/resume.ckpt")]).run()
    assert {path.name: path.read_bytes() for path in begun.iterdir()} == before
    shutil.move(begun, tmp_path / "moved")
    StageCLI([*arguments(tmp_path, "moved"), "--ckpt_path", str(tmp_path / "moved/resume.ckpt")]).run()
    ours, theirs = ((tmp_path / name / "student.safetensors").read_bytes() for name in ("copy", "moved"))
    assert ours == theirs
    best = torch.load(tmp_path / "moved/best.ckpt", weights_only=True)["state_dict"]["map.weight"]
    assert torch.equal(torch.load(tmp_path / "copy/best.ckpt", weights_only=True)["state_dict"]["map.weight"], best)


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    path = interrupted(tmp_path) / "resume.ckpt"
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["state_dict"]["map.weight"].numpy().tobytes()
    place = content.find(weight)
    assert place > 0
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"resume.ckpt: damaged since it was written .* --from"):
        StageCLI([*arguments(tmp_path, "begun"), "--ckpt_path", str(path)]).run()


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    holding = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True)"
    )
    holding += "; time.sleep(99)"
    (tmp_path / "out").mkdir()
    with subprocess.Popen([sys.executable, "-c", holding, str(tmp_path / "out/lock")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=r"out: another process is running this stage"):
            StageCLI(arguments(tmp_path, "out")).run()
        other.kill()
    StageCLI(arguments(tmp_path, "out")).run()
    assert (tmp_path / "out/student.safetensors").is_file()


def test_a_file_system_without_locks_is_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(handle: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with locked(tmp_path / "a"):
        (tmp_path / "a/file").touch()
    assert "this file system has no locks (No locks available)" in capsys.readouterr().out


def test_a_finished_stage_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    run_stages(plan)

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("gkd_lightning.chain.execution.locked", forbidden)
    run_stages(plan)


def test_several_nodes_need_a_launcher(tmp_path: Path) -> None:
    told = r"trainer.num_nodes: 2 machines need somebody who starts"
    with pytest.raises(UserError, match=told):
        run_stages(plan_of(tmp_path, ("trainer.num_nodes", 2)))
    with pytest.raises(UserError, match=told):
        StageCLI([*arguments(tmp_path, "out"), "--trainer.num_nodes", "2"])
    assert not (tmp_path / "out").exists()


def test_a_grid_of_thousands_is_refused_at_once() -> None:
    axes = [f"task:model.a{axis}=" + ",".join(map(str, range(12))) for axis in range(8)]
    with pytest.raises(UserError, match="--grid: 429,981,696 combinations"):
        combinations(axes)
