"""State dicts of other geometries and spellings brought to a timm model: strict, with an account of it.

Rules of resizing and their sources: `EncoderSpec.resize`. The official code resizes checkpoints with plain bicubic
interpolation (distillation_models_deit.py:28-61) and DINOv2's hub model resizes its position embedding at
run time by a scale factor with an offset of 0.1 (models_dinov2.py:654-682); the two differ visibly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import nn

from gkd_lightning.encoders.encoder import TransformerEncoder
from gkd_lightning.encoders.layouts import begin, look, shared
from gkd_lightning.encoders.spelling import LoadReport, timm_tensors
from gkd_lightning.encoders.types import ResizeRule
from gkd_lightning.errors import UserError

_IGNORED = re.compile(
    r"^(head\.|attn_pool\.|classifier\.|pooler\.|fc\.|head_dist\.|dist_token$|lm_head\.|fc_norm\.|rope\.|rope_embed\.|"
    r"local_cls_norm\.|.*rope\.freqs_|.*bias_mask$|.*num_batches_tracked$)"
)
"""Keys of published files that an encoder has no use for: classifiers, pooling, DeiT's second class token, RoPE
tables."""


def load_transformer(
    encoder: TransformerEncoder,
    state: dict[str, torch.Tensor],
    rule: ResizeRule,
    where: str,
    report: LoadReport,
    grid: tuple[int, int] | None = None,
    tolerate: Sequence[str] = (),
) -> None:
    """Load `state` into a `TransformerEncoder`.

    Args:
        encoder: the encoder; its `model` and its `mask_token` receive the tensors.
        state: the file's tensors under timm's names, as published.
        rule: how geometry is changed, see `EncoderSpec.resize`.
        where: the file, for messages.
        report: receives what was done.
        grid: patch grid (h, w) of the file's position embedding; None means square.
        tolerate: see `EncoderSpec.tolerate`.

    Raises:
        UserError: if a key of the model is missing, a key of the file is unknown, or a shape does not fit.
    """
    own = encoder.model.state_dict()
    state = timm_tensors(state, own, where, report)
    mask = state.pop("mask_token", None)
    _resize(state, encoder, rule, grid, where, report)
    if any("gamma" in key for key in own) and not any("gamma" in key for key in state):
        # DINO's students: LayerScale starts at `init_values` although the published file has none.
        for key in own:
            if key.endswith("gamma"):
                state[key] = own[key]
                report.initialised.append(key)
    load_exactly(encoder.model, state, where, report, tolerate)
    if mask is None:
        report.initialised.append("mask_token")  # DeiT's and DINO's files have none
    else:
        encoder.mask_token.data.copy_(mask.reshape(encoder.mask_token.shape))


def load_exactly(
    model: nn.Module, state: dict[str, torch.Tensor], where: str, report: LoadReport, tolerate: Sequence[str] = ()
) -> None:
    """Strict loading that tells the first offending key in one line.

    Raises:
        UserError: missing or unknown keys that `tolerate` does not name, or a shape that does not fit.
    """
    own = model.state_dict()
    for key in sorted(key for key in state if key not in own and _IGNORED.match(key)):
        state.pop(key)
        report.ignored.append(key)
    own_needed = {key for key in own if not key.endswith("num_batches_tracked")}
    missing, unknown = own_needed - set(state), set(state) - set(own)
    for pattern in tolerate:
        for keys, what in ((missing, "missing"), (unknown, "unknown")):
            named = {key for key in keys if re.fullmatch(pattern, key)}
            report.tolerated += [f"{key} ({what})" for key in sorted(named)]
            keys -= named
    for key in [key for key in state if key not in own and key not in unknown]:
        state.pop(key)
    absent, foreign = sorted(missing), [key for key in state if key in unknown]
    name = type(model).__name__
    elsewhere = f"; {report.choice}" if report.beside else ""
    if foreign and not shared(state, own):
        raise UserError(
            f"{where}: not a checkpoint of this {name}: its keys {look(foreign)}, this model's begin {begin(own)}; "
            f"take the model that it was made for{elsewhere}"
        )
    if absent or foreign:
        first = f"has no {absent[0]!r}" if absent else f"has {min(foreign)!r}, which the model lacks"
        raise UserError(
            f"{where}: not a checkpoint of this {name}: it {first} "
            f"({len(absent)} keys missing, {len(foreign)} unknown); check the model name and its options{elsewhere}"
        )
    for key, value in state.items():
        if [side for side in value.shape if side > 1] == [side for side in own[key].shape if side > 1]:
            state[key] = value.reshape(own[key].shape)  # the same values, with other sides of length 1
        elif value.shape != own[key].shape:
            raise UserError(
                f"{where}: {key} has shape {list(value.shape)}, this {name} needs {list(own[key].shape)}; "
                f"check the model name and its options{elsewhere}"
            )
    model.load_state_dict(state, strict=False)


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
    if positions.ndim == 2:  # CLIP's
        positions = positions[None]
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


def resize_patch_kernel(kernel: torch.Tensor, size: tuple[int, int], rule: ResizeRule = "bicubic") -> torch.Tensor:
    """Resize a patch embedding's convolution kernel (D, C, h, w) to (D, C, *size).

    The bicubic rules keep the official behaviour: no antialiasing and no correction of the kernel's energy, so
    the kernel's sum grows with its area.
    """
    if tuple(kernel.shape[-2:]) == size:
        return kernel
    if rule == "pseudo-inverse":
        resized: torch.Tensor = resample_patch_embed(kernel, list(size))
        return resized
    return F.interpolate(kernel.float(), size=size, mode="bicubic", align_corners=False).to(kernel.dtype)


def resize_position_embedding(
    embedding: torch.Tensor, source: tuple[int, int], target: tuple[int, int], prefix: int, rule: ResizeRule = "bicubic"
) -> torch.Tensor:
    """Resize a position embedding (1, prefix + h*w, D) from the `source` grid (h, w) to the `target` grid.

    The `prefix` rows (class token, registers) are kept as they are. With ``bicubic-offset`` an unchanged grid is
    left alone, as DINOv2 does.
    """
    if embedding.shape[1] != prefix + source[0] * source[1]:
        raise ValueError(f"{embedding.shape[1]} positions are not {prefix} + {source[0]}x{source[1]}")
    if source == target:
        return embedding
    if rule == "pseudo-inverse":
        resampled: torch.Tensor = resample_abs_pos_embed(
            embedding, new_size=list(target), old_size=list(source), num_prefix_tokens=prefix
        )
        return resampled
    head, grid = embedding[:, :prefix], embedding[:, prefix:]
    grid = grid.reshape(1, *source, -1).permute(0, 3, 1, 2).float()
    if rule == "bicubic-offset":
        scale = tuple((new + 0.1) / old for new, old in zip(target, source, strict=True))
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    elif rule in ("cropped", "cropped-corners"):
        side, corners = max(target), rule == "cropped-corners"
        grid = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=corners)
        grid = grid[..., : target[0], : target[1]]
    else:
        grid = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(1, target[0] * target[1], -1)
    return torch.cat([head, grid.to(embedding.dtype)], dim=1)
