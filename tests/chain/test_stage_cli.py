"""One stage: configuration in, artefact, logs and resumable state out."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from gkd_lightning.chain.callbacks import StopWithCheckpoint
from gkd_lightning.chain.config_check import UnbuiltStage, check_config
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from tests.chain.toys import CONFIG


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG)
    return path


def fit(config: Path, out: Path, *options: str) -> StageCLI:
    stage = StageCLI(["--config", str(config), "--trainer.default_root_dir", str(out), *options])
    stage.run()
    return stage


def test_a_run_leaves_config_logs_costs_and_artefact(config: Path, tmp_path: Path) -> None:
    stage = fit(config, tmp_path / "run", "--model.alpha", "0.5")
    assert stage.model.hparams.alpha == 0.5
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert saved["model"]["init_args"]["alpha"] == 0.5
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(13))
    with (tmp_path / "run/metrics.csv").open() as handle:
        assert [float(row["train/loss"]) for row in csv.DictReader(handle)] == [row["train/loss"] for row in rows]
    costs = json.loads((tmp_path / "run/costs.json").read_text())
    assert costs["steps"] == 13
    assert costs["images"] == 52
    assert costs["parameters"] == costs["trainable_parameters"] == 20
    assert costs["peak_memory_bytes"] > 1e6
    assert load_file(tmp_path / "run/student.safetensors")["weight"].shape == (4, 4)


def test_the_saved_config_gives_the_same_run_again(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "a", "--seed_everything", "3")
    fit(tmp_path / "a/config.yaml", tmp_path / "b")
    fit(config, tmp_path / "c", "--seed_everything", "4")
    a, b, c = (load_file(tmp_path / name / "student.safetensors")["weight"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_one_seed_reaches_the_order_of_the_data(config: Path, tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--seed_everything", "5", "--trainer.max_steps", "1").datamodule.seed == 5
    with pytest.raises(UserError, match="seed_everything"):
        fit(config, tmp_path, "--data.seed", "5")
    config.write_text(CONFIG.replace("ToyData", "ToyData\n  init_args: {seed: 1}"))
    with pytest.raises(UserError, match=r"data\.seed: follows seed_everything"):
        fit(config, tmp_path)


def test_several_configs_merge_in_any_order_and_options_win(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "data.yaml"
    other.write_text("data: {init_args: {batch_size: 5}}\ntrainer: {max_steps: 1}\n")
    for first, second in ((config, other), (other, config)):
        arguments = ["--config", str(first), f"--config={second}", "--trainer.default_root_dir", str(tmp_path / "run")]
        stage = UnbuiltStage([*arguments, "--model.alpha", "3"])
        assert stage.config["data.init_args.batch_size"] == 5
        assert stage.config["trainer.max_steps"] == (1 if second == other else 13)
        assert stage.config["model.init_args.alpha"] == 3


def test_null_as_a_sweep_writes_it(config: Path) -> None:
    """W&B's agent turns null into Python's word."""
    for word in ("None", "null"):
        stage = UnbuiltStage(["--config", str(config), f"--trainer.precision={word}"])
        assert stage.config["trainer.precision"] is None


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_resumed_run_ends_as_the_uninterrupted_one(config: Path, tmp_path: Path, workers: str) -> None:
    """Stopped after step 9, the last checkpoint is of step 8, in the middle of the second epoch."""
    options = ("--data.num_workers", workers)
    whole = fit(config, tmp_path / "whole", *options)
    fit(config, tmp_path / "part", *options, "--trainer.max_steps", "9")
    (tmp_path / "part/student.safetensors").unlink()
    checkpoint = tmp_path / "part/resume.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 8
    resumed = fit(config, tmp_path / "part", *options, "--ckpt_path", str(checkpoint))
    expected, actual = (load_file(tmp_path / name / "student.safetensors") for name in ("whole", "part"))
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    logs = [[json.loads(line) for line in (tmp_path / n / "metrics.jsonl").open()] for n in ("whole", "part")]
    assert [(row["step"], row["train/loss"]) for row in logs[0]] == [(r["step"], r["train/loss"]) for r in logs[1]]
    assert resumed.costs.images == whole.costs.images == 52


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_keeps_every_step(config: Path, tmp_path: Path, workers: str) -> None:
    """Interrupted in step 7, after the periodic checkpoint of step 4: the run goes on from step 7, bit for bit."""
    options = ("--data.num_workers", workers)
    whole = fit(config, tmp_path / "whole", *options)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a suite runs in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(config, tmp_path / "part", *options, "--model.ctrl_c", "6")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    checkpoint = tmp_path / "part/resume.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 7
    assert not (tmp_path / "part/student.safetensors").exists()
    resumed = fit(config, tmp_path / "part", *options, "--ckpt_path", str(checkpoint))
    expected, actual = (load_file(tmp_path / name / "student.safetensors") for name in ("whole", "part"))
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert resumed.costs.images == whole.costs.images


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    stop = StopWithCheckpoint(tmp_path)
    stop._stop(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        stop._stop(signal.SIGINT, None)


def test_wrong_checkpoints_are_named(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ckpt_path: .*none\.ckpt: no such checkpoint"):
        fit(config, tmp_path, "--ckpt_path", str(tmp_path / "none.ckpt"))
    path = tmp_path / "p.ckpt"
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"ckpt_path: .*p\.ckpt: "):
        fit(config, tmp_path, "--ckpt_path", str(path))
    torch.save({"state_dict": Path("x")}, path)
    with pytest.raises(UserError, match="a pickle with more than plain tensors, which is never executed"):
        fit(config, tmp_path, "--ckpt_path", str(path))
    fit(config, tmp_path)
    checkpoint = torch.load(tmp_path / "resume.ckpt", weights_only=True)
    checkpoint["state_dict"]["map.weight"] = torch.zeros(3, 3)
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"p\.ckpt: of another architecture.*map\.weight"):
        fit(config, tmp_path, "--ckpt_path", str(path))


def test_abbreviated_keys_are_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--trainer\.max_step: unknown key, did you mean 'max_steps'"):
        fit(config, tmp_path, "--trainer.max_step", "1")
    with pytest.raises(UserError, match=r"model\.alph: unknown key, did you mean 'alpha'"):
        fit(config, tmp_path, "--model.alph", "1")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("student: {name: toy}", "student: {nam: toy}"), r"model\.student\.nam: unknown key, did you mean 'name'"),
        (("student: {name: toy}", "student: {name: toy}, alpah: 1"), r"model\.alpah: unknown key, did you mean 'alp"),
        (("student: {name: toy}", "student: {name: toy}, alpha: x"), r"model\.alpha: expected float, got x"),
        (("student: {name: toy}", ""), r"model\.student.*: is required"),
        (("name: toy", "name: toy, resize: q"), r"model\.student\.resize: expected Literal\['a', 'b'\], got q"),
        (("name: toy", "name: toy, image_size: q"), r"model\.student\.image_size: cannot be q"),
        (("ToyStage", "ToyStge"), r"model\.class_path: .*ToyStge"),
        (("tests.chain.toys.ToyStage", "nowhere.ToyStage"), r"model\.class_path: No module named 'nowhere'"),
        (("trainer:", "trianer:"), r"trianer.*: unknown key, did you mean 'trainer'"),
        (("max_steps: 13", "max_stepss: 13"), r"trainer\.max_stepss: unknown key, did you mean 'max_steps'"),
        (("max_steps: 13", "max_steps: many"), r"trainer\.max_steps: expected int, got many"),
        (("resume_every: 4", "resume_evry: 4"), r"resume_evry: unknown key, did you mean 'resume_every'"),
        (("devices: 1", "devices: 1, devices: 2"), "'devices' is written twice"),
        (("name: toy", "name: '${env:GKD_NOT_SET}'"), r"model\.student\.name: \$\{env:GKD_NOT_SET\} needs"),
    ],
)  # fmt: skip
def test_mistakes_in_a_config_are_one_line_with_the_key(config: Path, change: tuple[str, str], complaint: str) -> None:
    config.write_text(CONFIG.replace(*change))
    with pytest.raises(UserError, match=complaint) as caught:
        check_config(config)
    assert "\n" not in str(caught.value)


def test_an_interrupted_run_says_so(config: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=str(tmp_path)):
        fit(config, tmp_path, "--model.fail", "true")
    assert not (tmp_path / "student.safetensors").exists()
