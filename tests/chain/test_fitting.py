"""The largest batch that fits: the search, how a global batch is made of it, and real steps under a limit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gkd_lightning.chain import trial_steps as module
from gkd_lightning.chain.fitting import accumulated, largest, out_of_memory
from gkd_lightning.chain.plan import make_plan
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.chain.trial_steps import trials
from gkd_lightning.cli import main
from gkd_lightning.errors import UserError
from gkd_lightning.memory import release_memory, resident_memory
from gkd_lightning.recipes import load_recipe
from tests.chain.studies import plan_study, write_study
from tests.chain.toys import CONFIG


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 24, 31, 32, 33, 100, 999, 1000])
@pytest.mark.parametrize("first", [1, 24, 512, 5000])
def test_the_search_ends_within_a_sixteenth(limit: int, first: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= limit

    found = largest(fits, first, most=1000)
    assert found <= limit
    assert limit - found <= found // 16
    assert len(tried) == len(set(tried)) <= 17
    assert max(tried) <= min(max(2 * limit, first), 1000), "a try much above what fits may bring a machine down"


def test_a_global_batch_in_the_fewest_equal_pieces() -> None:
    assert [accumulated([512], 1, [n]) for n in (1000, 512, 511, 96, 64, 5)] == [1, 1, 2, 8, 8, 128]
    assert [accumulated([512], 8, [n]) for n in (64, 63)] == [1, 2]
    with pytest.raises(UserError, match="512 cannot be divided by 3 devices"):
        accumulated([512], 3, [10])


@pytest.mark.parametrize(
    ("batches", "devices", "at_once", "parts"),
    [
        ([32, 16, 8], 1, [32, 16, 8], 1),
        ([32, 16, 8], 1, [99, 99, 7], 2),  # one number for all sizes, so the largest images decide
        ([32, 16, 8], 2, [5, 8, 8], 4),
        ([12, 8], 1, [12, 1], 0),
    ],
)
def test_batches_of_several_sizes_in_the_fewest_equal_pieces(
    batches: list[int], devices: int, at_once: list[int], parts: int
) -> None:
    if parts:
        assert accumulated(batches, devices, at_once) == parts
    else:
        with pytest.raises(UserError, match="12 and 8 have no common number of accumulated batches"):
            accumulated(batches, devices, at_once)


def test_what_says_that_memory_is_short() -> None:
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not out_of_memory(RuntimeError("shapes do not fit"))


class SmallDevice:
    """Steps of more than `limit` images end as they do on a GPU that is too small; every try is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.tried: list[int] = []
        self.limit = limit
        run, small = StageCLI.run, self

        def checked(self: StageCLI) -> None:
            data: Any = self.datamodule
            at_once = data.batch_size // self.trainer.accumulate_grad_batches
            small.tried.append(at_once)
            if at_once > small.limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            run(self)

        monkeypatch.setattr(StageCLI, "run", checked)
        monkeypatch.setattr(module, "_on_gpu", lambda config: True)


def test_a_device_that_runs_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured batch of 12 does not fit, 5 do."""
    device = SmallDevice(monkeypatch, 5)
    (tmp_path / "toy.yaml").write_text(CONFIG)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: toy\ncommon: {configs: [toy.yaml]}\nmethods:\n  one: {stages: [{name: only}]}\n")
    plan = make_plan(load_recipe(str(recipe)), tmp_path / "out", [("data.batch_size", 12)])
    with pytest.raises(UserError, match="stage only: out of memory with 12 images at once; --fit-batch finds how many"):
        list(trials(plan, 1))
    device.tried.clear()
    (found,) = trials(plan, 1, fit_batch=True)
    assert device.tried == [12, 6, 3, 4, 5, 4]  # the last is the trial itself: 12 = 3 x 4
    assert found.fitted is not None
    assert (found.fitted.at_once, found.fitted.accumulate, found.fitted.limit_bytes) == ((5,), 3, None)
    assert str(found.fitted).endswith(
        "data.batch_size 12, and with it the learning rate, stays: 1 devices x 4 images x 3 accumulated: "
        "--set only:trainer.accumulate_grad_batches=3"
    )
    device.limit = 0
    with pytest.raises(UserError, match="stage only: not even one image at once fits"):
        list(trials(plan, 1, fit_batch=True))


@pytest.mark.slow
def test_no_more_than_there_are_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SmallDevice(monkeypatch, 1000)
    plan = plan_study(write_study(tmp_path), tmp_path / "out", "none", data__num_workers=0)
    (found,) = trials(plan, 1, fit_batch=True)
    assert device.tried == [4, 8, 16, 20, 4]
    assert found.fitted is not None
    assert (found.fitted.at_once, found.fitted.accumulate) == ((20,), 1)
    assert "--set" not in str(found.fitted)


@pytest.mark.slow
def test_a_limit_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real steps of larger images under a limit that some images reach and more do not."""
    command = ["run", str(write_study(tmp_path)), "--methods", "none", "--out", str(tmp_path / "out"), "--probe", "1"]
    command += ["--set", "data.num_workers=0", "--set", "data.image_size=192", "--set", "model.encoder.image_size=192"]
    assert main([*command, "--set", "data.batch_size=1"]) == 0  # libraries are loaded, caches filled
    capsys.readouterr()
    release_memory()
    limit = f"{(resident_memory() + 400 * 2**20) / 2**30:.2f}"
    assert main([*command, "--set", "data.batch_size=2", "--fit-batch", "--memory", limit]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "largest batch" in line)
    found = re.search(r"on one device: (\d+) images, (\d+\.\d\d) of (\d+\.\d\d) GiB", line)
    assert found is not None
    assert found[3] == limit
    assert float(found[2]) <= float(limit)
    assert 1 <= int(found[1]) < 20
