"""From a segmenter to pictures of anybody's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity, Protocol, TargetDataModule
from gkd_lightning.data.loading import EvaluationView
from gkd_lightning.segment import load_segmenter, record_protocols
from tests.chain.artefacts import segmenter


def test_a_segmenter_is_all_that_prediction_needs(tmp_path: Path) -> None:
    """Grey, alpha, 16 bit and a rotated photograph, each at its own upright size."""
    weights = segmenter(tmp_path / "made") / "segmenter.safetensors"
    images = tmp_path / "images"
    (images / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 70), dtype=np.uint8)).save(images / "grey.png")
    Image.fromarray(rng.integers(0, 256, (40, 90, 4), dtype=np.uint8)).save(images / "deep/alpha.png")
    Image.fromarray(rng.integers(0, 65536, (33, 35)).astype(np.uint16)).save(images / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(images / "turned.jpg", exif=exif)
    out = tmp_path / "out"
    assert main(["predict", "--ckpt", str(weights), "--images", str(images), "--out", str(out)]) == 0
    sizes = {"grey": (70, 50), "deep/alpha": (90, 40), "sixteen": (35, 33), "turned": (40, 60)}
    for name, size in sizes.items():
        ids, colour, overlay = (Image.open(out / kind / f"{name}.png") for kind in ("ids", "colour", "overlay"))
        assert ids.size == colour.size == overlay.size == size
        assert (ids.mode, colour.mode, overlay.mode) == ("L", "RGB", "RGB")
        assert np.asarray(ids).max() < 8
    assert not list(out.rglob("*.partial"))
    (images / "bad.png").write_bytes(b"x")
    assert main(["predict", "--ckpt", str(weights), "--images", str(images), "--out", str(tmp_path / "again")]) == 2
    assert len(list((tmp_path / "again/ids").rglob("*.png"))) == 4


def test_predictions_are_those_of_the_judge(tmp_path: Path) -> None:
    """Each domain by its own rule, from the recipe's evaluation to single images."""
    weights = segmenter(tmp_path / "made") / "segmenter.safetensors"
    loaded = load_segmenter(weights)
    domains = {"day": MiniCity("day", 3), "night": MiniCity("night", 3)}
    rules = {"day": Protocol("fit", (64, 40)), "night": Protocol("exact", (70, 50))}
    data = TargetDataModule(domains, protocols=rules)
    for name, dataset in domains.items():
        (tmp_path / name).mkdir()
        for index in range(len(dataset)):
            Image.fromarray(dataset.image(index)).save(tmp_path / name / f"{index}.png")
    ckpt = ["predict", "--ckpt", str(weights)]
    record_protocols(weights, {"day": data.protocol_of("day").asdict()})
    assert main([*ckpt, "--images", str(tmp_path / "day"), "--out", str(tmp_path / "out/day")]) == 0
    record_protocols(weights, {"night": data.protocol_of("night").asdict()})
    night = [*ckpt, "--images", str(tmp_path / "night"), "--out", str(tmp_path / "out/night")]
    assert main(night) == 2
    assert main([*night, "--domain", "fog"]) == 2
    assert main([*night, "--domain", "night"]) == 0
    for name, dataset in domains.items():
        for index, sample in enumerate(EvaluationView(dataset, data.protocol_of(name))[i] for i in range(len(dataset))):
            height, width = dataset.label(index).shape
            with torch.inference_mode():
                expected = loaded.segmenter.predict(sample["image"][None], (height, width))[0].numpy()
            assert np.array_equal(np.asarray(Image.open(tmp_path / f"out/{name}/ids/{index}.png")), expected)


def test_out_is_not_among_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in ("images", "images/deep/out", "images/../images/x"):
        command = ["predict", "--ckpt", "none", "--images", str(tmp_path / "images"), "--out", str(tmp_path / out)]
        assert main(command) == 2
        assert "where the next call would take predictions for images" in capsys.readouterr().err
