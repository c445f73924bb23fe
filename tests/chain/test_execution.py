"""The chain runs what is missing, skips what is finished, resumes what was cut off, and never twice at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gkd_lightning.chain.execution import (
    check_plan,
    describe,
    link_stages,
    run_stage,
    run_stages,
    stages_from,
)
from gkd_lightning.chain.judging.plan_report import evaluation_config
from gkd_lightning.chain.lock import locked
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.errors import UserError
from gkd_lightning.inspection.sources import find_sources
from gkd_lightning.recipes.recipe_reader import load_recipe
from tests.chain.toys import CONFIG

RECIPE = """
name: toy
common: {configs: [toy.yaml]}
methods:
  one:
    stages:
      - {name: first}
      - {name: second, set: {model.alpha: 0.5}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def plan_of(folder: Path, *settings: tuple[str, object]) -> Plan:
    return make_plan(load_recipe(str(folder / "recipe.yaml")), folder / "out", settings)


def states(plan: Plan) -> list[str]:
    return [stage.state() for stage in plan.stages]


def test_stages_run_once_and_hand_their_artefact_on(folder: Path) -> None:
    plan = plan_of(folder)
    check_plan(plan)
    assert states(plan) == ["run", "run"]
    run_stages(plan)
    assert states(plan) == ["done", "done"]
    first, second = plan.stages
    config = json.loads(json.dumps(second.final_config()))
    assert config["model"]["init_args"]["student"]["weights"] == str(first.directory / "student.safetensors")
    manifest = second.manifest()
    assert manifest is not None
    assert manifest["starts_from"] == {"model.student.weights": (first.manifest() or {})["sha256"]}
    assert manifest["costs"]["steps"] == 13
    assert not (second.directory / "resume.ckpt").exists()
    before = {path: path.stat().st_mtime_ns for path in sorted((folder / "out").rglob("*")) if path.name != "lock"}
    run_stages(plan_of(folder))
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_run_shows_the_stages_it_shares(folder: Path) -> None:
    plan = make_plan(load_recipe(str(folder / "recipe.yaml")), folder / "out", store=folder / "store")
    run_stages(plan)
    link_stages(plan)
    link_stages(plan)  # as often as it is run
    assert [path.is_symlink() for path in (folder / "out/stages").iterdir()] == [True, True]
    (source,) = find_sources([str(folder / "out")])
    assert source.weights.resolve() == plan.stages[1].directory.resolve() / "student.safetensors"
    moved = make_plan(load_recipe(str(folder / "recipe.yaml")), folder / "out", store=folder / "elsewhere")
    (folder / "store").rename(folder / "elsewhere")
    link_stages(moved)
    assert find_sources([str(folder / "out")])[0].weights.is_file()


def test_a_run_with_stages_of_its_own_gets_no_links(folder: Path) -> None:
    plan = plan_of(folder)
    run_stages(plan)
    link_stages(plan)
    assert not any(path.is_symlink() for path in (folder / "out/stages").iterdir())


def test_a_damaged_artefact_runs_again_and_so_does_what_follows(folder: Path) -> None:
    plan = plan_of(folder)
    run_stages(plan)
    weights = load_file(plan.stages[1].artefact())["weight"]
    (plan.stages[0].directory / "student.safetensors").write_bytes(b"cut off")
    assert states(plan_of(folder)) == ["run", "run"]
    run_stages(plan_of(folder))
    assert load_file(plan.stages[1].artefact())["weight"].equal(weights)


def test_from_runs_a_stage_and_all_after_it_again(folder: Path) -> None:
    plan = plan_of(folder)
    run_stages(plan)
    times = [(stage.directory / "done.json").stat().st_mtime_ns for stage in plan.stages]
    again = stages_from(plan, "second")
    assert ["finished, skip" in describe(plan, again)[0], "finished" in describe(plan, again)[1]] == [True, False]
    run_stages(plan, again)
    after = [(stage.directory / "done.json").stat().st_mtime_ns for stage in plan.stages]
    assert after[0] == times[0]
    assert after[1] > times[1]


def test_an_interrupted_stage_resumes_to_the_same_weights(folder: Path) -> None:
    whole = plan_of(folder)
    run_stages(whole)
    expected = load_file(whole.stages[1].artefact())
    for stage in whole.stages:
        (stage.directory / "done.json").unlink()
        (stage.directory / "student.safetensors").unlink()
    environment = {**os.environ, "TOY_KILL_AT_STEP": "6"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chain.kill_at", str(folder / "recipe.yaml"), str(folder / "out")],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert states(plan_of(folder)) == ["resume", "run"]
    run_stages(plan_of(folder))
    actual = load_file(whole.stages[1].artefact())
    assert all(expected[key].equal(actual[key]) for key in expected)


def test_a_changed_parent_voids_the_interrupted_child(folder: Path) -> None:
    plan = plan_of(folder)
    run_stages(plan)
    first, second = plan.stages
    (second.directory / "done.json").unlink()
    (second.directory / "resume.ckpt").write_bytes(b"of the old parent")
    assert second.state() == "resume"
    manifest = json.loads((first.directory / "done.json").read_text())
    os.replace(first.directory / "stage.yaml", first.directory / "student.safetensors")  # another artefact
    from gkd_lightning.files import file_sha256

    manifest["sha256"] = file_sha256(first.directory / "student.safetensors")
    (first.directory / "done.json").write_text(json.dumps(manifest))
    assert second.state() == "run"


def test_a_wrong_later_stage_is_told_before_the_first_runs(folder: Path) -> None:
    plan = plan_of(folder, ("second:model.alpah", 1))
    with pytest.raises(UserError, match=r"stage second of one: model\.alpah: unknown key, did you mean 'alpha'"):
        check_plan(plan)
    assert not (folder / "out").exists()


def test_two_processes_do_not_run_the_same_stage(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from gkd_lightning.chain.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {holder.pid} is running this stage"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):  # a killed owner leaves no lock behind
        pass


@pytest.mark.slow
def test_processes_of_their_own_tell_their_mistake_in_one_line(folder: Path) -> None:
    """That they train is `test_distributed`."""
    plan = plan_of(folder, ("trainer.devices", 3), ("trainer.strategy", "ddp"))
    with pytest.raises(UserError, match=r"stage first seed 0: .*batch of 4 cannot be divided by 3 devices") as caught:
        run_stages(plan)
    assert "\n" not in str(caught.value)


def test_an_unfinished_parent_is_named_and_the_child_keeps_its_state(folder: Path) -> None:
    plan = plan_of(folder)
    run_stages(plan)
    first, second = plan.stages
    (first.directory / "done.json").unlink()
    with pytest.raises(UserError, match="the stage 'first' is not finished"):
        run_stage(second)
    assert (second.directory / "done.json").exists()


def test_a_stage_is_the_same_however_it_is_run(folder: Path) -> None:
    plan, other = (
        plan_of(folder),
        plan_of(
            folder,
            ("data.num_workers", 3),
            ("resume_every", 7),
            ("trainer.log_every_n_steps", 9),
            ("trainer.logger", {"class_path": "lightning.pytorch.loggers.CSVLogger"}),
            ("trainer.enable_progress_bar", True),
        ),
    )
    assert [stage.hash for stage in plan.stages] == [stage.hash for stage in other.stages]
    assert plan.stages[0].hash != plan_of(folder, ("data.batch_size", 3)).stages[0].hash


def test_the_chain_judges_on_one_device(folder: Path) -> None:
    plan = plan_of(folder, ("evaluate:trainer.devices", 4), ("evaluate:trainer.strategy", "ddp"))
    config = evaluation_config(plan, "segmenter.safetensors")
    assert (config["trainer"]["devices"], config["trainer"]["strategy"]) == (1, "auto")


def test_other_seeds_are_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gkd_lightning.chain import config_check as module
    from tests.chain.studies import write_study

    checked: list[Path] = []
    monkeypatch.setattr(module, "check_config", checked.append)
    recipe = load_recipe(str(write_study(tmp_path)))
    check_plan(make_plan(recipe, tmp_path / "out", seeds=[0, 1, 2]))
    assert len(checked) == 4 + 1  # three stages of one row, one of the other, the evaluation
