"""Small students and segmenters on disk, untrained, as stages leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gkd_lightning.data import MiniCity
from gkd_lightning.distill import TokenStandardisation, chosen_head, save_heads
from gkd_lightning.encoders import EncoderSpec, Tokens, build_encoder, export_encoder
from gkd_lightning.files import file_sha256, write_json
from gkd_lightning.segment import HeadSettings, Mask2FormerConfig, Segmenter, save_segmenter

HEAD = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=1, decoder_layers=1, heads=4, encoder_ffn=32, decoder_ffn=32, queries=8, points=64
)


def spec(width: int = 32, depth: int = 4) -> EncoderSpec:
    options = {"embed_dim": width, "depth": depth, "num_heads": 2}
    return EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options=options)


def teacher_yaml(folder: Path, width: int = 48) -> Path:
    """A teacher's fragment, with weights in a file of its own."""
    torch.manual_seed(7)
    weights = export_encoder(build_encoder(spec(width, 2)), folder / "teacher", stage="made", provenance={})
    path = folder / "teacher.yaml"
    options = f"{{embed_dim: {width}, depth: 2, num_heads: 2}}"
    path.write_text(
        f"name: vit_tiny_patch16_224\nimage_size: 32\npatch_size: 8\noptions: {options}\nweights: {weights}\n"
    )
    return path


def student(
    folder: Path, alignment: str | None = "qsd", width: int = 32, teacher_width: int = 48, teacher: Path | None = None
) -> Path:
    """A stage 1's folder; without heads if `alignment` is None; `teacher` goes into the record."""
    torch.manual_seed(width)
    provenance: dict[str, Any] = {}
    if teacher is not None:
        model = {"class_path": "x", "init_args": {"teacher": _fragment(teacher)}}
        provenance = {"config": {"model": model}}
    weights = export_encoder(build_encoder(spec(width)), folder, stage="made", provenance=provenance)
    if alignment is not None:
        head = chosen_head(alignment)  # type: ignore[arg-type]
        save_heads({"fea": head.attached(width, teacher_width)}, weights)
    return folder


def student_of_two(folder: Path, teachers: Mapping[str, Path], width: int = 32, teacher_width: int = 48) -> Path:
    """As `student`, with several teachers, whose tokens were standardised; the first saw images of 48 px."""
    torch.manual_seed(width)
    both: dict[str, Any] = {name: {"encoder": _fragment(path)} for name, path in teachers.items()}
    next(iter(both.values()))["input_size"] = 48
    provenance = {"config": {"model": {"class_path": "x", "init_args": {"teachers": both}}}}
    weights = export_encoder(build_encoder(spec(width)), folder, stage="made", provenance=provenance)
    heads = {f"{name}/fea": chosen_head("qsd").attached(width, teacher_width) for name in teachers}
    rules = {name: TokenStandardisation("phi_s", teacher_width, 1) for name in teachers}
    for scale, rule in enumerate(rules.values(), 1):
        rule.begin_step(0)
        patches = scale * torch.randn(2, 64, teacher_width)
        rule(Tokens(patches[:, 0], patches, (8, 8)))
        rule.begin_step(1)
    save_heads(heads, weights, rules)
    return folder


def segmenter(folder: Path, width: int = 32, head: HeadSettings = HEAD) -> Path:
    """A stage 2's folder, MiniCity's classes."""
    torch.manual_seed(width + 1)
    model = Segmenter.for_encoder(build_encoder(spec(width)), 8, head, window=32, stride=32)
    save_segmenter(model, folder, label_space=MiniCity("game", 1).label_space, protocol={}, provenance={})
    return folder


def finished(stage: Path, title: str, when: int, parent: Path | None = None) -> Path:
    """Make a folder of artefacts look like a stage of a finished run."""
    name = "segmenter.safetensors" if (stage / "segmenter.safetensors").is_file() else "student.safetensors"
    (stage / "stage.yaml").write_text(f"title: {title}\n")
    begun = None if parent is None else json.loads((parent / "done.json").read_text())["sha256"]
    done = {
        "artefact": name, "sha256": file_sha256(stage / name), "finished": f"2030-01-01T00:00:{when:02d}",
        "starts_from": {} if begun is None else {"model.encoder.weights": begun},
    }  # fmt: skip
    write_json(stage / "done.json", done)
    return stage


def _fragment(path: Path) -> dict[str, Any]:
    from gkd_lightning.recipes.yaml_text import read_yaml

    return read_yaml(path)
