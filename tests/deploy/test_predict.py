"""From a segmenter to pictures of anybody's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gkd_lightning.cli import main
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
