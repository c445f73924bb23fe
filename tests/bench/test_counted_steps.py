"""What a step of stage 1 costs, counted: more work or a wait for the host shows here on every machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gkd_bench.contender import Contender, build
from gkd_bench.counting import counted
from gkd_bench.distillation import comparisons
from gkd_bench.stage1 import EMA_DECAY, LEVERS, Stage1Step, step
from gkd_bench.stage1_module import seeded, specifications
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.errors import UserError

PEERS = Path(__file__).parents[2] / "benchmarks/peers"
PEER = PEERS / "official_gkd.py"
LIGHTLY = PEERS / "lightly_train_regression.py"
SMALL = {
    "teacher": "vit_small_patch14_dinov2", "student": "vit_tiny_patch16_224",
    "teacher_options": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "student_options": {"embed_dim": 32, "depth": 2, "num_heads": 2},
}  # fmt: skip
ONE_A = {**SMALL, "size": 224, "patch": 14}
ONE_B = {**SMALL, "size": 512, "patch": 16}
TINY = {**SMALL, "size": 168, "patch": 14}
BATCH = 2


def work(geometry: dict[str, Any], precision: str, **options: Any) -> Stage1Step:
    module = seeded(*specifications(**geometry), **options)
    module.ema = ExponentialMovingAverage(module.student, EMA_DECAY)
    return Stage1Step(module, BATCH, precision, "cpu", set(LEVERS))


@pytest.mark.parametrize(
    ("geometry", "precision", "options", "flops"),
    [
        (ONE_A, "fp32", {}, 374_622_656),
        (ONE_A, "bf16", {}, 374_622_656),
        (ONE_B, "fp32", {}, 4_022_389_184),
        (ONE_A, "fp32", {"alignment": "projection", "beta": 0, "gamma": 0}, 223_102_336),
        (ONE_A, "fp32", {"variant": "paper"}, 350_505_408),
    ],
    ids=["1a", "1a-bf16", "1b", "1a-mse", "1a-paper"],
)
def test_operations_and_host_reads_of_a_step(
    geometry: dict[str, Any], precision: str, options: dict[str, Any], flops: int
) -> None:
    count = counted(work(geometry, precision, **options).step)
    assert count["host_reads"] == 0
    assert count["flops_per_image"] == flops


def test_the_masked_half_is_a_quarter_of_the_students_work() -> None:
    def student(levers: set[str]) -> float:
        made = step("cpu", BATCH, levers=levers, **TINY)
        passes = made.module.passes(made.images, made.keys)  # type: ignore[attr-defined]
        return counted(lambda: len(passes.student.cls))["flops_per_image"]

    assert student(set(LEVERS)) == 0.75 * student(set(LEVERS) - {"masked half"})


@pytest.mark.parametrize("levers", [LEVERS, (*LEVERS, "checkpointing")])
def test_levers_change_no_loss(levers: tuple[str, ...]) -> None:
    plain, pulled = step("cpu", BATCH, levers=(), **TINY), step("cpu", BATCH, levers=levers, **TINY)
    for _ in range(2):
        assert pulled.loss() == pytest.approx(plain.loss(), rel=1e-5)  # type: ignore[attr-defined]
        assert plain.step() == pulled.step() == BATCH


def test_weights_through_published_files_and_steps_through_the_trainer() -> None:
    direct, files = step("cpu", BATCH, **TINY), step("cpu", BATCH, through="files", **TINY)
    assert files.loss() == pytest.approx(direct.loss(), rel=1e-6)  # type: ignore[attr-defined]
    assert step("cpu", BATCH, through="trainer", precision="bf16", **TINY).step() == BATCH


def test_only_peers_with_a_step_of_stage_1_are_run(tmp_path: Path) -> None:
    official, other = tmp_path / "official.py", tmp_path / "other.py"
    official.write_text("def stage1(device): ...\n")
    other.write_text("def loader(device): ...\n")
    alone = [each.name for each in comparisons("cpu")]
    assert alone == ["stage1a", "stage1a-bf16", "stage1b", "stage1b-bf16"]
    assert [each.name for each in comparisons("cpu", [str(other)])] == alone
    beside = {each.name: each for each in comparisons("cpu", [str(other), str(official)])}
    assert set(beside) - set(alone) == {"stage1a-peer", "stage1a-peer-bf16", "stage1b-peer", "stage1b-peer-bf16"}
    equal = beside["stage1a-peer"]
    assert equal.contenders[0].target == f"{official}:stage1"
    assert equal.same_loss == 1e-4
    assert "stage1a-large-bf16" in {each.name for each in comparisons("cuda")}


def test_peers_with_a_step_of_feature_regression_meet_ours_with_one_pass(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("def regression(device): ...\n")
    alone = {each.name for each in comparisons("cpu")}
    beside = {each.name: each for each in comparisons("cpu", [str(other)])}
    assert set(beside) - alone == {"stage1a-regression"}
    rows = beside["stage1a-regression"].contenders
    assert [row.name for row in rows] == ["other, fp32", "ours, fp32", "other, bf16", "ours, bf16"]
    assert rows[0].target == f"{other}:regression"
    ours = {key: value for key, value in rows[1].options.items() if key not in ("batch", "size", "patch")}
    regression = step("cpu", BATCH, **ours, **ONE_A)
    assert counted(regression.step)["flops_per_image"] == 223_102_336  # as above, 1a-mse


def test_a_peer_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightly_train", None)
    with pytest.raises(UserError, match=r"lightly-train is not there .*: pip install lightly-train"):
        build(Contender("lightly", f"{LIGHTLY}:regression"), "cpu")


def test_the_authors_code_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GKD_OFFICIAL", raising=False)
    with pytest.raises(UserError, match=r"^GKD_OFFICIAL: is None; set it to the folder general_distillation"):
        build(Contender("official", f"{PEER}:stage1"), "cpu")
