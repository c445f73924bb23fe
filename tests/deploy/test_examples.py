"""The programs that the documents show for using an export without this library: the same classes as with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gkd_lightning
from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import export_segmenter
from gkd_lightning.segment import LinearHead, record_protocols
from tests.chain.artefacts import segmenter

pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).parents[2] / "docs/examples"
RULES = [{"resize": "exact", "size": [44, 36]}, {"resize": "fit", "size": [70, 50]}, {"resize": "none", "size": None}]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export, beside the segmenter that it was made of and a picture."""
    folder = tmp_path_factory.mktemp("examples")
    weights = segmenter(folder / "made", head=LinearHead()) / "segmenter.safetensors"
    record_protocols(weights, {"day": RULES[0]})
    export_segmenter(weights, folder / "onnx", "onnx", {"day": MiniCity("day", 2)}, tolerate=100.0)
    Image.fromarray(MiniCity("day", 3).image(2)[:80]).save(folder / "street.png")
    return folder


def expected(folder: Path, rule: dict[str, object]) -> np.ndarray:
    """What the library makes of the picture, after both records were told to resize by that rule."""
    record_protocols(folder / "made/segmenter.safetensors", {"day": rule})
    path = folder / "onnx/export.json"
    content = gkd_lightning.load(folder / "onnx").record
    content["judged"]["day"] = rule
    path.write_text(json.dumps(content))
    found: np.ndarray = gkd_lightning.load(folder / "made/segmenter.safetensors", "cpu").ids(folder / "street.png")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["resize"])
def test_python(exported: Path, rule: dict[str, object]) -> None:
    wanted = expected(exported, rule)
    command = [sys.executable, str(EXAMPLES / "segment.py"), "onnx", "street.png", "ids.png"]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 8
    assert (np.asarray(Image.open(exported / "ids.png")) == wanted).mean() > 0.999
    assert len((EXAMPLES / "segment.py").read_text().splitlines()) < 80


@pytest.mark.slow
def test_cpp(exported: Path) -> None:
    """Built by CMake against the libraries of OpenVINO's wheel."""
    spec = find_spec("openvino")  # is not imported: it would talk to the network
    if spec is None or spec.origin is None or not shutil.which("cmake") or not shutil.which("g++"):
        pytest.skip("needs openvino, CMake and g++")
    header = subprocess.run(
        ["g++", "-E", "-x", "c++", "-"], input="#include <nlohmann/json.hpp>", capture_output=True, text=True
    )
    if header.returncode:
        pytest.skip("needs nlohmann/json.hpp")
    library = Path(spec.origin).parent
    for command in (
        ["cmake", "-S", str(EXAMPLES), "-B", "build", f"-DOpenVINO_DIR={library / 'cmake'}"],
        ["cmake", "--build", "build"],
    ):
        subprocess.run(command, cwd=exported, check=True, capture_output=True)
    Image.open(exported / "street.png").save(exported / "street.ppm")
    for rule in RULES:
        wanted = expected(exported, rule)
        subprocess.run(["build/segment", "onnx", "street.ppm", "ids.pgm"], cwd=exported, check=True)
        assert (np.asarray(Image.open(exported / "ids.pgm")) == wanted).mean() > (
            0.999 if rule["size"] is None else 0.99
        )  # see arrays.py
    wrong = subprocess.run(
        ["build/segment", "onnx", "street.png", "ids.pgm"], cwd=exported, capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stderr) == (2, "not a binary PPM of 8 bits\n")
    assert len((EXAMPLES / "segment.cpp").read_text().splitlines()) < 80
