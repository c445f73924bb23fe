"""RADIO's published files: a small network in their format, written down anew here, gives the encoder's tokens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block, checkpoint_filter_fn
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder
from gkd_lightning.errors import UserError

WIDTH, PATCH, ROWS = 24, 8, 12
"""Of the network; positions are kept for 12 x 12 patches."""
SUMMARIES, REGISTERS = 2, 3
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
SPEC = EncoderSpec(
    "vit_base_patch16_radio_v3.c_radio", image_size=[32, 48], patch_size=PATCH, resize="cropped",
    options={"embed_dim": WIDTH, "depth": 2, "num_heads": 2, "reg_tokens": SUMMARIES + REGISTERS - 1},
)  # fmt: skip

State = dict[str, Tensor]


class Radio(nn.Module):
    """Patches through a matrix, positions cut from a table for the largest image, summary tokens, blocks, no norm."""

    def __init__(self, corners: bool) -> None:
        super().__init__()
        self.corners = corners
        self.embedder = nn.Linear(3 * PATCH**2, WIDTH, bias=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, ROWS**2, WIDTH))
        self.token = nn.Parameter(torch.zeros(SUMMARIES + REGISTERS, WIDTH))
        self.blocks = nn.Sequential(*(Block(WIDTH, 2, qkv_bias=True, init_values=1.0) for _ in range(2)))
        torch.manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def positions(self, rows: int, columns: int) -> Tensor:
        table = self.pos_embed.view(1, ROWS, ROWS, WIDTH).movedim(-1, 1)
        side = max(rows, columns)
        table = F.interpolate(table, (side, side), mode="bilinear", align_corners=self.corners)
        return table[:, :, :rows, :columns].flatten(2).mT

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Summary tokens and patches of images in [0, 1]."""
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in CLIP)
        rows, columns = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        pixels = ((images - mean) / std).unflatten(3, (columns, PATCH)).unflatten(2, (rows, PATCH))
        patches = pixels.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, N, 3 * PATCH * PATCH)
        patches = self.embedder(patches) + self.positions(rows, columns)
        tokens = self.blocks(torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1))
        return tokens[:, :SUMMARIES], tokens[:, SUMMARIES + REGISTERS :]

    def published(self, gamma: str = "gamma") -> State:
        state = {key: value.detach().clone() for key, value in self.state_dict().items()}
        names = {"embedder.weight": "patch_generator.embedder.weight", "pos_embed": "patch_generator.pos_embed"}
        names["token"] = "patch_generator.cls_token.token"
        return {names.get(key, key.replace("gamma", gamma)): value for key, value in state.items()}


def hub_file(network: Radio, path: Path, **more: Tensor) -> Path:
    """As transformers' hub has it."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in CLIP)
    state = {f"radio_model.model.{key}": value for key, value in network.published("grandma").items()}
    beside = {"input_conditioner.norm_mean": mean, "input_conditioner.norm_std": std, "summary_idxs": torch.arange(2)}
    state |= {f"radio_model.{key}": value for key, value in {**beside, "adaptors.clip.w": torch.ones(2)}.items()}
    save_file({**state, **more}, path)
    return path


def loaded(path: Path, **changes: Any) -> Encoder:
    return build_encoder(EncoderSpec(**{**vars(SPEC), "weights": str(path), **changes})).eval()


@pytest.mark.parametrize("corners", [False, True])
def test_tokens_are_those_of_the_original(corners: bool, tmp_path: Path) -> None:
    network = Radio(corners)
    encoder = loaded(hub_file(network, tmp_path / "model.safetensors"), resize=f"cropped{'-corners' * corners}")
    images = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        summaries, patches = network(images)
        tokens = encoder.tokens(images)
    torch.testing.assert_close(tokens.patches, patches, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tokens.cls, summaries[:, 0], atol=1e-5, rtol=1e-4)
    assert tokens.grid == (4, 6)
    told = str(encoder.loaded).splitlines()
    assert "took radio_model.model" in told
    assert "took the first of 5 summary tokens and registers for the class token" in told
    assert "resized pos_embed [1, 144, 24] -> [1, 24, 24]" in told
    assert any("radio_model.* (4 tensors)" in line for line in told)


@pytest.mark.parametrize("corners", [False, True])
def test_tensors_are_those_that_timm_makes_of_it(corners: bool, tmp_path: Path) -> None:
    network = Radio(corners)
    encoder = loaded(hub_file(network, tmp_path / "m.safetensors"), resize=f"cropped{'-corners' * corners}")
    state = {f"radio_model.model.{key}": value for key, value in network.published().items()}
    model = build_encoder(SPEC).model
    theirs = checkpoint_filter_fn(state, model, interpolation="bilinear", antialias=False, align_corners=corners)
    own = encoder.model.state_dict()
    assert own.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(own[key], value)


def test_training_checkpoints(tmp_path: Path) -> None:
    """As their repository has it: wrapped, with heads for each teacher, and a moving average beside it."""
    network, average = Radio(False), Radio(False)
    nn.init.ones_(average.token)
    states = [
        {f"module.base_model.{key}": value for key, value in each.published().items()} for each in (network, average)
    ]
    states[0]["module._heads.0.fc.weight"] = torch.ones(2, 2)
    args = argparse.Namespace(model="vit_base_patch16_224", teachers=[{"name": "clip"}], cpe_max_size=96)
    torch.save({"state_dict": states[0], "state_dict_ema": states[1], "args": args}, tmp_path / "radio.pth.tar")
    for key, expected in (("state_dict", network), ("state_dict_ema", average)):
        encoder = loaded(tmp_path / "radio.pth.tar", weights_key=key)
        torch.testing.assert_close(encoder.model.cls_token[0], expected.token[:1])
        torch.testing.assert_close(encoder.model.reg_token[0], expected.token[1:])


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ({"radio_model.input_conditioner.norm_mean": torch.full((3, 1, 1), 0.5)}, {},
         r"norm_mean is \[0\.5, 0\.5, 0\.5\], this model's input has \[0\.4815, 0\.4578, 0\.4082\]; take the model"),
        ({"radio_model.feature_normalizer.mean": torch.zeros(24)}, {},
         r"radio_model\.feature_normalizer\.mean normalises features behind the network, which timm's model does not"),
        ({}, {"options": {**SPEC.options, "reg_tokens": 7}},
         r"reg_token has shape \[1, 4, 24\], this VisionTransformer needs \[1, 7, 24\]; check the model name"),
        ({"radio_model.model.norm.weight": torch.ones(24)}, {}, r"it has 'norm\.weight', which the model lacks"),
    ],
    ids=["input", "output", "registers", "norm"],
)  # fmt: skip
def test_files_that_do_not_fit(more: State, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = hub_file(Radio(False), tmp_path / "model.safetensors", **more)
    with pytest.raises(UserError, match=message) as caught:
        loaded(path, **changes)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_input_is_the_configurations_if_it_says_so(tmp_path: Path) -> None:
    more = {"radio_model.input_conditioner.norm_mean": torch.full((3, 1, 1), 0.5)}
    encoder = loaded(hub_file(Radio(False), tmp_path / "model.safetensors", **more), normalization="imagenet")
    torch.testing.assert_close(encoder.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
