"""From a segmenter to pictures of anybody's images."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gkd_lightning
from gkd_lightning.cli import main
from gkd_lightning.data import MINICITY_8, MiniCity, Protocol, TargetDataModule
from gkd_lightning.data.loading import EvaluationView
from gkd_lightning.deploy import SegmentationModel
from gkd_lightning.errors import UserError
from gkd_lightning.segment import load_segmenter, record_protocols
from tests.chain.artefacts import segmenter
from tests.deploy.predict.made import checkpoint, picture, video
from tests.deploy.predict.test_coco import decoded


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
    (tmp_path / "images").mkdir()
    for out in ("images", "images/deep/out", "images/../images/x"):
        command = ["predict", "--ckpt", "none", "--images", str(tmp_path / "images"), "--out", str(tmp_path / out)]
        assert main(command) == 2
        assert "where the next call would take predictions for images" in capsys.readouterr().err


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("linear"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six of two sizes, one of them in a folder below."""
    (tmp_path / "images/deep").mkdir(parents=True)
    for index in range(6):
        name = f"deep/{index}.png" if index == 5 else f"{index}.png"
        Image.fromarray(picture(index, (48, 64) if index % 4 else (40, 56))).save(tmp_path / "images" / name)
    return tmp_path / "images"


def predict(weights: Path, images: Path, out: Path, *more: str) -> int:
    command = ["predict", "--ckpt", str(weights), "--device", "cpu", "--images", str(images), "--out", str(out)]
    return main([*command, *more])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_scores_and_confidence_are_those_of_python(weights: Path, images: Path, tmp_path: Path) -> None:
    assert predict(weights, images, tmp_path / "out", "--scores", "--confidence") == 0
    model = gkd_lightning.load(weights, device="cpu")
    for name in ("0", "1", "deep/5"):
        expected = model.predict(images / f"{name}.png")
        assert np.array_equal(ids(tmp_path / f"out/ids/{name}.png"), expected.ids)
        scores = np.load(tmp_path / f"out/scores/{name}.npy")
        assert scores.dtype == np.float16
        assert np.array_equal(scores, expected.scores.astype(np.float16))
        confidence = ids(tmp_path / f"out/confidence/{name}.png")
        assert confidence.dtype == np.uint16
        assert np.abs(confidence / 65535 - expected.confidence).max() < 1e-5


def test_classes_leave_the_others_out_everywhere(weights: Path, images: Path, tmp_path: Path) -> None:
    assert predict(weights, images, tmp_path / "all", "--scores") == 0
    found = np.concatenate([ids(path).ravel() for path in (tmp_path / "all/ids").rglob("*.png")])
    first, second = np.argsort(-np.bincount(found, minlength=8))[:2].tolist()
    kept = [MINICITY_8.names[number] for number in (second, first)]
    assert predict(weights, images, tmp_path / "two", "--scores", "--json", "--classes", ", ".join(kept)) == 0
    whole, part = ids(tmp_path / "all/ids/1.png"), ids(tmp_path / "two/ids/1.png")
    assert np.array_equal(part, np.where(np.isin(whole, [first, second]), whole, 255))
    order = sorted([first, second])
    scores = [np.load(tmp_path / f"{name}/scores/1.npy") for name in ("all", "two")]
    assert np.array_equal(scores[0][order], scores[1])
    picture, shown = ids(images / "1.png"), ids(tmp_path / "two/overlay/1.png")
    assert np.array_equal(shown[part == 255], picture[part == 255])
    assert not np.array_equal(shown, picture)
    coco = json.loads((tmp_path / "two/coco.json").read_text())
    assert [each["id"] for each in coco["categories"]] == order
    assert {each["category_id"] for each in coco["annotations"]} <= set(order)


def test_coco_masks_are_the_id_maps(weights: Path, images: Path, tmp_path: Path) -> None:
    assert predict(weights, images, tmp_path / "out", "--json") == 0
    coco = json.loads((tmp_path / "out/coco.json").read_text())
    assert [each["file_name"] for each in coco["images"]] == ["0.png", "1.png", "2.png", "3.png", "4.png", "deep/5.png"]
    for image in coco["images"]:
        whole = ids(tmp_path / "out/ids" / image["file_name"])
        again = np.full((image["height"], image["width"]), 255, np.uint8)
        for each in coco["annotations"]:
            if each["image_id"] == image["id"]:
                assert 0 < each["score"] <= 1
                again[decoded(**each["segmentation"])] = each["category_id"]
        assert np.array_equal(again, whole)


def test_batches_change_no_id(weights: Path, images: Path, tmp_path: Path) -> None:
    assert predict(weights, images, tmp_path / "one") == 0
    assert predict(weights, images, tmp_path / "four", "--batch", "4") == 0
    assert files(tmp_path / "one/ids") == files(tmp_path / "four/ids")


def test_a_second_call_does_what_is_left(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(weights, images, out, "--json") == 0
    whole = files(out)
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 6
    assert re.fullmatch(r"gkd: 6 images, [\d.]+ a second; [\d.]+ ms each in the segmenter\n", printed.err)
    assert predict(weights, images, out, "--json") == 0
    assert capsys.readouterr() == ("", "gkd: nothing to segment (6 were finished before)\n")
    assert files(out) == whole
    (out / "colour/2.png").unlink()
    Image.fromarray(picture(7)).save(images / "3.png")  # another one now
    assert predict(weights, images, out, "--json") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(out / "ids/2.png"), str(out / "ids/3.png")]
    assert files(out)["colour/2.png"] == whole["colour/2.png"]
    assert files(out)["ids/3.png"] != whole["ids/3.png"]
    assert predict(weights, images, out, "--json", "--confidence") == 0  # more is wanted of all
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_another_segmenter_does_not_go_on(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(weights, images, tmp_path / "out") == 0
    before = files(tmp_path / "out")
    other = checkpoint(tmp_path / "other", width=16)
    assert predict(other, images, tmp_path / "out") == 2
    assert "holds predictions of another segmenter (predict.json); give another folder" in capsys.readouterr().err
    assert predict(weights, images, tmp_path / "out", "--classes", "road") == 2
    assert "holds predictions of other --classes" in capsys.readouterr().err
    assert files(tmp_path / "out") == before


def test_an_interruption_leaves_whole_files_and_a_call_that_goes_on(
    weights: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find, calls = SegmentationModel.find, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return find(*arguments, **options)

    monkeypatch.setattr(SegmentationModel, "find", interrupted)
    assert predict(weights, images, tmp_path / "out") == 130
    assert "interrupted, resume with: gkd predict --ckpt" in capsys.readouterr().err
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).load()
    assert predict(weights, images, tmp_path / "out") == 0
    assert predict(weights, images, tmp_path / "plain") == 0
    one, other = (files(tmp_path / name) for name in ("out", "plain"))
    assert {name: one[name] for name in one if name.endswith(".png")} == {
        name: other[name] for name in other if name.endswith(".png")
    }


def test_broken_files_are_listed_and_the_others_done(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "broken.png").write_bytes(b"x")
    (images / "deep/cut.jpg").write_bytes((images / "0.png").read_bytes()[:99])
    assert predict(weights, images, tmp_path / "out", "--json") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"gkd: 2 of 8 not (wholly) segmented: {images}/broken.png: cannot be read as image: ")
    assert f"; {images}/deep/cut.jpg: " in error
    assert len(list((tmp_path / "out/ids").rglob("*.png"))) == 6
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["images"]) == 6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--classes", "road,cra"], "--classes cra: no such class, did you mean 'car'? (sky, building, road"),
        (["--classes", "road,road"], "--classes road,road: a class is named twice"),
        (["--classes", ""], "--classes : no such class"),
        (["--batch", "0"], "--batch 0: give 1 or more"),
        (["--batch", "two"], "--batch: invalid int value: 'two'"),
        (["--domain", "fog"], "--domain fog: the segmenter was not judged on it"),
        (["--device", "cuba"], "device: cuba: "),
        (["--score"], "--score: unknown option, did you mean '--scores'?"),
    ],
)
def test_mistakes_of_options_are_told_before_the_work(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert predict(weights, images, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_is_a_folder(weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert predict(weights, images, tmp_path / "file") == 2
    assert f"--out {tmp_path}/file: is a file; give a folder" in capsys.readouterr().err


def test_frames_and_images_do_not_share_a_folder(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    video(images / "deep.mp4", frames=2)
    assert predict(weights, images, tmp_path / "out", "--ids") == 2
    assert f"{images}/deep.mp4 and {images}/deep/5.png: outputs of the former's frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert predict(weights, images, tmp_path / "out") == 0


def test_what_the_segmenter_refuses_is_listed_too(
    weights: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an export refuses an image that is smaller than its window."""
    find = SegmentationModel.find

    def choosy(self: SegmentationModel, images: Any, *arguments: Any, **options: Any) -> Any:
        if images[0].shape[0] == 40:
            raise UserError("too small")
        return find(self, images, *arguments, **options)

    monkeypatch.setattr(SegmentationModel, "find", choosy)
    assert predict(weights, images, tmp_path / "out") == 2
    assert f"2 of 6 not (wholly) segmented: {images}/0.png: too small; {images}/4.png: too" in capsys.readouterr().err
    assert len(list((tmp_path / "out/ids").rglob("*.png"))) == 4


def test_a_full_disk_leaves_no_half_written_file(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        status = predict(weights, images, tmp_path / "out", "--scores")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    assert "a file would be larger than is allowed here" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "scores" in str(path)]
    assert not list((tmp_path / "out").rglob("*.partial"))
