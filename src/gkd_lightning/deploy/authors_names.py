"""An encoder under the key names of the code that it comes from: DINOv2's and DeiT's repositories, as `.pth`.

The way back is `gkd_lightning.encoders`, which reads these files (docs/weights.md): every export is read again before
it is kept, and has to be the same bit for bit.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from timm.layers import GluMlp, Mlp
from timm.models import VisionTransformer
from torch import nn

from gkd_lightning.deploy.encoder_alone import load_encoder_alone
from gkd_lightning.deploy.new_folder import new_folder, require_new
from gkd_lightning.encoders import Encoder, TransformerEncoder, build_encoder, encoder_state, versions
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json

Authors = Literal["dinov2", "deit"]
AUTHORS_WEIGHTS, AUTHORS_RECORD = "model.pth", "model.json"
State = dict[str, torch.Tensor]

_SHARED = (
    r"cls_token|pos_embed|patch_embed\.proj\.\w+|norm\.\w+|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.\w+"
)
_KEYS = {"dinov2": rf"{_SHARED}|reg_token|blocks\.\d+\.ls[12]\.gamma", "deit": _SHARED}
"""timm's names of what the authors' networks have a place for."""
_NETWORKS = {
    "dinov2": "DinoVisionTransformer of facebookresearch/dinov2",
    "deit": "VisionTransformer of facebookresearch/deit",
}


def export_authors(checkpoint: str | Path, out: str | Path, form: Authors) -> list[str]:
    """Write `model.pth`, tensors alone, and `model.json`: what to build for them, and how images are normalized.

    Args:
        checkpoint: `student.safetensors`, `segmenter.safetensors`, or a folder that holds one of them.
        out: a folder that does not exist yet, or is empty.
        form: ``dinov2``: a state dict with the mask token; ``deit``: the same under the key ``model``, without it.

    Returns:
        What the files are for, a line each.

    Raises:
        UserError: the folder is in use, or the authors' network has no place for something in the encoder.
    """
    require_new(out)
    encoder = load_encoder_alone(checkpoint)
    arguments = authors_arguments(encoder, form)
    state = _named_by_authors(encoder) if form == "dinov2" else dict(encoder.model.state_dict())
    state = {key: value.detach().clone().contiguous() for key, value in state.items()}
    normalization = {
        name: [round(float(value), 6) for value in getattr(encoder, name).flatten()] for name in ("mean", "std")
    }
    with new_folder(out) as folder:
        weights = folder / AUTHORS_WEIGHTS
        torch.save(state if form == "dinov2" else {"model": state}, weights)
        _require_same(encoder, weights, form)
        record = {"network": _NETWORKS[form], "arguments": arguments, **normalization, "versions": versions()}
        write_json(folder / AUTHORS_RECORD, record)
    return [f"for the {_NETWORKS[form]}: {', '.join(f'{key}={value!r}' for key, value in arguments.items())}"]


def authors_arguments(encoder: Encoder, form: Authors) -> dict[str, Any]:
    """Arguments with which the authors' class becomes this encoder.

    Raises:
        UserError: it cannot.
    """
    where = f"--to {form}: the {_NETWORKS[form]}"
    model: Any = encoder.model
    if type(encoder) is not TransformerEncoder or type(model) is not VisionTransformer:
        raise UserError(f"{where} is a plain vision transformer, and {encoder.spec.name} is not; take --to timm")
    keys = model.state_dict()
    for key in keys:
        if not re.fullmatch(_KEYS[form], key):
            raise UserError(f"{where} has no place for {key}; take --to timm")
    height, width = encoder.image_size
    if height != width:
        raise UserError(f"{where} takes square images, and this one was trained with {height}x{width}; take --to timm")
    registers, patches = model.num_reg_tokens, encoder.grid((height, width))[0] ** 2
    rows = keys["pos_embed"].shape[1] - patches if "pos_embed" in keys else -1
    if not encoder.has_class_token or rows != (0 if registers else 1):
        raise UserError(
            f"{where} has learned positions and a class token, and {encoder.spec.name} has others; take --to timm"
        )
    width, hidden = encoder.embed_dim, model.blocks[0].mlp.fc2.in_features
    attention = model.blocks[0].attn
    found: dict[str, Any] = {
        "img_size": height,
        "patch_size": encoder.patch_size,
        "embed_dim": width,
        "depth": encoder.depth,
        "num_heads": attention.num_heads,
        "mlp_ratio": hidden / width,
        "qkv_bias": attention.qkv.bias is not None,
    }
    mlp = model.blocks[0].mlp
    gated = form == "dinov2" and _is_gated(mlp) and (int(4 * width * 2 / 3) + 7) // 8 * 8 == hidden
    if not gated and not (type(mlp) is Mlp and isinstance(mlp.act, nn.GELU)):
        what = f"{type(mlp).__name__} with {type(mlp.act).__name__} and {hidden} hidden values"
        raise UserError(f"{where} has no {what}; take --to timm")
    if model.norm.eps != 1e-6:
        raise UserError(
            f"{where} has norms with an epsilon of 1e-06, and this one's is {model.norm.eps:g}; take --to timm"
        )
    if form == "dinov2":
        found |= {
            "mlp_ratio": 4.0 if gated else found["mlp_ratio"],
            "ffn_layer": "swiglufused" if gated else "mlp",
            "init_values": 1.0 if "blocks.0.ls1.gamma" in keys else None,  # then LayerScale is in the file
            "num_register_tokens": registers,
            "block_chunks": 0,
            "interpolate_antialias": True,  # as timm resizes positions
            "interpolate_offset": 0.0,
        }
    return found


def _is_gated(mlp: Any) -> bool:
    return isinstance(mlp, GluMlp) and isinstance(mlp.act, nn.SiLU) and not mlp.gate_last


def _named_by_authors(encoder: Encoder) -> State:
    state = encoder_state(encoder)
    if "reg_token" in state:  # timm has the class token's position in the token itself
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.zeros_like(state["cls_token"]), state["pos_embed"]], dim=1)
    if _is_gated(encoder.model.blocks[0].mlp):
        state = {key.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3."): state[key] for key in state}
    return state


def _require_same(encoder: Encoder, weights: Path, form: Authors) -> None:
    again = build_encoder(replace(encoder.spec, weights=str(weights), weights_key=None, tolerate=[]))
    found, wanted = encoder_state(again), encoder_state(encoder)
    if form == "deit":
        del found["mask_token"], wanted["mask_token"]
    wrong = [key for key, value in wanted.items() if not torch.equal(found[key], value)]
    if wrong:
        raise UserError(f"--to {form}: {wrong[0]} is another when it is read again, nothing is kept")
