"""Loading processes: how many, on one thread each, sharing what they drew, and never a different bit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from torch.utils.data import DataLoader, Dataset

from gkd_lightning.data import MiniCity, MiniCityShapes, ProxyDataModule, SourceDataModule
from gkd_lightning.data import module_base as module
from gkd_lightning.data.loading import loader_options
from gkd_lightning.data.minicity.dataset import SharedImages


def on(device: str, processes: int = 1, environment: Any = None) -> Any:
    """As much of a trainer as a data module looks at for its loaders."""
    strategy = SimpleNamespace(
        root_device=torch.device(device), cluster_environment=environment or LightningEnvironment()
    )
    return SimpleNamespace(strategy=strategy, num_devices=processes)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> ProxyDataModule:
    monkeypatch.setattr(module, "loading_processes", lambda processes: 24 // processes - 1)
    return ProxyDataModule(MiniCityShapes(8), 32, 4)


def test_auto_is_a_gpus_share_of_the_cores_and_nothing_on_a_cpu(proxy: ProxyDataModule) -> None:
    assert proxy.workers == 0
    for trainer, expected in (
        (on("cpu"), 0),
        (on("cuda"), 23),
        (on("cuda", 4), 5),
        (on("cuda", 4, SLURMEnvironment()), 23),  # a task of its own each, with the cores that the job asked for
    ):
        proxy.trainer = trainer
        assert proxy.workers == expected
    proxy.num_workers = 3
    assert proxy.workers == 3


def batches(workers: int) -> list[dict[str, torch.Tensor]]:
    data = SourceDataModule(MiniCity("game", 12), "segmentation", 32, 4, num_workers=workers)
    loader = data.train_dataloader()
    return [*loader, *loader]


def test_minicity_is_the_same_with_any_number_of_workers() -> None:
    plain = batches(0)
    assert len(plain) == 6
    for workers in (1, 3):
        for one, other in zip(plain, batches(workers), strict=True):
            assert all(one[name].equal(other[name]) for name in one)


class Counted(MiniCity):
    """Notes every drawing in a file, which all processes can append to."""

    def __init__(self, log: Path) -> None:
        super().__init__("rain", 8)
        self.log = log

    def _render(self, index: int) -> Any:
        with self.log.open("a") as handle:
            handle.write(f"{index}\n")
        return super()._render(index)


def test_workers_draw_an_image_once_between_them(tmp_path: Path) -> None:
    data = Counted(tmp_path / "log")
    loader = SourceDataModule(data, "distillation", 32, 4, num_workers=2).train_dataloader()
    for _ in range(4):  # in another order each: the workers meet each other's images
        assert len(list(loader)) == 2
    drawn = sorted(int(line) for line in data.log.read_text().split())
    assert sorted(set(drawn)) == list(range(8))
    assert len(drawn) <= 12  # 32 by workers that keep to themselves; two may draw one at the same time
    assert data.image(3).tolist() == MiniCity("rain", 8, cache=False).image(3).tolist()
    assert len(data.log.read_text().split()) == len(drawn)


def test_what_is_half_written_is_not_there() -> None:
    store, image = SharedImages(2, (4, 4)), np.arange(16, dtype=np.uint8).reshape(4, 4)
    store.put(1, image)
    assert store.get(0) is None
    found = store.get(1)
    assert found is not None
    assert found.tolist() == image.tolist()
    found[0, 0] = 99  # a copy
    assert store.get(1).tolist() == image.tolist()  # type: ignore[union-attr]
    store._images[1, 3, 3] = 0
    assert store.get(1) is None
    assert pickle.loads(pickle.dumps(store)).get(1) is None  # another process, a room of its own


class Busy(Dataset[torch.Tensor]):
    """Work that would start threads."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        large = torch.ones(2**22)
        (large.view(2048, 2048) @ large.view(2048, 2048)).relu().sum()
        image = np.zeros((1024, 1024, 3), np.uint8)
        cv2.resize(cv2.GaussianBlur(image, (9, 9), 2.0), (700, 700), interpolation=cv2.INTER_CUBIC)
        threads = len(os.listdir("/proc/self/task"))
        return torch.tensor([threads, torch.get_num_threads(), cv2.getNumThreads(), int(os.environ["OMP_NUM_THREADS"])])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux lists them")
def test_a_worker_computes_on_one_thread() -> None:
    threads, before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(4)  # what the main process has must not reach a worker
        cv2.setNumThreads(4)
        (found,) = DataLoader(Busy(), **loader_options(1, 0, pin_memory=False))
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(before)
    assert found[0].tolist() == [1, 1, 1, 1]
