"""What a stage computes is hashed, how it is run is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.identity import stage_hash
from gkd_lightning.recipes import changed

CONFIG: dict[str, Any] = {
    "model": {"class_path": "M", "init_args": {"alpha": 1.0}},
    "data": {"class_path": "D", "init_args": {"batch_size": 8}},
    "trainer": {"max_steps": 10},
    "seed_everything": 0,
}
MEASURES = [{"class_path": "gkd_lightning.chain.callbacks.ProbeStudent"}, "lightning.pytorch.callbacks.ModelSummary"]


def test_the_hash_ignores_key_order_and_follows_file_contents(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    first = stage_hash({"a": 1, "b": {"weights": str(weights)}})
    assert first == stage_hash({"b": {"weights": str(weights)}, "a": 1})
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(b"one")
    assert first == stage_hash({"a": 1, "b": {"weights": str(copy)}})
    weights.write_bytes(b"another")
    assert first != stage_hash({"a": 1, "b": {"weights": str(weights)}})


@pytest.mark.parametrize(
    "how",
    [
        {"title": "a", "resume_every": 3},
        {"trainer.devices": 4, "trainer.num_nodes": 2, "trainer.strategy": "ddp", "trainer.accelerator": "gpu"},
        {"trainer.accumulate_grad_batches": 2},
        {"trainer.logger": [{"class_path": "L"}], "trainer.log_every_n_steps": 1, "trainer.enable_progress_bar": False},
        {"trainer.callbacks": MEASURES},
        {"trainer.callbacks": MEASURES[0]},
        {"trainer.callbacks": None},
        {"model.offload": "cpu"},
        {"model.compile": True, "model.activation_checkpointing": True, "model.health_every_n_steps": 1},
        {"data.num_workers": 3},
    ],
    ids=str,
)
def test_how_a_stage_is_run_is_not_counted(how: dict[str, Any]) -> None:
    assert stage_hash(changed(CONFIG, how)) == stage_hash(CONFIG)


@pytest.mark.parametrize(
    "what",
    [
        {"model.alpha": 2.0},
        {"data.batch_size": 16},
        {"trainer.max_steps": 11},
        {"trainer.precision": "bf16-mixed"},
        {"trainer.gradient_clip_val": 1.0},
        {"seed_everything": 1},
        {"selection": "source-val"},
        {"float32_matmul_precision": "high"},
        {"model.teacher.weights_key": "teacher"},
        {"model.teachers": {"a": {"encoder": {"name": "vit"}, "weight": 0.5}}},
        {"trainer.callbacks": [*MEASURES, {"class_path": "lightning.pytorch.callbacks.EarlyStopping"}]},
    ],
    ids=str,
)
def test_what_it_computes_is(what: dict[str, Any]) -> None:
    assert stage_hash(changed(CONFIG, what)) != stage_hash(CONFIG)


def test_a_limit_in_batches_makes_their_number_count() -> None:
    limited = changed(CONFIG, {"trainer.limit_train_batches": 6})
    assert stage_hash(changed(limited, {"trainer.accumulate_grad_batches": 2})) != stage_hash(limited)
    share = changed(CONFIG, {"trainer.limit_train_batches": 0.5})
    assert stage_hash(changed(share, {"trainer.accumulate_grad_batches": 2})) == stage_hash(share)


def test_an_acting_callback_counts_alone() -> None:
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "a"}}
    alone = stage_hash(changed(CONFIG, {"trainer.callbacks": [stopping]}))
    assert alone == stage_hash(changed(CONFIG, {"trainer.callbacks": [*MEASURES, stopping]}))


def test_a_word_is_no_file_and_a_folder_of_an_artefact_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = {"data": {"classes": ["car", "road"]}, "model": {"weights": "made"}}
    before = stage_hash(config)
    (tmp_path / "car").touch()
    assert stage_hash(config) == before
    (tmp_path / "made").mkdir()
    folder = {"model": {"weights": str(tmp_path / "made")}}
    (tmp_path / "made/student.safetensors").write_bytes(b"one")
    one = stage_hash(folder)
    (tmp_path / "made/student.safetensors").write_bytes(b"another")
    assert stage_hash(folder) != one


def test_the_record_beside_weights_counts_but_not_how_it_was_made(tmp_path: Path) -> None:
    weights, record = tmp_path / "w.safetensors", tmp_path / "w.json"
    weights.write_bytes(b"one")
    config = {"model": {"weights": str(weights)}}

    def hashed(**content: object) -> str:
        record.write_text(json.dumps(content))
        return stage_hash(config)

    first = hashed(blocks=[1, 2], provenance={"seed": 0})
    assert hashed(blocks=[1, 2], provenance={"seed": 1}, versions={"torch": "3"}) == first
    assert hashed(blocks=[1, 3], provenance={"seed": 0}) != first
    record.write_text("{")
    assert stage_hash(config) != first
