"""A run that waits for its data says so once, and names the switch that helps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.callbacks import waiting
from gkd_lightning.chain.callbacks.waiting import advice
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.data import DistillAugmentation, MiniCity, MiniCityShapes, ProxyDataModule, SourceDataModule
from tests.chain import toys
from tests.data.test_workers import on

SAYS = "of the time is waiting for data"


class Slow(toys.Greys):
    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        time.sleep(0.05)
        return super().__getitem__(index)


def run(folder: Path, *options: str) -> None:
    (folder / "toy.yaml").write_text(toys.CONFIG)
    StageCLI(["--config", str(folder / "toy.yaml"), f"--trainer.default_root_dir={folder / 'out'}", *options]).run()


def test_it_is_said_once_and_only_of_a_run_that_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WINDOW", 4)
    monkeypatch.setattr(waiting, "WARM_UP", 1)
    monkeypatch.setattr(toys.ToyData, "free_workers", 3)
    monkeypatch.setattr(toys, "Greys", Slow)
    run(tmp_path, "--data.num_workers=1", "--title=toy")
    lines = [line for line in capsys.readouterr().out.splitlines() if SAYS in line]
    assert len(lines) == 1  # of three windows
    assert lines[0].startswith("toy: ")
    assert int(lines[0].split()[1].removesuffix("%")) > 50
    assert lines[0].endswith("data.num_workers is 1, there are cores for 3")
    run(tmp_path)  # on the CPU, in the main process: work
    assert SAYS not in capsys.readouterr().out


@pytest.mark.parametrize(("waited", "said"), [(0.09, False), (0.13, True)])
def test_a_tenth_is_the_limit(
    waited: float, said: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of one second by the clock of this test, each after `waited` seconds: 8 % and 12 % of the time."""
    now = 0.0
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: now)
    data = ProxyDataModule(MiniCityShapes(8), 32, 4, num_workers=2)
    loader, trainer = data.train_dataloader(), on("cuda")
    trainer.train_dataloader, trainer.datamodule, trainer.is_global_zero = loader, data, True
    data.trainer = trainer
    watch: Any = waiting.WaitingForData("gkd/task")
    for step in range(waiting.WARM_UP + 2 * waiting.WINDOW):
        loader.waiting.seconds += waited if step >= waiting.WARM_UP else 60.0  # workers start
        watch.on_train_batch_start(trainer, None, None, step)
        now += 1
        watch.on_train_batch_end(trainer, None, None, None, step)
        now += 30  # a validation is neither
    lines = [line for line in capsys.readouterr().out.splitlines() if SAYS in line]
    assert [line.split(" of ")[0] for line in lines] == (["gkd/task: 12%"] if said else [])


def test_the_switch_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkd_lightning.data.module_base.loading_processes", lambda processes: 7)
    proxy = ProxyDataModule(MiniCityShapes(8), 32, 4, num_workers=0)
    source = SourceDataModule(MiniCity("game", 8), "distillation", 32, 4, num_workers=0)
    labelled = SourceDataModule(MiniCity("game", 8), "segmentation", 32, 4, num_workers=0)
    on_device = DistillAugmentation(on_device=True)
    done = ProxyDataModule(MiniCityShapes(8), 32, 4, num_workers=0, augmentation=on_device)
    for data, expected in (
        (proxy, "set data.augmentation.on_device=true, or make"),
        (source, "set data.distill_augmentation.on_device=true, or make"),
        (labelled, "make files that decode faster with `gkd data prepare fast`, or ask"),
        (done, "make files that decode faster with `gkd data prepare fast`, or ask"),
    ):
        loader = data.train_dataloader()
        data.trainer = on("cuda")
        assert advice(data, loader) == "data.num_workers is 0, there are cores for 7"
        data.num_workers = 7
        assert advice(data, loader).startswith(expected)
        data.trainer = on("cpu")
        assert "on_device" not in advice(data, loader)
