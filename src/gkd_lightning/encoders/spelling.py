"""From the key names of published checkpoints to timm's, as `TransformerEncoder` holds them.

Where the names come from: facebookresearch's dinov2, dinov3, dino and deit, BAAI's EVA-02, and the authors' released
GKD checkpoints (general_distillation's `MetaArch`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import torch

from gkd_lightning.errors import UserError

_BACKBONES = ("student.backbone.", "backbone.")
"""Where training checkpoints keep the encoder (GKD's stage 1; DINO's and DINOv2's); what lies beside it is left out."""

_SWIGLU = (
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
)
"""EVA02's and DINOv2-g's gated layers; gate and value stand in timm's order."""

_DINOV3 = ((r"^storage_tokens$", "reg_token"), (r"\.ls([12])\.gamma$", r".gamma_\1"))
"""DINOv3 is an `Eva` in timm."""


@dataclass
class LoadReport:
    """What was done to a file's keys on the way into a model."""

    renamed: dict[str, str] = field(default_factory=dict)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line per kind of change."""
        lines = [f"renamed {old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"resized {key} {list(old)} -> {list(new)}" for key, (old, new) in self.resized.items()]
        lines += self.changed
        lines += [f"ignored {', '.join(self.ignored)}"] if self.ignored else []
        lines += [f"kept initial {', '.join(self.initialised)}"] if self.initialised else []
        lines += [f"TOLERATED {', '.join(self.tolerated)}"] if self.tolerated else []
        return "\n".join(lines) or "loaded as it is"


def timm_names(
    state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], where: str, report: LoadReport
) -> dict[str, torch.Tensor]:
    """The file's tensors under timm's names; what has no place there is left for `load_exactly` to judge.

    Args:
        state: the file's tensors.
        own: the model's state dict, which decides between variants.
        where: the file, for messages.
        report: receives what was done.

    Raises:
        UserError: key biases that the model has no place for.
    """
    dinov3 = "storage_tokens" in state
    rules = (*_SWIGLU, *_DINOV3) if dinov3 else _SWIGLU
    renamed = {}
    for key, new in _encoder_only(state, report).items():
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if new != key:
            report.renamed[key] = new
        renamed[new] = state[key]
    if dinov3:
        _without_key_bias(renamed, own, where, report)
    _registers_of_dinov2(renamed, report)
    _split_qkv_bias(renamed, own, report)
    return renamed


def _encoder_only(state: dict[str, torch.Tensor], report: LoadReport) -> dict[str, str]:
    """The encoder's keys in the file, and the same without the prefix of a training checkpoint."""
    for prefix in _BACKBONES:
        inside = {key: key.removeprefix(prefix) for key in state if key.startswith(prefix)}
        if inside:
            outside = Counter(key.split(".")[0] for key in state if key not in inside)
            report.ignored += [f"{name}.* ({count} tensors)" for name, count in sorted(outside.items())]
            return inside
    return {key: key for key in state}


def _registers_of_dinov2(state: dict[str, torch.Tensor], report: LoadReport) -> None:
    """timm adds no position to the class token of a model with registers, so the file's is added once and for all."""
    if "register_tokens" not in state:
        return
    state["reg_token"] = state.pop("register_tokens")
    report.renamed["register_tokens"] = "reg_token"
    positions = state["pos_embed"]
    state["cls_token"] = state["cls_token"] + positions[:, :1]
    state["pos_embed"] = positions[:, 1:]
    report.changed.append("added the class token's row of pos_embed to cls_token")


def _without_key_bias(
    state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], where: str, report: LoadReport
) -> None:
    """DINOv3 masks the keys' third of its bias; timm has models with the other two thirds, and without any."""
    for key in [key for key in state if key.endswith("attn.qkv.bias")]:
        query, _, value = state.pop(key).chunk(3)
        target = key.removesuffix("qkv.bias")
        if f"{target}q_bias" in own:
            state[f"{target}q_bias"], state[f"{target}v_bias"] = query, value
        elif query.any() or value.any():
            raise UserError(f"{where}: {key} is not zero and this model has no such bias; take timm's *_qkvb model")
    report.changed.append("took the query and value thirds of attn.qkv.bias, the keys' third is masked in DINOv3")


def _split_qkv_bias(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], report: LoadReport) -> None:
    """EVA02's query and value biases sit beside bias-free projections; timm keeps them with the projection."""
    for key in list(state):
        for part in ("q", "v"):
            target = key.removesuffix(f"{part}_bias") + f"{part}_proj.bias"
            if key.endswith(f"attn.{part}_bias") and target in own and key not in own:
                state[target] = state.pop(key)
                report.renamed[key] = target
