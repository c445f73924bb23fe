"""From a segmenter to other runtimes: the same classes, checked before anything is kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gkd_lightning
from gkd_lightning.chain.judging.evaluation import Evaluation
from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity, ProxyImages
from gkd_lightning.deploy import OnnxSegmenter, export_segmenter, open_export
from gkd_lightning.deploy.arrays import Picture
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import confidence
from gkd_lightning.segment import LinearHead, record_protocols
from tests.chain.artefacts import segmenter
from tests.deploy.predict.made import video

pytest.importorskip("onnxruntime")

RULE = {"resize": "exact", "size": [44, 36]}
"""Every image becomes 36x44 (height x width): two windows of 32 in both directions."""
DOMAINS = {"game": MiniCity("game", 3), "night": MiniCity("night", 3)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mask2Former segmenter that was judged on two domains."""
    weights = segmenter(tmp_path_factory.mktemp("made")) / "segmenter.safetensors"
    record_protocols(weights, dict.fromkeys(DOMAINS, RULE))
    return weights


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the plainest head, whose graph is written in seconds."""
    weights = segmenter(tmp_path_factory.mktemp("linear"), head=LinearHead()) / "segmenter.safetensors"
    record_protocols(weights, dict.fromkeys(DOMAINS, RULE))
    return weights


@pytest.fixture(scope="module")
def onnx(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "onnx"
    arguments = ["export", "--ckpt", str(checkpoint), "--to", "onnx", "--out", str(out), "--domains", "game,night"]
    assert main([*arguments, "--count", "3"]) == 0
    return out


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(3):
        Image.fromarray(MiniCity("day", 3).image(index)[: 96 - 20 * index]).save(folder / f"{index}.png")
    return folder


@pytest.mark.slow
def test_an_export_says_what_it_is(onnx: Path, checkpoint: Path) -> None:
    assert sorted(path.name for path in onnx.iterdir()) == ["export.json", "model.onnx"]
    record = json.loads((onnx / "export.json").read_text())
    assert not {name for name in record["operators"] if name == "GridSample" or "::" in name}
    from tests.deploy.tensorrt import refused  # needs onnx

    assert not refused(onnx / "model.onnx")
    assert record["input"]["shape"] == ["batch", 32, 32, 3]
    assert record["judged_with"] == [32, 32]
    assert record["source"]["sha256"] == json.loads(checkpoint.with_name("segmenter.json").read_text())["sha256"]
    assert [check["domain"] for check in record["checks"]] == ["game", "night"]
    for check in record["checks"]:
        assert check["equal"] >= 99.9
        assert abs(check["judged"] - check["exported"]) <= 0.05


@pytest.mark.slow
def test_predictions_are_those_of_the_checkpoint(
    onnx: Path, checkpoint: Path, photographs: Path, tmp_path: Path
) -> None:
    """Resized, in four windows, brought back to each image's own size; also when the judge asks."""
    for name, model in (("theirs", onnx), ("ours", checkpoint)):
        assert main(["predict", "--ckpt", str(model), "--images", str(photographs), "--out", str(tmp_path / name)]) == 0
    for path in sorted((tmp_path / "ours/ids").iterdir()):
        ours, theirs = np.asarray(Image.open(path)), np.asarray(Image.open(tmp_path / "theirs/ids" / path.name))
        assert ours.shape == theirs.shape
        assert (ours == theirs).mean() > 0.999
    batch = torch.from_numpy(np.stack([MiniCity("fog", 2).image(i)[:50, :40] for i in range(2)])).permute(0, 3, 1, 2)
    judges = [Evaluation(str(path)) for path in (onnx, checkpoint)]
    assert (judges[0].segmenter.window, judges[0].segmenter.stride) == (32, 32)
    theirs, ours = (judge.segmenter.predict(batch, (60, 45)) for judge in judges)
    assert theirs.dtype == ours.dtype
    assert (theirs == ours).float().mean() > 0.999
    for judge, ids in zip(judges, (theirs, ours), strict=True):
        found = judge.predicted({"image": batch, "label": torch.zeros(2, 60, 45)})
        assert found.ids.equal(ids)
        assert found.scores is not None  # of which confidence is judged
        assert found.scores.argmax(1).equal(ids)


@pytest.mark.slow
def test_the_runtime_needs_numpy_and_onnxruntime_alone(onnx: Path, photographs: Path, checkpoint: Path) -> None:
    """Every other import fails, as in an environment of those two."""
    image = photographs / "0.npy"
    picture = np.asarray(Image.open(photographs / "0.png"))
    np.save(image, picture)
    code = f"""
import sys
OTHERS = "torch cv2 PIL scipy timm transformers lightning safetensors jsonargparse yaml matplotlib".split()
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import numpy as np
from gkd_lightning.deploy import OnnxSegmenter
model = OnnxSegmenter({str(onnx)!r}, threads=1)
np.save({str(photographs / "ids.npy")!r}, model.segment(np.load({str(image)!r}), domain="game"))
print(model.label_space.names[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids = np.load(photographs / "ids.npy")
    expected = gkd_lightning.load(checkpoint, device="cpu").predict(picture, domain="game").ids
    assert ids.shape == picture.shape[:2]
    assert (ids == expected).mean() > 0.99  # its resizing differs from OpenCV's by 1 in a few values


@pytest.mark.slow
def test_python_takes_whatever_holds_an_image(checkpoint: Path, onnx: Path, photographs: Path) -> None:
    model = gkd_lightning.load(checkpoint, device="cpu")
    path = photographs / "1.png"
    picture = Image.open(path)
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    assert np.array_equal(model.ids(path), model.predict(path).ids)
    first, *others = model.predict([path, picture, array, tensor, str(path)])
    assert first.ids.shape == array.shape[:2]
    assert first.scores.shape == (8, *array.shape[:2])
    assert 0 <= first.confidence.min() <= first.confidence.max() <= 1
    assert np.array_equal(first.scores.argmax(0), first.ids)
    assert all(np.array_equal(other.scores, first.scores) for other in others)
    assert model.overlay(path, first).shape == array.shape
    assert len(model.classes) == len(model.palette) == 8
    with pytest.raises(UserError, match=r"an image of float32 \[4, 4\]"):
        model.predict(np.zeros((4, 4), np.float32))
    exported = gkd_lightning.load(onnx)
    assert np.allclose(exported.predict(array).scores, first.scores, atol=1e-4)


@pytest.mark.slow
def test_the_snippets_of_the_page_run(
    checkpoint: Path, onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in checkpoint.parent.iterdir():
        shutil.copy(path, tmp_path)
    shutil.copytree(onnx, tmp_path / "exported")
    Image.fromarray(MiniCity("day", 1).image(0)).save(tmp_path / "street.png")
    np.save(tmp_path / "street.npy", MiniCity("day", 1).image(0))
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/deploy.md").read_text(encoding="utf-8")
    first, _, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {}
    exec(first, found)
    assert found["picture"].shape == (96, 96, 3)
    exec(second, found)
    assert (found["ids"] == found["found"].ids).mean() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "precision"),
    [("torch", "fp32"), ("openvino", "fp32"), ("onnx", "fp16"), ("onnx", "int8"), ("openvino", "int8")],
)
def test_other_formats_and_precisions(linear: Path, tmp_path: Path, form: str, precision: str) -> None:
    if form == "openvino" and find_spec("openvino") is None:  # imported by us alone: it would talk to the network
        pytest.skip("openvino is not installed")
    source = MiniCity("game", 4, offset=50)
    checks = export_segmenter(
        linear, tmp_path / "out", form, DOMAINS, precision=precision, calibration=source, tolerate=100.0, count=2,
        outputs=("ids", "scores", "confidence"), temperature=2.5,
    )  # type: ignore[arg-type]  # fmt: skip
    assert all(check.equal >= {"fp32": 99.9, "fp16": 97.0, "int8": 50.0}[precision] for check in checks)
    assert sys.modules.get("openvino_telemetry") is None
    exported = open_export(tmp_path / "out")
    whole = np.stack([MiniCity("day", 5).image(index)[:32, :32] for index in range(5)])
    found, alone = exported.outputs(whole), [exported.outputs(each[None])["scores"][0] for each in whole]
    together = found["scores"]
    assert (found["ids"] == together.argmax(1)).all()
    assert np.allclose(found["confidence"], confidence(torch.from_numpy(together), 2.5), atol=2e-3)
    assert together.dtype == np.float32
    assert np.allclose(together, np.stack(alone), atol=0.05 if precision == "int8" else 2e-3)
    assert len(np.unique(together.argmax(1))) > 1


@pytest.mark.slow
def test_a_camera_that_is_not_square(linear: Path, tmp_path: Path) -> None:
    """One pass over 40x72 pixels, no multiple of the patch, where the judge has windows of 32x32."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(MiniCity("day", 1).image(0)[:40, :72]).save(pictures / "0.png")
    weights = shutil.copytree(linear.parent, tmp_path / "made") / linear.name
    record_protocols(weights, {"camera": {"resize": "none", "size": None}})
    cameras = {"camera": ProxyImages(str(pictures))}
    export_segmenter(weights, tmp_path / "out", "onnx", cameras, size=(40, 72), tolerate=100.0)
    exported = OnnxSegmenter(tmp_path / "out")
    assert exported.record["judged_with"] is None
    assert exported.segment(np.asarray(Image.open(pictures / "0.png")), domain="camera").shape == (40, 72)
    with pytest.raises(UserError, match=r"30x72 pixels .*--size"):
        exported.segment(MiniCity("day", 1).image(0)[:30, :72], domain="camera")


@pytest.mark.slow
def test_channels_first_with_confidence(linear: Path, tmp_path: Path) -> None:
    """The same numbers from images (batch, 3, height, width); int8's ranges are taken in that order too."""
    source = MiniCity("game", 4, offset=50)
    for precision in ("fp32", "int8"):
        export_segmenter(
            linear, tmp_path / precision, "onnx", DOMAINS, precision=precision, layout="nchw",
            outputs=("confidence", "scores", "ids"), calibration=source, tolerate=100.0, count=2,
        )  # type: ignore[arg-type]  # fmt: skip
    exported = OnnxSegmenter(tmp_path / "fp32")
    assert exported.record["input"]["shape"] == ["batch", 3, 32, 32]
    assert list(exported.record["outputs"]) == ["ids", "scores", "confidence"]
    assert "temperature" not in exported.record
    picture = MiniCity("day", 1).image(0)
    found = exported.outputs(picture[None, :32, :32])
    model = gkd_lightning.load(linear, device="cpu")
    expected = model.segmenter.scores(torch.from_numpy(picture[:32, :32].copy()).permute(2, 0, 1)[None]).detach()
    assert np.allclose(found["scores"], expected, atol=1e-4)
    assert np.allclose(found["confidence"], expected.amax(1) / expected.sum(1), atol=1e-4)
    assert np.array_equal(exported.segment(picture, "game"), model.ids(picture, "game"))


@pytest.mark.slow
def test_ids_alone(linear: Path, tmp_path: Path) -> None:
    """For images of one window; what needs several is refused, before the work and afterwards."""
    with pytest.raises(UserError, match=r"those of game are 36x44, the window 32x32; take --size 36x44"):
        export_segmenter(linear, tmp_path / "out", "onnx", DOMAINS, outputs=("ids",))
    with pytest.raises(UserError, match=r"--outputs scores: give ids and, if wanted"):
        export_segmenter(linear, tmp_path / "out", "onnx", DOMAINS, outputs=("scores",))
    export_segmenter(linear, tmp_path / "out", "onnx", DOMAINS, size=(36, 44), outputs=("ids",), tolerate=100.0)
    exported = OnnxSegmenter(tmp_path / "out")
    picture = MiniCity("day", 1).image(0)
    assert exported.segment(picture, "game").shape == (96, 96)
    window = np.ascontiguousarray(picture[None, :36, :44])
    (ids,) = exported.outputs(window).values()
    assert np.array_equal(exported.predict(window, (36, 44)), ids)
    with pytest.raises(UserError, match=r"40x44 pixels needs several windows of 36x44.*--size 40x44"):
        exported.predict(picture[None, :40, :44], (40, 44))
    with pytest.raises(UserError, match="gives no scores"):
        exported.scores(window)
    assert np.array_equal(gkd_lightning.load(tmp_path / "out").ids(window[0]), ids[0])
    images = torch.from_numpy(window).permute(0, 3, 1, 2)
    judged = Evaluation(str(tmp_path / "out")).predicted({"image": images, "label": torch.zeros(1, 36, 44)})
    assert np.array_equal(judged.ids[0], ids[0])
    assert judged.scores is None  # nothing is said of its confidence


@pytest.mark.slow
def test_what_is_another_model_is_not_kept(
    linear: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a runtime that flips labels, or a compiler that makes garbage, would be seen."""
    usual = OnnxSegmenter._run

    def flipped(self: OnnxSegmenter, images: Picture) -> list[Any]:
        scores = usual(self, images)[1][:, ::-1]
        return [scores.argmax(1).astype(np.uint8), scores]

    def other_ids(self: OnnxSegmenter, images: Picture) -> list[Any]:
        return [flipped(self, images)[0], usual(self, images)[1]]

    arguments = ["export", "--ckpt", str(linear), "--to", "onnx", "--out", str(tmp_path / "out"), "--domains", "game"]
    for wrong, message in (
        (flipped, "not the model that was judged, nothing is kept: game:"),
        (other_ids, "the export's scores and ids contradict each other"),
    ):
        for size in ([], ["--size", "40x48"]):
            monkeypatch.setattr(OnnxSegmenter, "_run", wrong)
            images = ["--images", str(photographs)] if size else []
            options = [each for each in arguments if not size or each not in ("--domains", "game")]
            assert main([*options, *images, *size, "--count", "1"]) == 2
            (line,) = capfd.readouterr().err.splitlines()
            assert message.replace("game", photographs.name if size else "game") in line
            assert not (tmp_path / "out").exists()


def test_mistakes_are_told_before_the_work(
    linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "kept.txt").write_text("from an earlier run")
    common = ["export", "--ckpt", str(linear), "--to", "onnx"]
    for arguments, message in (
        ([*common, "--out", str(used)], f"--out {used}: holds something already"),
        ([*common, "--out", str(tmp_path / "x"), "--size", "40"], "--size 40: give HEIGHTxWIDTH"),
        ([*common, "--out", str(tmp_path / "x"), "--precision", "int8"], "needs --calibrate"),
        ([*common, "--out", str(tmp_path / "x"), "--count", "0"], "--count 0: compare at least one image"),
        ([*common, "--out", str(tmp_path / "x"), "--tolerate", "nan"], "--tolerate nan: give points of mIoU"),
        ([*common[:-1], "torch", "--out", str(tmp_path / "x"), "--precision", "fp16"], "--to torch writes fp32"),
    ):
        assert main(arguments) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert message in line
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main([*common, "--out", str(tmp_path / "x")]) == 2
    assert "pip install 'gkd-lightning[onnx]'" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


@pytest.mark.slow
def test_a_damaged_export_is_not_run(onnx: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(onnx, copy)
    model = copy / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"model.onnx: its SHA-256 is not the one"):
        open_export(copy)
    model.unlink()
    with pytest.raises(UserError, match=r"model.onnx: missing"):
        open_export(copy)
    (copy / "export.json").write_text("{}")
    with pytest.raises(UserError, match="not the record of an export"):
        open_export(copy)


@pytest.mark.slow
def test_an_export_takes_videos_and_gives_scores_as_the_checkpoint_does(
    onnx: Path, checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    source = video(tmp_path / "clip.mp4", frames=3)
    found = []
    for name, model in (("theirs", onnx), ("ours", checkpoint)):
        command = ["predict", "--ckpt", str(model), "--images", str(source), "--out", str(tmp_path / name), "--ids"]
        assert main([*command, "--scores", "--confidence", "--json", "--device", "cpu", "--batch", "3"]) == 0
        maps = [np.load(path).astype(float) for path in sorted((tmp_path / name / "scores/clip").iterdir())]
        found.append(np.stack(maps))
    assert np.abs(found[0] - found[1]).max() < 2e-3  # half precision
    record = json.loads((tmp_path / "theirs/predict.json").read_text())
    assert list(record["segmenter"]) == ["model.onnx"]
