"""What takes more than another name on the way from published tensors to timm's, and the account of it all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from gkd_lightning.errors import UserError


@dataclass
class LoadReport:
    """What was done to a file's keys on the way into a model.

    Attributes:
        chosen: where in the file its model lies, a dotted path.
        beside: where others lie that could have been meant.
    """

    chosen: str = ""
    beside: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line per kind of change."""
        lines = [self.choice] if self.chosen or self.beside else []
        lines += [f"renamed {old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"resized {key} {list(old)} -> {list(new)}" for key, (old, new) in self.resized.items()]
        lines += self.changed
        lines += [f"ignored {', '.join(self.ignored)}"] if self.ignored else []
        lines += [f"kept initial {', '.join(self.initialised)}"] if self.initialised else []
        lines += [f"TOLERATED {', '.join(self.tolerated)}"] if self.tolerated else []
        return "\n".join(lines) or "loaded as it is"

    @property
    def choice(self) -> str:
        """Which model of the file was taken."""
        others = f", not {', '.join(self.beside)}: weights_key takes another" if self.beside else ""
        return f"took {self.chosen or 'what lies at the top'}{others}"


def timm_tensors(
    state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], where: str, report: LoadReport
) -> dict[str, torch.Tensor]:
    """Tensors joined, split and added up as timm has them; what has no place there is left for `load_exactly` to judge.

    Args:
        state: the file's tensors, under timm's names (`layouts`).
        own: the model's state dict, which decides between variants.
        where: the file, for messages.
        report: receives what was done.

    Raises:
        UserError: key biases that the model has no place for.
    """
    state = dict(state)
    _radio(state, report)
    _join_qkv(state, own, report)
    if "reg_token" in state and "pos_embed" not in state:
        _without_key_bias(state, own, where, report)
    _registers_of_dinov2(state, report)
    _split_qkv_bias(state, own, report)
    return state


def _join_qkv(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], report: LoadReport) -> None:
    """transformers keeps query, key and value apart (and DINOv3 a zero for the keys' bias out of its files)."""
    joined = 0
    for key in [key for key in state if key.endswith("attn.q_proj.weight")]:
        block = key.removesuffix("q_proj.weight")
        names = [f"{block}{part}_proj.weight" for part in "qkv"]
        if f"{block}qkv.weight" not in own or not all(name in state for name in names):
            continue
        state[f"{block}qkv.weight"] = torch.cat([state.pop(name) for name in names])
        biases = [state.pop(f"{block}{part}_proj.bias", None) for part in "qkv"]
        given = next((bias for bias in biases if bias is not None), None)
        if given is not None:
            whole = [torch.zeros_like(given) if bias is None else bias for bias in biases]
            state[f"{block}qkv.bias"] = torch.cat(whole)
        joined += 1
    if joined:
        report.changed.append(f"joined the query, key and value projections of {joined} blocks")


def _radio(state: dict[str, torch.Tensor], report: LoadReport) -> None:
    """RADIO's patches go through a matrix without bias; it has a summary token for each teacher of its own.

    The first of them becomes the class token, the others and what else stands there are registers to timm.
    """
    kernel, tokens = state.get("patch_embed.proj.weight"), state.get("cls_token")
    if kernel is None or kernel.ndim != 2 or tokens is None or tokens.ndim != 2:
        return
    side = math.isqrt(kernel.shape[1] // 3)
    state["patch_embed.proj.weight"] = kernel.reshape(len(kernel), 3, side, side)
    state["patch_embed.proj.bias"] = torch.zeros(len(kernel))
    state["cls_token"], state["reg_token"] = tokens[None, :1], tokens[None, 1:]
    report.changed.append(f"took the first of {len(tokens)} summary tokens and registers for the class token")


def _registers_of_dinov2(state: dict[str, torch.Tensor], report: LoadReport) -> None:
    """timm adds no position to the class token of a model with registers, so the file's is added once and for all."""
    if "register_tokens" not in state or "pos_embed" not in state:
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
    fused = [key for key in state if key.endswith("attn.qkv.bias") and key not in own]
    for key in fused:
        query, _, value = state.pop(key).chunk(3)
        target = key.removesuffix("qkv.bias")
        if f"{target}q_bias" in own:
            state[f"{target}q_bias"], state[f"{target}v_bias"] = query, value
        elif query.any() or value.any():
            raise UserError(f"{where}: {key} is not zero and this model has no such bias; take timm's *_qkvb model")
    if fused:
        report.changed.append("took the query and value thirds of attn.qkv.bias, the keys' third is masked in DINOv3")


def _split_qkv_bias(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], report: LoadReport) -> None:
    """EVA02's query and value biases sit beside bias-free projections; timm keeps them with the projection."""
    for key in list(state):
        for part in ("q", "v"):
            target = key.removesuffix(f"{part}_bias") + f"{part}_proj.bias"
            if key.endswith(f"attn.{part}_bias") and target in own and key not in own:
                state[target] = state.pop(key)
                report.renamed[key] = target
