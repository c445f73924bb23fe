"""The chain on a cluster: SLURM scripts as text and through a stand-in for sbatch, stages under torchrun."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest

from gkd_lightning.chain.execution import failure, launched, run_stages
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.cli import main
from gkd_lightning.errors import UserError
from tests.chain.studies import plan_study, write_study

SBATCH = """#!/bin/bash
echo "$@" >> calls.txt
if [[ "$*" == *task-* && -e refuse ]]; then echo "sbatch: error: invalid partition" >&2; exit 1; fi
echo $((100 + $(wc -l < calls.txt)))\\;cluster
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study and a stand-in for sbatch, which is the working folder."""
    write_study(tmp_path)
    program = tmp_path / "bin/sbatch"
    program.parent.mkdir()
    program.write_text(SBATCH)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ["run", "study.yaml", "--methods", "gkd", "--set", "trainer.devices=4", "--set", "trainer.strategy=ddp"]


def test_the_scripts(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *COMMAND,
        "--set",
        "task:trainer.num_nodes=2",
        "--set",
        "task:data.batch_size=8",
        "--submit",
        "slurm",
        "--set",
        "trainer.accelerator=gpu",
        "--set",
        "task:data.num_workers=12",
        "--set",
        "domain_agnostic:trainer.accelerator=cpu",
        "--sbatch=--partition=gpu",
        "--dry-run",
    ]
    assert main(arguments) == 0
    scripts = [script.strip() for script in capsys.readouterr().out.split("# ")[1:]]
    assert [script.split("-")[0].split(",")[0] for script in scripts] == [
        "task_agnostic", "domain_agnostic", "task", "evaluate",
    ]  # fmt: skip
    first, second, task, judge = scripts
    lines = first.splitlines()
    assert lines[1] == "#!/bin/bash"
    for directive in ("--nodes=1", "--ntasks-per-node=4", "--gpus-per-node=4", "--requeue", "--partition=gpu"):
        assert f"#SBATCH {directive}" in lines
    assert [re.findall(r"--cpus-per-task=(\d+)", script) for script in scripts] == [["3"], ["3"], ["13"], ["8"]]
    # the evaluation of this study is a CPU's
    assert ["--gpus-per-node" in script for script in scripts] == [True, False, True, False]
    assert lines.index('export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"') < len(lines) - 1
    assert "#SBATCH --signal=SIGUSR1@120" in lines  # what Lightning's SLURMEnvironment saves and requeues upon
    stage = lines[0]
    assert lines[-1].startswith(f"{sys.executable} -m gkd_lightning run study.yaml ")
    assert lines[-1].endswith(f" --methods gkd --only {stage} --launch srun")
    assert f"cd {study}" in lines
    assert second.splitlines()[0].endswith(f", after {stage}")
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4" in task
    assert "--launch" not in judge
    assert "#SBATCH --ntasks-per-node=1" in judge
    assert judge.splitlines()[0] == f"evaluate, after {task.split(',')[0]}"
    assert not (study / "runs").exists()


def test_jobs_wait_for_the_numbers_that_sbatch_gave(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--submit", "slurm"]) == 0
    calls = (study / "calls.txt").read_text().splitlines()
    assert [call.rpartition(" ")[0] for call in calls] == [
        "--parsable",
        "--parsable --dependency=afterok:101",
        "--parsable --dependency=afterok:102",
        "--parsable --dependency=afterok:103",
    ]
    assert capsys.readouterr().out.splitlines()[-1].startswith("evaluate: job 104 after task-")
    for call in calls:
        script = Path(call.rpartition(" ")[2])
        assert script.read_text().startswith("#!/bin/bash\n")


def test_what_a_cluster_refuses(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*COMMAND, "--set", "task:trainer.devices=auto", "--submit", "slurm", "--dry-run"]) == 2
    assert "stage task has trainer.devices 'auto'; a job needs their number" in capsys.readouterr().err
    (study / "refuse").touch()
    assert main([*COMMAND, "--submit", "slurm"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("sbatch refused it: sbatch: error: invalid partition")
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([*COMMAND, "--submit", "slurm"]) == 2
    assert "no sbatch command here; the scripts are in runs/study/slurm" in capsys.readouterr().err
    assert main([*COMMAND, "--jobs", "2", "--launch", "srun"]) == 2
    assert main([*COMMAND, "--set", "trainer.devices=1", "--launch", "no-such-launcher"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "gkd: --launch no-such-launcher: no such command"


def test_launchers_take_the_interpreter_and_torchrun_the_module() -> None:
    assert launched("srun --mpi=none") == ["srun", "--mpi=none", sys.executable]
    assert launched("/opt/bin/torchrun --nproc-per-node 2") == ["/opt/bin/torchrun", "--nproc-per-node", "2"]
    assert launched("srun -n 2 torchrun --nnodes 2")[-1] == "2"
    with pytest.raises(UserError, match="--launch: is empty"):
        launched(" ")


def test_a_mistake_is_found_in_a_launcher_s_report(study: Path) -> None:
    stage = plan_study(study / "study.yaml", study / "out").stages[0]
    report = "warning\ngkd: images: no such folder\n=====\ntorch.distributed.elastic ... FAILED\n  exitcode: 2\n"
    mistake = failure(stage, 1, report)
    assert isinstance(mistake, UserError)
    assert str(mistake).startswith("stage task_agnostic seed 0: images: no such folder (see ")
    ours = failure(stage, 1, report.replace("images: no such folder", "KeyError: 'a' (add --traceback for the stack)"))
    assert isinstance(ours, RuntimeError)
    assert "KeyError: 'a' (see " in str(ours)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torchrun_follows_one_process(tmp_path: Path) -> None:
    write_study(tmp_path)
    recipe = tmp_path / "short.yaml"
    recipe.write_text(
        "extends: study.yaml\nmethods:\n  none:\n  gkd:\n    stages:\n"
        "      - {name: task_agnostic, configs: [distill.yaml, proxy.yaml]}\n"
    )
    common = {"data__num_workers": 0, "trainer__max_steps": 6}
    single = plan_study(recipe, tmp_path / "one", **common)
    double = plan_study(recipe, tmp_path / "two", trainer__devices=2, trainer__strategy="ddp", **common)
    run_stages(single)
    torchrun = Path(sys.executable).parent / "torchrun"
    run_stages(double, launch=f"{torchrun} --standalone --nproc-per-node 2")
    (one,), (two,) = single.stages, double.stages
    expected, actual = ([row["train/loss"] for row in read_metrics(s.directory / "metrics.jsonl")] for s in (one, two))
    assert len(actual) == 6
    assert actual == pytest.approx(expected, rel=1e-3)
    assert two.state() == "done"
    costs = [(stage.manifest() or {})["costs"] for stage in (one, two)]
    assert costs[0]["images"] == costs[1]["images"] == 24
