"""A sweep without an account: combinations, ranking, what is refused, and a real one of two tiny trials."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from gkd_lightning.chain.grid import Trial, check_objective, combinations, ranked, scored
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import PlannedStage
from gkd_lightning.chain.stage import Stage
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.cli import main
from gkd_lightning.errors import UserError
from tests.chain.studies import FILES, write_study
from tests.chain.test_probe import PROBE


def test_combinations() -> None:
    assert combinations(["a=1,2", "b=x"]) == [("a=1", "b=x"), ("a=2", "b=x")]
    for axis in ("a", "a=", "=1", "a=1,,2"):
        with pytest.raises(UserError, match=r"--grid .*expected key=value"):
            combinations([axis])
    with pytest.raises(UserError, match="twice"):
        combinations(["a=1", "a=2"])


@pytest.mark.parametrize("objective", ["train/loss", "test/night/miou", "night"])
def test_what_must_not_choose(objective: str) -> None:
    with pytest.raises(UserError, match="val/probe/miou"):
        check_objective(objective)


def test_options_that_say_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_study(tmp_path))
    for options, culprit in (
        (["--objective", "val/probe/miou"], "--objective"),
        (["--then-run"], "--then-run"),
        (["--grid", "task_agnostic:model.alpha=1", "--methods", "gkd,none"], "--methods gkd,none"),
        (["--grid", "task_agnostic:model.alpha=1", "--jobs", "2", "--launch", "srun"], "--jobs"),
    ):
        assert main(["run", recipe, "--out", str(tmp_path / "out"), *options]) == 2
        assert culprit in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def fake_stage(folder: Path, seed: int, *rows: dict[str, float]) -> PlannedStage:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": i, **row}) + "\n" for i, row in enumerate(rows)))
    return PlannedStage("task_agnostic", seed, Stage.read({}), str(folder), folder)


def test_the_last_score_of_every_seed_counts(tmp_path: Path) -> None:
    key = "val/probe/miou"
    one = Trial(("a=1",), (fake_stage(tmp_path / "1", 0, {key: 90}, {key: 10}),))
    two = Trial(("a=2",), tuple(fake_stage(tmp_path / f"2{seed}", seed, {key: 20 + seed}) for seed in range(2)))
    order = ranked(scored(trial, key) for trial in (one, two))
    assert [trial.settings for trial in order] == [("a=2",), ("a=1",)]
    assert order[0].scores == (20, 21)
    with pytest.raises(UserError, match="never logged it, did you mean 'val/probe/miou'"):
        scored(one, "val/probe/mioo")


@pytest.mark.slow
def test_a_real_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_study(tmp_path)
    (tmp_path / "probe.yaml").write_text(PROBE)
    recipe.write_text(
        recipe.read_text().replace("[distill.yaml, proxy.yaml]", "[distill.yaml, proxy.yaml, probe.yaml]")
    )
    arguments = ["run", str(recipe), "--out", str(tmp_path / "out"), "--set", "trainer.max_steps=3"]
    arguments += ["--set", "task_agnostic:model.min_lr=0"]
    axes = ["--grid", "task_agnostic:model.lr=1e-3,1e-9", "--grid", "task_agnostic:model.alpha=1"]
    assert main([*arguments, *axes]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out/sweep/sweep.json").read_text())
    means = [trial["mean"] for trial in found["trials"]]
    assert means == sorted(means, reverse=True)
    assert f"best: {' '.join(found['trials'][0]['set'])}" in said
    rows = list(csv.DictReader((tmp_path / "out/sweep/sweep.csv").open()))
    assert list(rows[0]) == ["task_agnostic:model.lr", "task_agnostic:model.alpha", "seed", "val/probe/miou"]
    assert (tmp_path / "out/sweep/sweep.md").read_text() in said
    # again: everything is there already; then the winner through the whole chain, with its first stage shared
    assert main([*arguments, *axes, "--then-run", "--methods", "gkd"]) == 0
    said = capsys.readouterr().out
    assert said.count("task_agnostic seed 0: finished before") == 3
    assert (tmp_path / "out/report.html").is_file()
    assert main([*arguments, *axes, "--stage", "task"]) == 2
    assert main([*arguments, "--grid", "task_agnostic:model.alfa=1"]) == 2
    assert "did you mean 'alpha'" in capsys.readouterr().err


@pytest.mark.slow
def test_wandb_gets_the_objective_and_the_whole_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    place = f"init_args: {{save_dir: {tmp_path / 'logs'}}}"  # W&B's service keeps the folder that the first test was in
    logger = f"trainer: {{logger: [{{class_path: lightning.pytorch.loggers.WandbLogger, {place}}}]}}"
    arguments = []
    for name, text in {**FILES, "probe.yaml": PROBE, "wandb.yaml": logger}.items():
        if name in ("trainer.yaml", "distill.yaml", "proxy.yaml", "probe.yaml", "wandb.yaml"):
            Path(name).write_text(text)
            arguments += ["--config", name]
    Path("logs").mkdir()
    said: list[dict[str, float]] = []
    end = wandb.finish
    monkeypatch.setattr(wandb, "finish", lambda: (said.append(dict(wandb.run.summary)), end()))
    arguments += ["--model.alpha=0.5", "--trainer.max_steps=3"]
    configs = []
    for name in ("first", "second"):  # as two stages of a chain, in one process
        stage = StageCLI([*arguments, f"--trainer.default_root_dir={name}"])
        run = stage.trainer.loggers[1].experiment
        stage.run()
        assert wandb.run is None
        configs.append(dict(run.config))
        assert said[-1]["val/probe/miou"] == read_metrics(f"{name}/metrics.jsonl")[-1]["val/probe/miou"]
    assert [config["trainer"]["default_root_dir"] for config in configs] == ["first", "second"]
    assert configs[0]["model"]["init_args"]["alpha"] == 0.5
    assert configs[0]["model"]["init_args"]["teacher"]["name"] == "vit_tiny_patch16_224"
    assert configs[0]["trainer"]["max_steps"] == 3
    logs = list(Path("logs").rglob("*.wandb"))
    assert len(logs) == 2
    until = time.monotonic() + 60  # W&B's service writes on after finish() has returned
    while not all(b"val/probe/miou" in log.read_bytes() for log in logs):
        assert time.monotonic() < until
        time.sleep(0.1)
