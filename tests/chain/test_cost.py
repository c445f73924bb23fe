"""What a plan says about its cost is what a training then takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from gkd_lightning.chain import execution
from gkd_lightning.chain.cost import StageCost, _si, cost_summary, stage_cost, time_text
from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.plan import Plan
from gkd_lightning.chain.resume import forget_checkpoints, newest_checkpoint
from gkd_lightning.cli import main
from gkd_lightning.cli.study import Study
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.recipes import find_fragment, read_yaml
from gkd_lightning.recipes.benchmark import load_benchmark, load_profile
from tests.chain.studies import plan_study, write_study

F2L_GTAV = "f2l/gtav"
MINICITY = EncoderSpec(**read_yaml(find_fragment("teacher/minicity.yaml")))


def f2l_plan(tmp_path: Path, *settings: str, methods: str = "deit_s") -> Plan:
    return Study(F2L_GTAV, settings, methods=methods, out=tmp_path / "out").plan()


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))


@pytest.mark.slow
def test_the_count_is_what_the_training_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resumable: dict[Path, int] = {}

    def forget(directory: Path) -> None:
        """As usual, but noting how many bytes of weights and moments the checkpoint has that goes."""
        if (newest := newest_checkpoint(directory)) is not None:
            checkpoint = torch.load(newest, weights_only=True)
            (optimizer,) = checkpoint["optimizer_states"]
            moments = [value for state in optimizer["state"].values() for value in state.values() if value.ndim]
            resumable[directory] = sum(value.nbytes for value in [*checkpoint["state_dict"].values(), *moments])
        forget_checkpoints(directory)

    monkeypatch.setattr(execution, "forget_checkpoints", forget)
    settings = {"trainer__max_steps": 3, "data__num_workers": 0, "resume_every": 1}
    plan = plan_study(write_study(tmp_path), tmp_path / "out", method=None, **settings)
    estimates = [stage_cost(stage) for stage in plan.stages]
    run_stages(plan)
    for stage, estimate in zip(plan.stages, estimates, strict=True):
        measured = json.loads((stage.directory / "costs.json").read_text())
        assert estimate is not None
        assert estimate.parameters == measured["parameters"]
        # a stage without distillation freezes what its loss does not reach when it starts: the last norm
        assert estimate.trainable == pytest.approx(measured["trainable_parameters"], rel=0.01)
        assert estimate.images == measured["images"] == 12
        assert estimate.flops == pytest.approx(measured["tflops"] * 1e12, rel=0.02 if "agnostic" in stage.name else 0.1)
        assert estimate.artefact_bytes == pytest.approx(stage.artefact().stat().st_size, rel=0.05, abs=8192)
        assert estimate.checkpoint_bytes == pytest.approx(resumable[stage.directory], rel=0.01)
    assert cost_summary([plan], tmp_path, None)[0].startswith("left to train: 0 stages, 0 FLOPs")


@pytest.mark.usefixtures("no_data")
def test_the_official_chain(tmp_path: Path) -> None:
    """By hand, forward: 2 operations a weight and token; a token's attention costs 4 x tokens x width a block."""
    first, second, task = (stage_cost(stage) for stage in f2l_plan(tmp_path).stages)
    assert first is not None
    assert second is not None
    assert task is not None

    def vit(width: int, tokens: int, patch: int) -> float:
        block = 12 * width**2 * 2 * tokens + 4 * tokens**2 * width
        return 12 * block + 2 * tokens * width * 3 * patch**2

    def heads(width: int, teacher: int, tokens: int) -> float:
        lift = 2 * 2 * width * teacher
        return lift * (2 * tokens + 1) + 2 * 4 * tokens**2 * teacher  # features, masked patches, class token

    for cost, tokens, patch in ((first, 256, 14), (second, 1024, 16)):
        by_hand = vit(768, tokens + 1, patch) + 3 * (1.5 * vit(384, tokens + 1, patch) + heads(384, 768, tokens))
        assert cost.flops_per_image == pytest.approx(by_hand, rel=0.03)
    assert first.images == 250_200 * 512  # steps of the official run
    assert second.images == 58_200 * 128
    assert task.images == 40_000 * 4
    assert task.parameters / 1e6 == pytest.approx(41.9, abs=0.1)
    lines = cost_summary([f2l_plan(tmp_path)], tmp_path / "out", 50)
    total = sum(cost.flops or 0 for cost in (first, second, task))
    assert f"{_si(total)}FLOPs; {total / 50e12 / 3600:,.0f} hours on one device at 50 TFLOP/s (as given)" in lines[0]
    assert lines[-1].startswith("devices: 1 or all asked for, ")


@pytest.mark.usefixtures("no_data")
def test_an_encoder_that_learns_in_part(tmp_path: Path) -> None:
    def task(*settings: str) -> StageCost:
        cost = stage_cost(f2l_plan(tmp_path, *(f"task:model.{text}" for text in settings)).stages[-1])
        assert cost is not None
        return cost

    frozen, full = task(), task("freeze_encoder=false")
    last, low = task("last_blocks=2"), task("low_rank.rank=8")
    block = 12 * 384**2 + 13 * 384  # weights and biases, two norms
    assert last.trainable - frozen.trainable == 2 * block + 2 * 384  # and the final norm
    assert low.trainable - frozen.trainable == 8 * 12 * (4 + 2) * 384  # rank, blocks, ends of qkv and proj
    refined = task("refinement.tokens=100")
    assert refined.trainable - frozen.trainable == 12 * 16 * (100 + 384) + 2 * (384 * 384 + 384)
    assert refined.artefact_bytes - frozen.artefact_bytes == 4 * (refined.trainable - frozen.trainable)  # not merged
    assert frozen.flops_per_image < refined.flops_per_image
    linked = task("refinement.tokens=100", "refinement.linked=true")
    link = (384 + 1) * 256 + (3 * 256 + 1) * 256
    assert linked.trainable - refined.trainable == link - 100 * 256  # the head's own queries learn no more
    assert linked.artefact_bytes == refined.artefact_bytes  # its queries are the head's there
    assert low.parameters - frozen.parameters == low.trainable - frozen.trainable
    assert low.artefact_bytes == last.artefact_bytes == frozen.artefact_bytes  # merged
    assert frozen.flops_per_image < last.flops_per_image < low.flops_per_image < full.flops_per_image


@pytest.mark.usefixtures("no_data")
def test_joined_sources_and_unknown_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Study("f2l/gtav_synthia_urbansyn", (), methods="deit_s", out=tmp_path / "out").plan()
    cost = stage_cost(plan.stages[1])
    assert cost is not None
    assert cost.images == 300 * ((24_966 + 9_400 + 7_539) // 256 * 256 // 128) * 128
    monkeypatch.delenv("GKD_DATA")
    assert (
        "not counted: 2 stages, which start from a segmenter not trained yet, or the size of whose data nobody knows"
        in cost_summary([plan], tmp_path, None)
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("family", ["f2l", "f2f"])
def test_the_short_profile_fits_into_a_day_of_one_device(family: str, tmp_path: Path) -> None:
    profile = load_profile("short")
    plans = [
        Study(
            str(part.recipe.path),
            profile.settings_for(part.recipe),
            out=tmp_path / part.name,
            store=tmp_path / "stages",
        ).plan()
        for part in load_benchmark(family)
    ]
    costs = [stage_cost(stage) for stage in {stage.hash: stage for plan in plans for stage in plan.stages}.values()]
    assert all(cost is not None and cost.devices == 1 and cost.flops is not None for cost in costs)
    hours = sum(cost.flops or 0 for cost in costs if cost is not None) / 100e12 / 3600  # what docs/benchmarks.md says
    assert 8 < hours < 20  # the rest of the day is for evaluation and reading


@pytest.mark.usefixtures("no_data")
def test_a_dry_run_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", F2L_GTAV, "--methods", "student_deit_s", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*command, "--tflops", "250"]) == 0
    printed = capsys.readouterr().out
    assert "  41.9 M parameters, 19.9 M of them learn; 323 GFLOPs an image, 160,000 images; 168 MB handed on" in printed
    assert re.search(r"handed on; 2\.\d\d? GB of memory for 4 at once\n", printed)
    assert re.search(r"\nmemory: 2\.\d\d? GB a device for the largest stage: weights, grad", printed)
    assert "minutes on one device at 250 TFLOP/s (as given), without evaluation" in printed
    assert main(command) == 0
    assert "PFLOPs; GPU hours unknown: --tflops N says" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main([*command, "--tflops", "-3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--tflops" in line


def test_amounts_and_times() -> None:
    assert [_si(value) for value in (0, 999, 999.6, 1.2e9, 9.999e11, 4.5e20)] == [
        "0 ",
        "999 ",
        "1 k",
        "1.2 G",
        "1 T",
        "450 E",
    ]
    assert _si(1.5e21) == "1,500 E"
    assert [time_text(value) for value in (5, 90, 7200, 360000)] == [
        "less than a minute",
        "2 minutes",
        "2.0 hours",
        "100 hours",
    ]


def test_teachers_off_the_device_are_not_counted(tmp_path: Path) -> None:
    two = ("minicity/two_teachers", ("task_agnostic:trainer.precision=32-true",))
    plain, spared = (
        stage_cost(Study(two[0], (*two[1], *more), methods="two_teachers", out=tmp_path).plan().stages[0])
        for more in ((), ("task_agnostic:model.offload=cpu",))
    )
    assert plain is not None
    assert spared is not None
    teacher = 4 * sum(value.numel() for value in build_encoder(MINICITY).parameters())
    assert plain.memory_bytes - spared.memory_bytes == teacher  # two of a size, of which one is there
    assert plain.parameters == spared.parameters


@pytest.mark.usefixtures("no_data")
def test_the_full_scale_recipe_of_two_teachers_builds(tmp_path: Path) -> None:
    """With random weights: SigLIP 2 has no class token, and sees 256 pixels where the student sees 224."""
    plan = Study("several_teachers/gtav", out=tmp_path).plan()
    of_one, _, _, first, second, _ = (stage_cost(stage) for stage in plan.stages)
    assert of_one is not None
    assert first is not None
    assert second is not None
    assert 85e6 < first.parameters - of_one.parameters < 95e6  # one more ViT-B
    assert second.flops_per_image > 4 * first.flops_per_image  # 1,024 tokens for 256
