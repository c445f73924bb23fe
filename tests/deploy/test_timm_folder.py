"""A student in timm's own form: strict, the same tokens, whoever opens it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import export_timm, timm_folder
from gkd_lightning.encoders import Encoder, EncoderSpec, TransformerEncoder, build_encoder, export_encoder
from gkd_lightning.segment import LinearHead, load_segmenter, unfrozen
from tests.chain.artefacts import segmenter, spec, student
from tests.deploy.alone import DOCS, OURS_AND_LIGHTNING, run_alone, snippets
from tests.encoders.test_published import randomised

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2}
ROUNDING = 5e-6
"""Of tokens in fp32, which another attention kernel may make; the export itself is compared in double precision."""
STUDENTS = {
    "plain": EncoderSpec("vit_tiny_patch16_224", None, [32, 48], 8, options=TINY),
    "registers": EncoderSpec("vit_small_patch14_reg4_dinov2.lvd142m", None, 56, 14, options=TINY),
    "rotary": EncoderSpec("eva02_tiny_patch14_224", None, 56, 14, normalization="imagenet", options=TINY),
    "no class token": EncoderSpec("vit_base_patch16_siglip_224", None, 32, 8, options=TINY),
    "stages": EncoderSpec("convnext_atto", None, 64, options={"depths": [1, 1, 2, 1], "dims": [8, 8, 16, 32]}),
}


def exported(which: EncoderSpec, folder: Path) -> tuple[Encoder, Path]:
    encoder = randomised(which)
    export_encoder(encoder, folder / "student", stage="made", provenance={})
    export_timm(folder / "student", folder / "out")
    return encoder.eval(), folder / "out"


@pytest.mark.parametrize("name", STUDENTS)
def test_timm_builds_the_same_network(name: str, tmp_path: Path) -> None:
    """With images of 0 to 1 that its own configuration normalizes; in double precision, where kernels agree."""
    encoder, out = exported(STUDENTS[name], tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert "mask_token" not in load_file(out / "model.safetensors")
    model = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    config = timm.data.resolve_data_config(model=model)
    assert tuple(config["input_size"]) == (3, *encoder.image_size)
    assert config["crop_pct"] == 1
    assert torch.allclose(torch.tensor(config["mean"]), encoder.mean.flatten())
    assert torch.allclose(torch.tensor(config["std"]), encoder.std.flatten())
    images = torch.rand(2, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0)).double()
    encoder, model = encoder.double(), model.double()
    with torch.inference_mode():
        wanted = encoder.tokens(images)
        normalized = (images - torch.tensor(config["mean"]).view(3, 1, 1)) / torch.tensor(config["std"]).view(3, 1, 1)
        if isinstance(encoder, TransformerEncoder):
            found = model.forward_features(normalized)
            assert found.shape[1] == model.num_prefix_tokens + wanted.patches.shape[1]
            torch.testing.assert_close(found[:, model.num_prefix_tokens :], wanted.patches, rtol=0, atol=1e-6)
            torch.testing.assert_close(model(normalized), wanted.cls, rtol=0, atol=1e-6)
        else:
            found = model.forward_features(normalized)
            torch.testing.assert_close(found.flatten(2).transpose(1, 2), wanted.patches, rtol=0, atol=1e-6)


def test_it_can_be_fine_tuned_and_resized(tmp_path: Path) -> None:
    encoder, out = exported(STUDENTS["plain"], tmp_path)
    source = f"local-dir:{out}"
    assert timm.create_model(source, pretrained=True, num_classes=7)(torch.zeros(1, 3, 32, 48)).shape == (1, 7)
    model = timm.create_model(source, pretrained=True).eval()
    images = torch.rand(1, 3, 64, 40)
    with torch.inference_mode():
        wanted, found = encoder.tokens(images), model.forward_features((images - 0.5) / 0.5)
    torch.testing.assert_close(found[:, 1:], wanted.patches, rtol=0, atol=ROUNDING)
    maps = timm.create_model(source, pretrained=True, features_only=True, out_indices=(0, 1))(torch.zeros(1, 3, 32, 48))
    assert [tuple(each.shape) for each in maps] == [(1, 32, 4, 6)] * 2


def test_a_segmenters_encoder_and_equal_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = segmenter(tmp_path / "made", head=LinearHead())
    for out in ("first", "second"):
        assert main(["export", "--ckpt", str(made), "--to", "timm", "--out", str(tmp_path / out)]) == 0
    assert "tokens of 4 images of 32x32 differ by" in capsys.readouterr().out
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    wanted = unfrozen(load_segmenter(made).segmenter.encoder).model.state_dict()
    found = load_file(tmp_path / "first/model.safetensors")
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_what_a_student_with_stages_lacks_is_told(tmp_path: Path) -> None:
    encoder = randomised(STUDENTS["stages"])
    export_encoder(encoder, tmp_path / "student", stage="made", provenance={})
    _, told = export_timm(tmp_path / "student", tmp_path / "out")
    assert "2 tensors of timm's model hold initial values (head.norm.weight, head.norm.bias)" in told


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page has it: an export and a photograph of another size."""
    folder = tmp_path_factory.mktemp("workplace")
    student(folder / "student", alignment=None)
    export_timm(folder / "student", folder / "exported-timm")
    Image.fromarray(MiniCity("day", 1).image(0)[:80]).save(folder / "street.png")
    return folder


def in_ours(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Class and patch tokens of the photograph, prepared by hand: the shorter side to 32, the middle cut out."""
    picture = Image.open(folder / "street.png").convert("RGB")
    picture = picture.resize((38, 32), Image.Resampling.BICUBIC).crop((3, 0, 35, 32))
    encoder = build_encoder(replace(spec(), weights=str(folder / "student/student.safetensors"))).eval()
    with torch.inference_mode():
        tokens = encoder.tokens(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None])
    return tokens.cls.numpy(), tokens.patches.numpy()


@pytest.mark.slow
def test_the_snippet_of_the_page_runs_with_timm_alone(workplace: Path) -> None:
    """Without this library, Lightning and transformers, and without network."""
    code, *_ = snippets((DOCS / "sharing.md").read_text(encoding="utf-8"))
    left = run_alone(code, workplace, (*OURS_AND_LIGHTNING, "transformers"))
    cls, patches = in_ours(workplace)
    np.testing.assert_allclose(left["vector"], cls, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(left["tokens"][:, 1:], patches, rtol=0, atol=ROUNDING)


def test_the_snippet_of_the_page_runs_with_transformers(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_hub` does so in an environment without this library."""
    _, code, *_ = snippets((DOCS / "sharing.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(workplace)
    left: dict[str, Any] = {}
    exec(code, left)
    cls, patches = in_ours(workplace)
    np.testing.assert_allclose(left["vector"], cls, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(left["tokens"][:, 1:], patches, rtol=0, atol=ROUNDING)


def test_what_is_another_network_is_not_kept(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual_config, usual_write = timm_folder.timm_config, timm_folder.write_tensors

    def config(**changes: Any) -> None:
        def changed(encoder: Encoder) -> dict[str, Any]:
            made = usual_config(encoder)
            return {**made, **{part: {**made[part], **values} for part, values in changes.items()}}

        monkeypatch.setattr(timm_folder, "timm_config", changed)

    def refused(message: str, status: int = 2) -> None:
        command = ["export", "--ckpt", str(workplace / "student"), "--to", "timm", "--out", str(tmp_path / "out")]
        assert main(command) == status
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert list(tmp_path.iterdir()) == []

    config(pretrained_cfg={"mean": [0.4, 0.5, 0.5]})
    refused("tokens differ by")
    config(model_args={"img_size": [64, 64], "dynamic_img_size": False})
    refused("timm cannot use what was written, nothing is kept")
    config(model_args={"depth": 3})
    refused("timm cannot use what was written, nothing is kept")
    config()

    def moved(state: dict[str, torch.Tensor], *others: Any) -> str:
        return usual_write(
            {key: value * (1.01 if key == "norm.weight" else 1) for key, value in state.items()}, *others
        )

    monkeypatch.setattr(timm_folder, "write_tensors", moved)
    refused("tokens differ by")

    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timm_folder, "write_json", stopped)
    refused("interrupted", status=130)


def test_mistakes_are_told_in_one_line(workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ckpt, own = workplace / "student", tmp_path / "own"
    encoder = build_encoder(EncoderSpec("tests.encoders.own_encoders.Patches"))
    export_encoder(encoder, own, stage="made", provenance={})
    (tmp_path / "text.safetensors").write_text("nothing")
    new = str(tmp_path / "new")
    for given, message in (
        ([str(ckpt), "--to", "timm", "--out", str(workplace)], f"--out {workplace}: holds something already"),
        ([str(ckpt), "--to", "timm", "--out", new, "--precision=fp32"], "--precision: --to timm has no use for it"),
        ([str(ckpt), "--to", "deit", "--out", new, "--count", "3"], "--count: --to deit has no use for it"),
        ([str(ckpt), "--to", "onnx", "--out", new, "--repo", "a/b"], "--repo: --to onnx has no use for it"),
        ([str(ckpt), "--to", "hub", "--out", new], "--to hub: needs a segmenter"),
        ([str(tmp_path / "no"), "--to", "timm", "--out", new], f"--ckpt {tmp_path / 'no'}: no such file"),
        (
            [str(tmp_path), "--to", "timm", "--out", new],
            "holds neither of student.safetensors and segmenter.safetensors",
        ),
        ([str(tmp_path / "text.safetensors"), "--to", "timm", "--out", new], "neither a student.safetensors nor a"),
        ([str(own), "--to", "timm", "--out", new], "tests.encoders.own_encoders.Patches, a class of its own"),
        ([str(own), "--to", "dinov2", "--out", new], "is a plain vision transformer, and tests.encoders"),
    ):
        assert main(["export", "--ckpt", *given]) == 2, given
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "new").exists()


def test_the_configuration_is_what_timms_hub_reads(workplace: Path) -> None:
    config = json.loads((workplace / "exported-timm/config.json").read_text())
    assert config["architecture"] == "vit_tiny_patch16_224"
    assert (config["num_classes"], config["num_features"]) == (0, 32)
    assert config["model_args"]["img_size"] == [32, 32]
    assert config["pretrained_cfg"]["mean"] == [0.5, 0.5, 0.5]
