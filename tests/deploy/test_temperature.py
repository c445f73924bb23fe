"""Confidence at a temperature: that of the evaluation, the same from files, Python and exports; classes stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gkd_lightning
from gkd_lightning.chain.judging.evaluation import Evaluation
from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import OnnxSegmenter, export_segmenter
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ImageCounter, Results, Tempered, confidence
from gkd_lightning.evaluate.confidence_levels import BINS, UNITS
from gkd_lightning.evaluate.temperature_grid import TEMPERATURES, sampled
from gkd_lightning.segment import HeadSettings, LinearHead
from tests.chain.artefacts import HEAD, segmenter
from tests.evaluate.builders import domain_score, run

HEAT = 1.8
STREET = MiniCity("night", 1)


def made(folder: Path, head: HeadSettings = HEAD) -> Path:
    """A segmenter in a stage of its run."""
    return segmenter(folder / "task", head=head) / "segmenter.safetensors"


def digest(weights: Path) -> str:
    return str(json.loads(weights.with_name("segmenter.json").read_text())["sha256"])


def judged(folder: Path, artefact: str, temperature: float | None) -> None:
    """The results of a run, whose weights are `artefact`; with a temperature, if it has fitted one."""
    found = None
    if temperature is not None:
        found = Tempered(temperature, 9.0, 4.0, 1.0, 0.9, 3.0, 1.0, ((1, 1, 1),) * BINS)
    domain = replace(domain_score("day", 50.0), tempered=found)
    provenance = {"artefacts": {"task": artefact}}
    Results("r", "r", [run("gkd", domains=[domain], provenance=provenance)]).save(folder / "results.json")


@pytest.mark.parametrize("head", [HEAD, LinearHead()], ids=["mask2former", "linear"])
def test_it_is_what_the_evaluation_counts(tmp_path: Path, head: HeadSettings) -> None:
    weights = made(tmp_path, head)
    image, label = STREET.image(0), torch.from_numpy(STREET.label(0).copy())[None]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        seen = Evaluation(str(weights)).predicted({"image": pixels, "label": label})
    assert seen.scores is not None
    metric = ImageCounter(8)
    metric.update(seen.ids, label, ["street"], seen.scores)

    found = gkd_lightning.load(weights, "cpu", HEAT).predict(image)
    maps = (torch.from_numpy(found.confidence), torch.from_numpy(found.ids) == label[0], label[0] != 255)
    sure, right, counted = sampled("street", *maps)
    places = (sure * BINS).ceil().long()[counted] - 1
    metric.compute()
    assert metric.at_temperatures is not None
    bins = metric.at_temperatures.bins[TEMPERATURES.index(HEAT)]
    assert bins[:, 0].tolist() == torch.bincount(places, minlength=BINS).tolist()
    assert bins[:, 1].tolist() == torch.bincount(places[right[counted]], minlength=BINS).tolist()
    assert bins[:, 2].sum() == int((sure[counted] * UNITS).round().long().sum())


def test_files_have_it_and_classes_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = made(tmp_path, LinearHead())
    judged(tmp_path, digest(weights), HEAT)
    Image.fromarray(STREET.image(0)).save(tmp_path / "street.png")
    command = ["predict", "--ckpt", str(weights), "--device", "cpu", "--images", str(tmp_path / "street.png")]
    products = ["--confidence", "--scores", "--json"]
    for out, more in (("plain", []), ("one", ["--temperature", "1"]), ("auto", ["--temperature", "auto"])):
        assert main([*command, *products, *more, "--out", str(tmp_path / out)]) == 0
    plain, one, warm = (tmp_path / out for out in ("plain", "one", "auto"))
    for name in ("ids/street.png", "scores/street.npy", "confidence/street.png", "coco.json"):
        assert (one / name).read_bytes() == (plain / name).read_bytes()
        assert ((warm / name).read_bytes() == (plain / name).read_bytes()) == name.startswith(("ids", "scores"))
    expected = gkd_lightning.load(weights, "cpu", HEAT).predict(STREET.image(0))
    stored = np.asarray(Image.open(warm / "confidence/street.png")) / 65535
    assert np.abs(stored - expected.confidence).max() <= 0.5 / 65535 + 1e-7
    for segment in json.loads((warm / "coco.json").read_text())["annotations"]:
        mean = expected.confidence[expected.ids == segment["category_id"]].mean(dtype=np.float64)
        assert segment["score"] == pytest.approx(mean, abs=1e-6)
    # a folder of predictions holds one temperature
    assert main([*command, *products, "--out", str(warm)]) == 2
    assert f"--out {warm}: holds predictions of another --temperature" in capsys.readouterr().err


def test_the_results_have_to_be_of_these_weights(tmp_path: Path) -> None:
    weights = made(tmp_path, LinearHead())
    with pytest.raises(UserError, match=r"--temperature auto: no results\.json in the folder of .*; give a number"):
        gkd_lightning.load(weights, "cpu", "auto")
    judged(tmp_path, "another", HEAT)
    with pytest.raises(UserError, match=r"auto: .*results\.json: of other weights than .*judge these"):
        gkd_lightning.load(weights.parent, "cpu", "auto")
    judged(tmp_path, digest(weights), None)
    with pytest.raises(UserError, match=r"auto: the results of .* have none: it is fitted where .* `gkd run … --from"):
        gkd_lightning.load(weights, "cpu", "auto")
    judged(tmp_path, digest(weights), HEAT)
    assert gkd_lightning.load(weights, "cpu", "auto").temperature == HEAT
    assert gkd_lightning.load(weights.parent, "cpu", "auto").temperature == HEAT
    assert gkd_lightning.load(weights, "cpu").temperature == 1


@pytest.mark.parametrize("wrong", ["warm", "0", "-1", "nan", "1e9", ""])
def test_no_temperature(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before a segmenter is looked for."""
    given = ["--ckpt", "none", "--out", str(tmp_path / "out"), f"--temperature={wrong}"]
    for command in (["predict", "--images", "none.png", "--confidence"], ["export", "--to", "onnx"]):
        assert main([*command, *given]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"gkd: --temperature {wrong}: give auto, or a number from 0.1 to 100; 1 is as it is"


def test_a_temperature_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--ckpt", "none", "--out", str(tmp_path / "out"), "--temperature", "auto"]
    for command, message in (
        (["predict", "--images", "none.png"], "confidence, which nobody asks for; add --confidence or --json"),
        (["export", "--to", "onnx", "--outputs", "ids"], "which ids alone do not have; take --outputs ids,scores"),
        (["export", "--to", "timm"], "--temperature: --to timm has no use for it"),
    ):
        assert main([*command, *given]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


@pytest.mark.slow
def test_an_export_keeps_it(tmp_path: Path) -> None:
    """In its record, and in the graph where that gives confidence."""
    pytest.importorskip("onnxruntime")
    weights = made(tmp_path, LinearHead())
    judged(tmp_path, digest(weights), HEAT)
    out, outputs = tmp_path / "out", ("ids", "scores", "confidence")
    export_segmenter(
        weights, out, "onnx", {"night": STREET}, outputs=outputs, temperature="auto", tolerate=100.0, count=1
    )  # type: ignore[arg-type]
    exported, window = OnnxSegmenter(out), STREET.image(0)[None, :32, :32]
    assert exported.record["temperature"] == HEAT
    found = exported.outputs(window)
    assert np.allclose(found["confidence"], confidence(torch.from_numpy(found["scores"]), HEAT), atol=1e-6)
    model, ours = gkd_lightning.load(out), gkd_lightning.load(weights, "cpu", HEAT)
    assert model.temperature == HEAT
    theirs, expected = (each.predict(window[0]) for each in (model, ours))
    assert np.array_equal(theirs.ids, expected.ids)
    assert np.allclose(theirs.confidence, expected.confidence, atol=1e-5)
    assert gkd_lightning.load(out, temperature=1).temperature == 1  # what is given counts
    judged(tmp_path, digest(weights), 2.5)
    assert gkd_lightning.load(out, temperature="auto").temperature == 2.5  # of its segmenter, judged again
