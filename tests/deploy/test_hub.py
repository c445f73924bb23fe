"""A folder that is ready to be uploaded, and what people do with it once it is downloaded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image

import gkd_lightning
from gkd_lightning.cli import main
from gkd_lightning.data import MINICITY_8, MiniCity
from gkd_lightning.deploy import card_of_run, chosen_run, timm_folder
from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder
from gkd_lightning.evaluate import Results, RunResult, from_confusion
from gkd_lightning.files import write_json
from gkd_lightning.report import Gallery, Sample
from gkd_lightning.segment import LinearHead, Segmenter, load_segmenter, record_protocols, save_segmenter, unfrozen
from tests.chain.artefacts import segmenter
from tests.deploy.alone import DOCS, OURS_AND_LIGHTNING, published, run_alone, snippets
from tests.evaluate.builders import gallery, results

FILES = ["README.md", "config.json", "model.safetensors", "picture.png", "segmenter.json", "segmenter.safetensors"]


def judged(stage: Path, run: Path, **changes: Any) -> Path:
    """The folder of a run that has judged a segmenter on two domains."""
    record = json.loads((stage / "segmenter.json").read_text())
    matrix = torch.eye(len(MINICITY_8), dtype=torch.int64) * 9 + 1
    domains = [from_confusion(name, matrix, MINICITY_8.names, 2, name == "game") for name in ("game", "night")]
    config = {"task": {"model": {"init_args": {"encoder": record["encoder"]}}}}
    provenance = {"artefacts": {"task": record["sha256"]}, "config": config, **changes}
    Results("mine.yaml", "Mine", [RunResult("gkd", "GKD", 0, domains, provenance=provenance)]).save(
        run / "results.json"
    )
    scenes = MiniCity("night", 1)
    sample = Sample("night", "0", scenes.image(0), scenes.label(0), {"gkd": scenes.label(0)})
    Gallery(MINICITY_8, [sample]).save(run / "gallery.npz")
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, with its segmenter in `stages/task`."""
    run = tmp_path_factory.mktemp("run")
    stage = segmenter(run / "stages/task", head=LinearHead())
    record = json.loads((stage / "segmenter.json").read_text())
    weights = "/data/runs/student.safetensors"
    write_json(stage / "segmenter.json", {**record, "provenance": {"config": {"model": {"weights": weights}}}})
    record_protocols(stage / "segmenter.safetensors", {"night": {"resize": "exact", "size": [44, 36]}})
    return judged(stage, run)


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "out"
    command = ["export", "--ckpt", str(finished / "stages/task"), "--to", "hub", "--out", str(out)]
    assert main([*command, "--repo", "you/city-student", "--license", "apache-2.0"]) == 0
    return out


def test_everything_is_there_and_the_same(folder: Path, finished: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    ours, theirs = load_segmenter(finished / "stages/task"), load_segmenter(folder)
    wanted = ours.segmenter.state_dict()
    assert all(torch.equal(wanted[key], value) for key, value in theirs.segmenter.state_dict().items())
    assert theirs.record["judged"] == ours.record["judged"]
    assert theirs.record["provenance"] == {"config": {"model": {"weights": "student.safetensors"}}}
    encoder = unfrozen(ours.segmenter.encoder)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        tokens = model.forward_features((torch.full((1, 3, 32, 32), 0.3) - 0.5) / 0.5)
        wanted_tokens = encoder.tokens(torch.full((1, 3, 32, 32), 0.3)).patches
    torch.testing.assert_close(tokens[:, 1:], wanted_tokens, rtol=0, atol=5e-6)
    data = ModelCard((folder / "README.md").read_text(encoding="utf-8")).data
    assert data.license == "apache-2.0"
    assert [result.dataset_type for result in data.eval_results] == ["game", "night"]


@pytest.mark.slow
def test_what_the_card_tells_people_to_type_works_once_it_is_uploaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub is a folder of downloads, there is no network; timm and transformers do without this library."""
    Image.fromarray(MiniCity("night", 1).image(0)[:80]).save(tmp_path / "street.png")
    hub = published(folder, "you/city-student", tmp_path / "downloads")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.chdir(tmp_path)
    ours, timms, transformers = snippets((folder / "README.md").read_text(encoding="utf-8"))
    (of_page,) = (code for code in snippets((DOCS / "sharing.md").read_text(encoding="utf-8")) if "snapshot" in code)
    wanted = gkd_lightning.load(folder, device="cpu").ids("street.png")
    for code in (ours, of_page):
        assert len([line for line in code.splitlines() if line]) == 5
        found: dict[str, Any] = {}
        exec(code, found)
        assert np.array_equal(found["found"].ids, wanted)
    both = f"""
import torch
{timms}
tokens = encoder(torch.zeros(1, 3, 32, 32)).detach()
{transformers}
vector = encoder(processor(torch.zeros(1, 3, 32, 32))["pixel_values"] * 0).pooler_output.detach()
"""
    left = run_alone(both, tmp_path, OURS_AND_LIGHTNING, hub)
    with torch.inference_mode():
        grey = unfrozen(load_segmenter(folder).segmenter.encoder).tokens(torch.full((1, 3, 32, 32), 0.5)).cls.numpy()
    for vector in (left["tokens"], left["vector"]):
        np.testing.assert_allclose(vector, grey, rtol=0, atol=5e-6)


def test_results_are_those_of_this_segmenter_or_none(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = shutil.copytree(finished / "stages/task", tmp_path / "elsewhere/task")
    command = ["export", "--ckpt", str(stage / "segmenter.safetensors"), "--to", "hub", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "--run: no results of this segmenter" in capsys.readouterr().err
    other = judged(stage, tmp_path / "other", artefacts={"task": "0123"})
    assert main([*command, "--run", str(other)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--run: no results of this segmenter ({other / 'results.json'})" in line
    assert main([*command, "--run", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--run", str(finished)]) == 0
    assert "hf upload YOU/NAME" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_the_picture_shows_this_seed_or_there_is_none(tmp_path: Path) -> None:
    """The gallery of a whole run has the first seed's predictions."""
    found = results(seeds=2)
    found.save(tmp_path / "results.json")
    gallery().save(tmp_path / "gallery.npz")
    for seed, pictures in ((0, 1), (1, 0)):
        card_of_run(tmp_path, tmp_path / f"card{seed}", seed=seed)
        assert len(list((tmp_path / f"card{seed}").glob("*.png"))) == pictures
    other = chosen_run(found, "gkd", 1)
    for digest, run in (("aa", replace(other, provenance={"artefacts": {"task": "another"}})), ("bb", other)):
        evaluation = tmp_path / f"evaluations/gkd-seed1-{digest}"
        replace(found, runs=[run]).save(evaluation / "results.json")
        if digest == "bb":
            gallery(("gkd",)).save(evaluation / "gallery.npz")
    card_of_run(tmp_path, tmp_path / "own", seed=1)
    assert (tmp_path / "own/picture.png").is_file()
    assert "](picture.png)" in (tmp_path / "own/README.md").read_text(encoding="utf-8")


def test_an_encoder_of_ones_own_goes_without_timms_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = build_encoder(EncoderSpec("tests.encoders.own_encoders.Patches"))
    model = Segmenter.for_encoder(encoder, 8, LinearHead(), window=encoder.image_size[0], stride=8)
    save_segmenter(model, tmp_path / "task", label_space=MINICITY_8, protocol={}, provenance={})
    run = judged(tmp_path / "task", tmp_path / "run")
    command = ["export", "--ckpt", str(tmp_path / "task"), "--to", "hub", "--out", str(tmp_path / "out")]
    assert main([*command, "--run", str(run)]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        name for name in FILES if "model." not in name and "config" not in name
    ]
    assert "tests.encoders.own_encoders.Patches`, a class of its own" in (tmp_path / "out/README.md").read_text()
    capsys.readouterr()


def test_nothing_is_left_of_what_failed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = timm_folder.timm_config

    def other(encoder: Encoder) -> dict[str, Any]:
        made = usual(encoder)
        made["pretrained_cfg"]["std"] = [0.4, 0.5, 0.5]
        return made

    monkeypatch.setattr(timm_folder, "timm_config", other)
    command = ["export", "--ckpt", str(finished / "stages/task"), "--to", "hub", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "tokens differ by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "damaged").mkdir()
    for name in ("segmenter.json", "segmenter.safetensors"):
        shutil.copy(finished / "stages/task" / name, tmp_path / "damaged")
    content = bytearray((tmp_path / "damaged/segmenter.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "damaged/segmenter.safetensors").write_bytes(bytes(content))
    command[2] = str(tmp_path / "damaged")
    assert main([*command, "--run", str(finished)]) == 2
    assert "its SHA-256 is not the one in segmenter.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]
