"""A finished segmentation model as two files: `segmenter.safetensors` and `segmenter.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from torch import Tensor

from gkd_lightning.data import LabelSpace
from gkd_lightning.encoders import (
    EncoderSpec,
    Frozen,
    Refinement,
    add_refinement,
    build_encoder,
    merged,
    read_safetensors,
    refinement_of,
    spec_of,
    versions,
)
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json
from gkd_lightning.segment.head_choice import settings_of
from gkd_lightning.segment.segmenter import Segmenter, unfrozen
from gkd_lightning.tensor_files import require_recorded, write_tensors

SEGMENTER_WEIGHTS = "segmenter.safetensors"
SEGMENTER_RECORD = "segmenter.json"
KIND = "gkd-segmenter"


class LoadedSegmenter(NamedTuple):
    """A segmenter and what its classes mean."""

    segmenter: Segmenter
    label_space: LabelSpace
    record: dict[str, Any]
    """Everything in `segmenter.json`: protocol, provenance, versions ..."""


def save_segmenter(
    segmenter: Segmenter,
    directory: str | Path,
    *,
    label_space: LabelSpace,
    protocol: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the two files; existing ones are replaced atomically.

    Low-rank additions become part of the weights, linked queries the head's own; a refinement stays beside them.

    Args:
        segmenter: encoder and head; weights are stored in their own precision.
        directory: where the files go.
        label_space: names and colours of the classes.
        protocol: how images were resized for evaluation, plain values.
        provenance: configuration hash, parent's sha256, steps, seed ..., plain values.

    Returns:
        Path of the weights file.
    """
    weights = Path(directory) / SEGMENTER_WEIGHTS
    segmenter.keep_queries()
    digest = write_tensors(_state(segmenter), weights, {"kind": KIND})
    refinement = refinement_of(unfrozen(segmenter.encoder))
    write_json(
        weights.with_name(SEGMENTER_RECORD),
        {
            "kind": KIND,
            "encoder": spec_of(unfrozen(segmenter.encoder)),
            **({} if refinement is None else {"refinement": _recorded(refinement)}),
            "head": segmenter.head.record,
            "blocks": segmenter.blocks,
            "window": segmenter.window,
            "stride": segmenter.stride,
            "scales": segmenter.scales,
            "classes": list(label_space.names),
            "palette": [list(colour) for colour in label_space.palette],
            **({"things": list(label_space.things)} if segmenter.head.panoptic else {}),
            "protocol": dict(protocol),
            "provenance": dict(provenance),
            "sha256": digest,
            "versions": {**versions(), "transformers": transformers.__version__},
        },
    )
    return weights


def load_segmenter(path: str | Path) -> LoadedSegmenter:
    """Rebuild a segmenter, frozen and in eval mode, from its folder or weights file.

    Raises:
        UserError: a file is missing, is not what its name says, or does not belong to the other one.
    """
    weights = Path(path)
    if weights.is_dir():
        weights = weights / SEGMENTER_WEIGHTS
    record_path = weights.with_name(SEGMENTER_RECORD)
    for file in (weights, record_path):
        if not file.is_file():
            raise UserError(f"{file}: missing; a segmenter is two files, {SEGMENTER_WEIGHTS} and {SEGMENTER_RECORD}")
    state = read_safetensors(weights)
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        if record["kind"] != KIND:
            raise ValueError(f"kind is {record['kind']!r}")
        encoder = EncoderSpec(**record["encoder"])
        refinement = Refinement(**record["refinement"]) if "refinement" in record else None
        head = settings_of(record["head"])
        palette = tuple((r, g, b) for r, g, b in record["palette"])
        label_space = LabelSpace(tuple(record["classes"]), palette, things=tuple(record.get("things", ())))
        plan = {key: record[key] for key in ("blocks", "window", "stride", "scales")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{record_path}: not the record of a segmenter ({error!r}), export it again") from error
    require_recorded(weights, record, record_path)
    network = build_encoder(encoder)
    if refinement is not None:
        add_refinement(network, refinement)
    plan["blocks"] = plan["blocks"] or None
    segmenter = Segmenter.for_encoder(Frozen(network), len(label_space), head, **plan)
    _load_exactly(_state(segmenter), state, weights)
    return LoadedSegmenter(segmenter.eval().requires_grad_(False), label_space, record)


def record_protocols(weights: Path, domains: Mapping[str, Mapping[str, Any]]) -> None:
    """Write into a segmenter's record how each domain was judged (`Protocol.asdict`), for `protocol_for` to follow."""
    path = weights.with_name(SEGMENTER_RECORD)
    record = json.loads(path.read_text(encoding="utf-8"))
    record["judged"] = {**record.get("judged", {}), **{name: dict(protocol) for name, protocol in domains.items()}}
    write_json(path, record)


def _recorded(refinement: Refinement) -> dict[str, Any]:
    return {name: value for name, value in asdict(refinement).items() if name != "linked"}


def _state(segmenter: Segmenter) -> dict[str, Tensor]:
    # The encoder may be frozen, and a frozen module adds nothing to its parent's state.
    parts = {"encoder": merged(unfrozen(segmenter.encoder)), "head": segmenter.head}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def _load_exactly(own: dict[str, Tensor], state: dict[str, Tensor], where: Path) -> None:
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise UserError(
            f"{where}: {len(wrong)} tensors do not fit the architecture in {SEGMENTER_RECORD}, first {wrong[0]}"
        )
    for key, value in state.items():
        own[key].copy_(value)  # state_dict's tensors share memory with the parameters
