"""kill -9 anywhere in the chain, run again: the weights are those of the uninterrupted run, bit for bit."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.chain.studies import plan_study, run_and_die, write_study

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "gkd_lightning.chain.stage_cli",
        "gkd_lightning.distill",
        "gkd_lightning.segment",
        "gkd_lightning.data",
        "gkd_lightning.data.augment.segment_pipeline",
    ]
)  # imported once, every process starts as a copy
STAGES = ("task_agnostic", "domain_agnostic", "task")


def process(recipe: Path, out: Path, stage: str | None, moment: str = "step", number: int = 0) -> int | None:
    child = CONTEXT.Process(target=run_and_die, args=(str(recipe), str(out), stage, moment, number))
    child.start()
    child.join()
    return child.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    recipe = write_study(folder, several_sizes=True)
    assert process(recipe, folder / "whole", None) == 0
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(3))
def test_every_stage_survives_kills_at_a_step_and_while_writing(
    uninterrupted: Path, tmp_path: Path, repeat: int
) -> None:
    """13 steps in epochs of 5, in stage 1a of 2; checkpoints after 3, 6, 9 and 12 steps; two workers."""
    draw = random.Random(repeat)
    for stage in STAGES:
        step = draw.choice([2, 4, 7, 8, 11])  # inside an epoch
        assert process(uninterrupted, tmp_path, stage, "step", step) == -9
        assert process(uninterrupted, tmp_path, stage, "write", 1) == -9
        (directory,) = (tmp_path / "stages").glob(f"{stage}-*")
        assert list(directory.glob(".resume.ckpt.*.partial")), "the kill did not hit the writing"
        assert not (directory / "done.json").exists()
        assert (directory / "resume.ckpt").exists() == (step > 3)
    assert process(uninterrupted, tmp_path, None) == 0
    expected = plan_study(uninterrupted, uninterrupted.parent / "whole").stages
    for planned, other in zip(expected, plan_study(uninterrupted, tmp_path).stages, strict=True):
        assert planned.hash == other.hash
        weights, resumed = load_file(planned.artefact()), load_file(other.artefact())
        assert weights.keys() == resumed.keys()
        assert all(weights[key].equal(resumed[key]) for key in weights), planned.name
        assert not list(other.directory.glob(".*.partial"))
