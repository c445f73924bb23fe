"""A student under the names of DINOv2's and DeiT's code: every name, and bit for bit back again."""

from __future__ import annotations

import json
import shutil
import sys
import types
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from torch import nn

from gkd_lightning.cli import main
from gkd_lightning.deploy import authors_names, export_authors
from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder, encoder_state, export_encoder
from tests.deploy.alone import DOCS, snippets
from tests.encoders.test_published import randomised

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 2}
PLAIN = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options=TINY)
STUDENTS = {
    "plain": PLAIN,
    "scaled": EncoderSpec("vit_small_patch14_dinov2", None, 56, 14, options=TINY),
    "registers": EncoderSpec("vit_small_patch14_reg4_dinov2.lvd142m", None, 56, 14, options=TINY),
    "gated": EncoderSpec("vit_giant_patch14_dinov2", None, 56, 14, options=TINY),
}


def written(which: EncoderSpec, form: Any, folder: Path) -> tuple[Encoder, Path]:
    encoder = randomised(which)
    export_encoder(encoder, folder / "student", stage="made", provenance={})
    export_authors(folder / "student", folder / form, form)
    return encoder, folder / form


def names(name: str) -> set[str]:
    """Of DINOv2's network: what its constructor makes."""
    parts = [
        "norm1",
        "norm2",
        "attn.qkv",
        "attn.proj",
        *(["mlp.w12", "mlp.w3"] if name == "gated" else ["mlp.fc1", "mlp.fc2"]),
    ]
    found = {f"blocks.{block}.{part}.{kind}" for block in range(2) for part in parts for kind in ("weight", "bias")}
    if name != "plain":
        found |= {f"blocks.{block}.ls{part}.gamma" for block in range(2) for part in (1, 2)}
    found |= {f"{part}.{kind}" for part in ("norm", "patch_embed.proj") for kind in ("weight", "bias")}
    return found | {"cls_token", "pos_embed", "mask_token"} | ({"register_tokens"} if name == "registers" else set())


@pytest.mark.parametrize("name", STUDENTS)
def test_the_names_of_dinov2(name: str, tmp_path: Path) -> None:
    encoder, out = written(STUDENTS[name], "dinov2", tmp_path)
    state = torch.load(out / "model.pth", weights_only=True)
    assert set(state) == names(name)
    rows = encoder.grid(encoder.image_size)[0] ** 2
    assert state["pos_embed"].shape == (1, 1 + rows, 48)
    assert state["mask_token"].shape == (1, 48)
    record = json.loads((out / "model.json").read_text())
    arguments = record["arguments"]
    assert (arguments["img_size"], arguments["patch_size"]) == (encoder.image_size[0], encoder.patch_size)
    assert arguments["num_register_tokens"] == (4 if name == "registers" else 0)
    assert arguments["ffn_layer"] == ("swiglufused" if name == "gated" else "mlp")
    assert (arguments["init_values"] is None) == (name == "plain")
    assert arguments["block_chunks"] == 0
    assert record["mean"] == pytest.approx(encoder.mean.flatten().tolist())
    again = build_encoder(replace(STUDENTS[name], weights=str(out / "model.pth")))
    wanted, found = encoder_state(encoder), encoder_state(again)
    assert wanted.keys() == found.keys()
    assert [key for key, value in wanted.items() if not torch.equal(value, found[key])] == []


def test_the_names_of_deit(tmp_path: Path) -> None:
    """Its code is timm's of old: the same names, below `model`, as `--finetune` reads them."""
    encoder, out = written(PLAIN, "deit", tmp_path)
    (key,) = (checkpoint := torch.load(out / "model.pth", weights_only=True))
    assert key == "model"
    assert set(checkpoint["model"]) == names("plain") - {"mask_token"}
    arguments = json.loads((out / "model.json").read_text())["arguments"]
    network = VisionTransformer(**arguments, num_classes=0, norm_layer=partial(nn.LayerNorm, eps=1e-6)).eval()
    network.load_state_dict(checkpoint["model"])
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        wanted, found = encoder.eval().tokens(images), network.forward_features((images - 0.5) / 0.5)
    torch.testing.assert_close(found[:, 1:], wanted.patches, rtol=0, atol=5e-6)
    again = build_encoder(replace(PLAIN, weights=str(out / "model.pth")))
    assert all(torch.equal(again.model.state_dict()[key], value) for key, value in encoder.model.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "form", "message"),
    [
        (replace(PLAIN, image_size=[32, 48]), "dinov2", "takes square images, and this one was trained with 32x48"),
        (STUDENTS["scaled"], "deit", "has no place for blocks.0.ls1.gamma"),
        (STUDENTS["registers"], "deit", "has no place for reg_token"),
        (replace(PLAIN, name="vit_base_patch16_clip_224"), "dinov2", "has no place for norm_pre.weight"),
        (replace(PLAIN, name="vit_base_patch16_siglip_224"), "deit", "has learned positions and a class token"),
        (replace(PLAIN, name="deit3_small_patch16_224"), "dinov2", "has learned positions and a class token"),
        (replace(PLAIN, options={**TINY, "act_layer": "relu"}), "deit", "has no Mlp with ReLU"),
        (replace(PLAIN, options={**TINY, "qk_norm": True}), "dinov2", "has no place for blocks.0.attn.q_norm"),
        (replace(STUDENTS["gated"], options={**TINY, "mlp_ratio": 3}), "dinov2", "and 72 hidden values"),
        (EncoderSpec("eva02_tiny_patch14_224", None, 56, 14, options=TINY), "dinov2", "is a plain vision transformer"),
        (EncoderSpec("resnet18", None, 64), "deit", "is a plain vision transformer, and resnet18 is not"),
    ],
    ids=lambda value: value.name if isinstance(value, EncoderSpec) else value[:20],
)  # fmt: skip
def test_what_the_authors_have_no_place_for_is_refused(
    spec: EncoderSpec, form: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_encoder(build_encoder(spec), tmp_path / "student", stage="made", provenance={})
    arguments = ["export", "--ckpt", str(tmp_path / "student"), "--to", form, "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert line.startswith(f"gkd: --to {form}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_what_reads_back_as_another_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = authors_names._named_by_authors

    def swapped(encoder: Encoder) -> dict[str, torch.Tensor]:
        state = usual(encoder)
        first, second = "blocks.0.norm1.weight", "blocks.0.norm2.weight"
        return {**state, first: state[second], second: state[first]}

    monkeypatch.setattr(authors_names, "_named_by_authors", swapped)
    export_encoder(randomised(PLAIN), tmp_path / "student", stage="made", provenance={})
    command = ["export", "--ckpt", str(tmp_path / "student"), "--to", "dinov2", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "blocks.0.norm1.weight is another when it is read again" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_the_snippet_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network of timm's in the place of DINOv2's: the same names, and a mask token."""

    class DinoVisionTransformer(VisionTransformer):
        def __init__(self, **arguments: Any) -> None:
            known = (
                "img_size",
                "patch_size",
                "embed_dim",
                "depth",
                "num_heads",
                "mlp_ratio",
                "qkv_bias",
                "init_values",
            )
            super().__init__(**{name: arguments[name] for name in known}, num_classes=0)
            self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dim))

    for name in ("dinov2", "dinov2.models", "dinov2.models.vision_transformer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["dinov2.models.vision_transformer"].DinoVisionTransformer = DinoVisionTransformer  # type: ignore[attr-defined]
    _, out = written(STUDENTS["scaled"], "dinov2", tmp_path)
    shutil.move(out, tmp_path / "exported-dinov2")
    monkeypatch.chdir(tmp_path)
    (code,) = (code for code in snippets((DOCS / "sharing.md").read_text(encoding="utf-8")) if "dinov2" in code)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["network"].cls_token.any()
