"""Models timed in turns, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.cores import cores
from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import Candidate, export_segmenter, measure
from gkd_lightning.deploy.latency import TURN, in_turns
from gkd_lightning.errors import UserError
from gkd_lightning.segment import LinearHead
from tests.chain.artefacts import segmenter

pytest.importorskip("onnxruntime")

IMAGES = np.stack([MiniCity("day", 2).image(index) for index in range(2)])
"""96x96 pixels: 9 windows of 32."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return segmenter(tmp_path_factory.mktemp("quick"), head=LinearHead()) / "segmenter.safetensors"


def test_turns_go_round_and_the_first_round_does_not_count() -> None:
    order = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def turn(self, count: int) -> list[float]:
            order.append(self.name)
            return [float(len(order))] * count

    told: list[str] = []
    times = in_turns([Fake("a"), Fake("b"), Fake("c")], 2, told.append)
    assert order == ["a", "b", "c"] * 3
    assert times == [[4.0] * TURN + [7.0] * TURN, [5.0] * TURN + [8.0] * TURN, [6.0] * TURN + [9.0] * TURN]
    assert told == ["warming up", "round 1 of 2", "round 2 of 2"]


@pytest.mark.slow
def test_more_windows_take_longer_and_an_export_needs_no_pytorch(quick: Path, tmp_path: Path) -> None:
    slow = segmenter(tmp_path / "slow", head=LinearHead())
    record = json.loads((slow / "segmenter.json").read_text())
    (slow / "segmenter.json").write_text(json.dumps({**record, "stride": 8}))  # 81 windows
    export_segmenter(quick, tmp_path / "onnx", "onnx", {"day": MiniCity("day", 1)}, count=1)
    candidates = [Candidate.at(quick), Candidate.at(slow, "slow"), Candidate.at(tmp_path / "onnx")]
    rows = measure(candidates, IMAGES, threads=[1], count=7)
    (first,), (many,), (onnx,) = rows
    assert many.median_ms > 2 * first.median_ms
    assert many.gflops == pytest.approx(9 * (first.gflops or 0))
    for each in (first, many, onnx):
        assert each.images == 2 * TURN  # whole turns
        assert 0 < each.median_ms <= each.p95_ms
        assert each.image == (96, 96)
        assert each.machine.endswith(f"{cores()} cores") or f"{cores()} core" in each.machine
    assert onnx.runtime.startswith("ONNX Runtime")
    assert first.runtime.startswith("PyTorch")
    assert onnx.peak_memory_mb < first.peak_memory_mb / 2
    assert (onnx.parameters, onnx.gflops) == (first.parameters, first.gflops)
    assert onnx.model_mb == pytest.approx((tmp_path / "onnx/model.onnx").stat().st_size / 1e6)
    with pytest.raises(UserError, match="onnx: an image of 16x16 pixels"):
        measure(candidates[2:], np.zeros((1, 16, 16, 3), np.uint8), threads=[1], count=1)


@pytest.mark.slow
def test_what_a_process_tells_is_told_with_the_models_name(quick: Path, tmp_path: Path) -> None:
    broken = segmenter(tmp_path / "broken", head=LinearHead())
    (broken / "segmenter.safetensors").write_bytes(quick.read_bytes()[:400])
    with pytest.raises(UserError, match=r"broken: .*segmenter\.safetensors"):
        measure([Candidate.at(broken)], IMAGES, threads=[1], count=1)


@pytest.mark.parametrize("name", ["nothing", "segmenter.json", "notes.txt"])
def test_what_is_no_model_is_no_candidate(name: str, tmp_path: Path) -> None:
    (tmp_path / "segmenter.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=name):
        Candidate.at(tmp_path / name)


def test_a_checkpoint_without_its_record_is_no_candidate(tmp_path: Path) -> None:
    (tmp_path / "segmenter.safetensors").write_bytes(b"weights")
    with pytest.raises(UserError, match=r"segmenter\.json: not the record of a segmenter"):
        Candidate.at(tmp_path)
