"""Every head that ships leaves: as a graph that gives the checkpoint's ids, and timed beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import Candidate, OnnxSegmenter, export_segmenter, measure
from gkd_lightning.segment import EncoderOnlyHead, HeadSettings, SegformerHead, load_segmenter
from tests.chain.artefacts import segmenter
from tests.segment.fake import HEAD

pytest.importorskip("onnxruntime")

HEADS: dict[str, HeadSettings] = {  # the others: test_export
    "segformer": SegformerHead(32),
    "light_queries": replace(HEAD, encoder_layers=0),
    "encoder_only": EncoderOnlyHead(6, blocks=2, doublings=1, points=40),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_exported_and_timed(name: str, tmp_path: Path) -> None:
    weights = segmenter(tmp_path / "made", head=HEADS[name]) / "segmenter.safetensors"
    export_segmenter(weights, tmp_path / "out", "onnx", {"day": MiniCity("day", 2)}, count=2)
    images = np.stack([MiniCity("day", 2).image(index)[:32, :32] for index in range(2)])
    scores = OnnxSegmenter(tmp_path / "out").outputs(images)["scores"]
    with torch.no_grad():
        expected = load_segmenter(weights).segmenter.scores(torch.from_numpy(images).movedim(-1, 1)).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert scores.std((2, 3)).max() > 0.01  # an answer that depends on the pixel
    candidates = [Candidate.at(weights), Candidate.at(tmp_path / "out")]
    (own,), (exported,) = measure(candidates, images, threads=[1], count=5)
    assert min(own.median_ms, exported.median_ms) > 0
    assert own.parameters == exported.parameters
