"""State dicts of other geometries and spellings brought to a timm model: strict, with an account of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import nn

from gkd_lightning.encoders.encoder import TransformerEncoder
from gkd_lightning.encoders.resize import resize_patch_kernel, resize_position_embedding
from gkd_lightning.encoders.types import ResizeRule
from gkd_lightning.errors import UserError

_IGNORED = re.compile(
    r"^(head\.|classifier\.|fc\.|head_dist\.|dist_token$|lm_head\.|fc_norm\.|rope\.|.*rope\.freqs_|.*num_batches_tracked$)"
)
"""Keys of published files that an encoder has no use for: classifiers, DeiT's second class token, RoPE tables."""

_STUDENT_PREFIX = "student.backbone."
"""Where the official stage 1 keeps the student; the rest of its checkpoint (teacher, heads) is left out."""

_EVA_NAMES = (
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
)
"""BAAI's names of EVA02's SwiGLU layers and timm's."""


@dataclass
class LoadReport:
    """What was done to a file's keys on the way into a model."""

    renamed: dict[str, str] = field(default_factory=dict)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line per kind of change."""
        lines = [f"renamed {old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"resized {key} {list(old)} -> {list(new)}" for key, (old, new) in self.resized.items()]
        lines += [f"ignored {', '.join(self.ignored)}"] if self.ignored else []
        lines += [f"kept initial {', '.join(self.initialised)}"] if self.initialised else []
        return "\n".join(lines) or "loaded as it is"


def load_transformer(
    encoder: TransformerEncoder,
    state: dict[str, torch.Tensor],
    rule: ResizeRule,
    where: str,
    grid: tuple[int, int] | None = None,
) -> LoadReport:
    """Load `state` (timm, DINOv2, DeiT, DINO or EVA02 key names) into a `TransformerEncoder`.

    Args:
        encoder: the encoder; its `model` and its `mask_token` receive the tensors.
        state: the file's tensors.
        rule: how geometry is changed, see `EncoderSpec.resize`.
        where: the file, for messages.
        grid: patch grid (h, w) of the file's position embedding; None means square.

    Raises:
        UserError: if a key of the model is missing, a key of the file is unknown, or a shape does not fit.
    """
    report = LoadReport()
    state = _rename(state, report)
    own = encoder.model.state_dict()
    mask = state.pop("mask_token", None)
    _split_qkv_bias(state, own)
    _resize(state, encoder, rule, grid, where, report)
    if any("gamma" in key for key in own) and not any("gamma" in key for key in state):
        # DINO's students: LayerScale starts at `init_values` although the published file has none.
        for key in own:
            if key.endswith("gamma"):
                state[key] = own[key]
                report.initialised.append(key)
    load_exactly(encoder.model, state, where, report)
    if mask is None:
        report.initialised.append("mask_token")  # DeiT's and DINO's files have none
    else:
        encoder.mask_token.data.copy_(mask.reshape(encoder.mask_token.shape))
    return report


def load_exactly(
    model: nn.Module, state: dict[str, torch.Tensor], where: str, report: LoadReport | None = None
) -> None:
    """Strict loading that tells the first offending key in one line."""
    own = model.state_dict()
    for key in sorted(key for key in state if key not in own and _IGNORED.match(key)):
        state.pop(key)
        if report is not None:
            report.ignored.append(key)
    own_needed = {key for key in own if not key.endswith("num_batches_tracked")}
    missing, unknown = sorted(own_needed - set(state)), sorted(set(state) - set(own))
    name = type(model).__name__
    if missing or unknown:
        first = f"has no {missing[0]!r}" if missing else f"has {unknown[0]!r}, which the model lacks"
        raise UserError(
            f"{where}: not a checkpoint of this {name}: it {first} "
            f"({len(missing)} keys missing, {len(unknown)} unknown); check the model name and its options"
        )
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise UserError(
                f"{where}: {key} has shape {list(value.shape)}, this {name} needs {list(own[key].shape)}; "
                "check the model name and its options"
            )
    model.load_state_dict(state, strict=False)


def _rename(state: dict[str, torch.Tensor], report: LoadReport) -> dict[str, torch.Tensor]:
    renamed = {}
    if any(key.startswith(_STUDENT_PREFIX) for key in state):  # the authors' own stage 1 checkpoints
        state = {key: value for key, value in state.items() if key.startswith(_STUDENT_PREFIX)}
    for key, value in state.items():
        new = key.removeprefix(_STUDENT_PREFIX)
        for pattern, replacement in _EVA_NAMES:
            new = re.sub(pattern, replacement, new)
        if new != key:
            report.renamed[key] = new
        renamed[new] = value
    return renamed


def _split_qkv_bias(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> None:
    """EVA02's query and value biases sit beside bias-free projections; timm keeps them with the projection."""
    for key in list(state):
        for part in ("q", "v"):
            target = key.removesuffix(f"{part}_bias") + f"{part}_proj.bias"
            if key.endswith(f"attn.{part}_bias") and target in own and key not in own:
                state[target] = state.pop(key)


def _resize(
    state: dict[str, torch.Tensor],
    encoder: TransformerEncoder,
    rule: ResizeRule,
    grid: tuple[int, int] | None,
    where: str,
    report: LoadReport,
) -> None:
    model = encoder.model
    kernel = state.get("patch_embed.proj.weight")
    if kernel is not None:
        size = tuple(model.patch_embed.proj.weight.shape[-2:])
        resized = resize_patch_kernel(kernel, (size[0], size[1]), rule)
        if resized.shape != kernel.shape:
            report.resized["patch_embed.proj.weight"] = (tuple(kernel.shape), tuple(resized.shape))
        state["patch_embed.proj.weight"] = resized
    positions = state.get("pos_embed")
    if positions is None or getattr(model, "pos_embed", None) is None:
        return
    target = tuple(model.patch_embed.grid_size)
    prefix = model.pos_embed.shape[1] - target[0] * target[1]
    file_prefix = prefix
    if "dist_token" in state and prefix == 1:
        # Distilled DeiT: rows are class, distillation, patches; the distillation row goes.
        file_prefix = 2
    count = positions.shape[1] - file_prefix
    source = grid or (round(count**0.5),) * 2
    if source[0] * source[1] != count:
        raise UserError(f"{where}: pos_embed holds {count} patch positions, which is not a square grid")
    before = tuple(positions.shape)
    if file_prefix != prefix:
        positions = torch.cat([positions[:, :prefix], positions[:, file_prefix:]], dim=1)
    resized = resize_position_embedding(positions, (source[0], source[1]), (target[0], target[1]), prefix, rule)
    if tuple(resized.shape) != before:
        report.resized["pos_embed"] = (before, tuple(resized.shape))
    state["pos_embed"] = resized
