"""`gkd inspect similarity`: how alike student and teacher see each domain, layer by layer and token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gkd_lightning.data import ImageDataset, evenly
from gkd_lightning.distill import resize_tokens
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Line, LinearCKA, LinearMap, stacked
from gkd_lightning.inspection.images import Domains, batches
from gkd_lightning.inspection.output import write_findings
from gkd_lightning.inspection.sources import find_sources, find_teacher, on_device
from gkd_lightning.report import similarity_png

MOST_LAYERS = 12
"""Of each network; deeper ones are sampled at equal distances, the last block always among them."""


class DomainSimilarity(NamedTuple):
    """Student and teacher on one domain."""

    cka: Tensor
    """(student layers, teacher layers), each a block and then the tokens after the final norm."""
    cosine: float
    """Mean over patches between the linearly mapped student token and the teacher's."""
    images: int


def inspect_similarity(
    places: Sequence[str],
    domains: Domains,
    out: str | Path,
    teacher: str | None = None,
    count: int = 64,
    device: str = "auto",
) -> list[Path]:
    """Write ``similarity.png``, ``.csv`` and ``.json``; for the linear map of the first domain see `similarity`.

    Raises:
        UserError: a place or a teacher that is none, or a domain of one image.
    """
    if count < 2:
        raise UserError(f"--count {count}: give at least two images per domain, one fits the map that the other judges")
    sources = find_sources(places)
    teaching = on_device(find_teacher(teacher, sources), device)
    found: dict[str, dict[str, DomainSimilarity]] = {}
    names: dict[str, list[str]] = {}
    for source in sources:
        student = on_device(source.encoder(), device)
        found[source.title] = similarity(student, teaching, domains, count)
        names[source.title] = layer_names(student)
    theirs = layer_names(teaching)
    table: list[dict[str, Any]] = [
        {
            "encoder": title, "domain": domain, "student_layer": ours, "teacher_layer": their,
            "cka": round(float(each.cka[row, column]), 5),
        }
        for title, by_domain in found.items()
        for domain, each in by_domain.items()
        for row, ours in enumerate(names[title])
        for column, their in enumerate(theirs)
    ]  # fmt: skip
    record = {
        "estimator": "linear CKA, biased, over all patches of a domain's images",
        "teacher": teaching.spec.name,
        "linear_map_fitted_on": f"every second image of {next(iter(domains))}",
        "encoders": {source.title: str(source.weights) for source in sources},
        "last_layer": {title: _last(by_domain) for title, by_domain in found.items()},
    }
    heat = {
        title: {domain: each.cka.numpy() for domain, each in by_domain.items()} for title, by_domain in found.items()
    }
    cosines = {title: {domain: each.cosine for domain, each in by_domain.items()} for title, by_domain in found.items()}
    return write_findings(out, "similarity", similarity_png(heat, cosines, names, theirs), table, record)


@torch.no_grad()
def similarity(student: Encoder, teacher: Encoder, domains: Domains, count: int) -> dict[str, DomainSimilarity]:
    """Linear CKA of every pair of layers and the mean token cosine, by domain.

    The map from the student's width to the teacher's is least squares on every second image of the first domain; its
    cosine there is measured on the others. On the other domains nothing is fitted: what is lost there is what the map
    that fits the source does not explain.
    """
    first = next(iter(domains))
    chosen = {name: evenly(dataset, count) for name, dataset in domains.items()}
    if len(chosen[first]) < 2:
        raise UserError(f"{first}: one image cannot both fit and judge the linear map, the first domain needs two")
    fit = LinearMap(student.embed_dim, teacher.embed_dim)
    for images in batches(domains[first], chosen[first][::2]):
        ours, theirs = _layers(student, teacher, images)
        fit.add(ours[-1], theirs[-1])
    line = fit.solve()
    judged = {**chosen, first: chosen[first][1::2]}
    return {
        name: _domain(student, teacher, dataset, chosen[name], judged[name], line) for name, dataset in domains.items()
    }


def layer_names(encoder: Encoder) -> list[str]:
    """Blocks that are compared, and the tokens after the final norm."""
    return [*(str(block) for block in _blocks(encoder)), "out"]


def _domain(
    student: Encoder, teacher: Encoder, dataset: ImageDataset, chosen: Sequence[int], judged: Sequence[int], line: Line
) -> DomainSimilarity:
    cka: LinearCKA | None = None
    for images in batches(dataset, chosen):
        ours, theirs = _layers(student, teacher, images)
        if cka is None:
            cka = LinearCKA([part.shape[1] for part in ours], [part.shape[1] for part in theirs])
        cka.add(ours, theirs)
    assert cka is not None
    total, tokens = 0.0, 0
    for images in batches(dataset, judged):
        ours, theirs = _layers(student, teacher, images)
        total += float(F.cosine_similarity(line(ours[-1]), theirs[-1], dim=-1).sum())
        tokens += len(ours[-1])
    return DomainSimilarity(cka.matrix(), total / tokens, len(chosen))


def _blocks(encoder: Encoder) -> list[int]:
    count = min(encoder.depth, MOST_LAYERS)
    if encoder.hierarchical or count == 1:
        return list(range(encoder.depth))
    return [round(place * (encoder.depth - 1) / (count - 1)) for place in range(count)]


def _layers(student: Encoder, teacher: Encoder, images: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Layers of both on the student's grid, (tokens, width) each; the last one is after the final norm."""
    tokens, maps = student(stacked(images, student), _blocks(student))
    theirs, teacher_maps = teacher(stacked(images, teacher), _blocks(teacher))
    theirs = resize_tokens(theirs, tokens.grid)
    return (
        [*(_flat(each, tokens.grid) for each in maps), tokens.patches.flatten(0, 1)],
        [*(_flat(each, tokens.grid) for each in teacher_maps), theirs.patches.flatten(0, 1)],
    )


def _flat(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] != grid:
        maps = F.interpolate(maps.float(), size=grid, mode="bilinear", align_corners=False)
    return maps.flatten(2).transpose(1, 2).flatten(0, 1)


def _last(by_domain: Mapping[str, DomainSimilarity]) -> dict[str, dict[str, float]]:
    return {
        domain: {"cka": round(float(each.cka[-1, -1]), 4), "cosine": round(each.cosine, 4), "images": each.images}
        for domain, each in by_domain.items()
    }
