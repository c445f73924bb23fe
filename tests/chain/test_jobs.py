"""Several stages at once give what one after the other gives, and end together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.jobs import _share, run_jobs
from gkd_lightning.chain.plan import Plan, PlannedStage, make_plan
from gkd_lightning.cli import main
from gkd_lightning.cores import SHARE, cores
from gkd_lightning.errors import OURS, UserError
from gkd_lightning.recipes.recipe_reader import load_recipe
from tests.chain.terminal import press_ctrl_c
from tests.chain.toys import CONFIG

RECIPE = """
name: toy
common: {configs: [toy.yaml]}
methods:
  one:
    stages: [{name: first}, {name: second, set: {model.alpha: 0.5}}]
  two:
    stages: [{name: other, set: {model.alpha: 2.0}}]
"""

# waits for as many neighbours as there are slots, so it ends only if they really run at once
MEETING = """
import sys, time, pathlib
me, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
(me / sys.argv[3]).touch()
deadline = time.monotonic() + 60
while len(list(me.iterdir())) < size:
    assert time.monotonic() < deadline, "nobody else came"
    time.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def plan_of(folder: Path, out: str = "out", **settings: object) -> Plan:
    return make_plan(load_recipe(str(folder / "recipe.yaml")), folder / out, list(settings.items()))


@pytest.mark.slow
def test_the_same_weights_as_one_after_the_other(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "out"), "--jobs", "2"]
    assert main(arguments) == 0
    plan, alone = plan_of(folder), plan_of(folder, "alone")
    assert [stage.state() for stage in plan.stages] == ["done"] * 3
    run_stages(alone)
    for left, right in zip(plan.stages, alone.stages, strict=True):
        assert left.manifest()["sha256"] == right.manifest()["sha256"]  # type: ignore[index]
    capfd.readouterr()
    assert main(arguments) == 0  # nothing to do: no process is started
    assert capfd.readouterr().out.count("finished before, skipped") == 3


def test_stages_run_at_once_and_only_after_their_parents(folder: Path) -> None:
    plan = plan_of(folder)
    meeting = folder / "meeting"
    meeting.mkdir()
    started: list[str] = []

    def command(stage: PlannedStage) -> list[str]:
        started.append(stage.name)
        return [sys.executable, "-c", MEETING, str(meeting), "2", stage.name]

    run_jobs(plan, 2, command)
    assert sorted(started) == ["first", "other"]  # `first` left nothing, so `second` never got its turn


@pytest.mark.parametrize(("status", "end", "kind"), [(2, "", UserError), (1, "", UserError), (1, OURS, RuntimeError)])
def test_a_failure_is_one_line_and_starts_nothing_new(
    folder: Path, status: int, end: str, kind: type[Exception]
) -> None:
    started: list[str] = []

    def command(stage: PlannedStage) -> list[str]:
        started.append(stage.name)
        says = f"import sys; print('advice\\ngkd: model.alpha: too loud{end}', file=sys.stderr); sys.exit({status})"
        return [sys.executable, "-c", says]

    with pytest.raises(kind, match=r"^stage first seed 0: model\.alpha: too loud \(see .*stage\.log\)$"):
        run_jobs(plan_of(folder), 1, command)
    assert started == ["first"]
    assert "advice" in (plan_of(folder).stages[0].directory / "stage.log").read_text()


def test_several_devices_are_one_job_alone(folder: Path) -> None:
    with pytest.raises(UserError, match="first trains on several devices"):
        run_jobs(plan_of(folder, **{"trainer.devices": 2}), 2, lambda stage: [])


def test_cores_and_gpus_are_shared_out() -> None:
    half, quarter = (str(max(cores({}) // jobs, 1)) for jobs in (2, 4))
    assert _share({}, 0, 2, []) == {SHARE: half, "OMP_NUM_THREADS": half}
    assert _share({"OMP_NUM_THREADS": "3"}, 2, 4, ["0", "5"]) == {SHARE: quarter, "CUDA_VISIBLE_DEVICES": "0"}
    assert _share({"OMP_NUM_THREADS": "3"}, 1, 4, ["0", "5"]) == {SHARE: quarter, "CUDA_VISIBLE_DEVICES": "5"}
    assert _share({"OMP_NUM_THREADS": "3"}, 1, 4, ["0"]) == {SHARE: quarter}
    assert _share({SHARE: "1"}, 0, 2, []) == {SHARE: "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_ctrl_c_ends_all_of_them_with_a_checkpoint(folder: Path) -> None:
    (folder / "toy.yaml").write_text(CONFIG.replace("max_steps: 13", "max_steps: 100000"))
    arguments = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "out"), "--jobs", "2"]
    status, lines = press_ctrl_c(arguments, lambda: len(list(folder.glob("out/stages/*/resume.ckpt"))) == 2)
    assert status == 130
    assert lines == [f"gkd: interrupted, resume with: gkd {' '.join(arguments)}"]
    for directory in (folder / "out/stages").iterdir():
        assert not (directory / "done.json").exists()
        assert not list(directory.glob(".*.partial"))
    assert subprocess.run(["pgrep", "-f", str(folder)], check=False).returncode == 1  # nobody is left behind
