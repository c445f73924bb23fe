"""Sample pictures for the report: predictions on the same few images, and the encoders' features of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch

from gkd_lightning.chain.plan import Plan
from gkd_lightning.data import Image, Label, Segments, evenly, has_instances, segments_of
from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder
from gkd_lightning.evaluate import ImageCounts, fitted, patch_maps, pca_pictures, worst_images
from gkd_lightning.recipes import interpolate
from gkd_lightning.report import Gallery, Sample
from gkd_lightning.segment import finds_segments, load_segmenter, queries_of, segments_found, unfrozen

TEACHER = "teacher"


def sample_gallery(
    segmenter: Any, data: Any, method: str, count: int, counts: Mapping[str, ImageCounts] | None = None
) -> Gallery:
    """Pictures with a `Predictor`'s predictions: segments where it finds them and the data set has them, else classes.

    Args:
        segmenter: the predictor.
        data: a `TargetDataModule`.
        method: whose predictions they are.
        count: images of every domain, spread over it.
        counts: of every image by domain, where known: so many that it was worst at come too.
    """
    samples: list[Sample] = []
    worst: list[Sample] = []
    for domain, dataset in data.domains.items():
        segments = finds_segments(segmenter) and has_instances(dataset)
        samples += [_sample(segmenter, data, method, domain, index, segments) for index in evenly(dataset, count)]
        scores = worst_images(counts[domain], count) if counts and domain in counts else {}
        places = {name: index for index in range(len(dataset)) if (name := dataset.name(index)) in scores}
        for name, score in scores.items():
            sample = _sample(segmenter, data, method, domain, places[name])
            worst.append(replace(sample, scores={method: score}))
    return Gallery(data.label_space, samples, worst)


def _sample(segmenter: Any, data: Any, method: str, domain: str, index: int, segments: bool = False) -> Sample:
    parameter = next(segmenter.parameters(), None)  # an export has none, and computes on the CPU
    device = "cpu" if parameter is None else parameter.device
    dataset = data.domains[domain]
    image, label = dataset.image(index), dataset.label(index)
    resized = torch.from_numpy(np.ascontiguousarray(data.protocol_of(domain).resized(image).transpose(2, 0, 1)))
    pixels, size = resized[None].to(device), (label.shape[0], label.shape[1])
    truth: Label | Segments = label
    if segments:
        truth = segments_of(dataset, index, label)
        found = segments_found(segmenter, queries_of(segmenter, pixels), size, data.label_space)[0].codes.cpu().numpy()
    else:
        with torch.no_grad():
            found = segmenter.predict(pixels, size)[0].cpu().numpy().astype(np.uint8)
    return Sample(domain, dataset.name(index), image, truth, {method: found})


def add_features(gallery: Gallery, plan: Plan) -> Gallery:
    """Principal components of the teacher's and of every method's features, in colours that can be compared.

    Of several teachers the first gives the colours. Without any the pictures are left out: there is nothing to
    compare with.
    """
    encoders = _teachers(plan)
    if not encoders or not gallery.samples:
        return gallery
    reference = next(iter(encoders))
    encoders |= _students(plan)
    images = [sample.image for sample in gallery.samples]
    maps = {name: patch_maps(encoder, fitted(images, encoder)) for name, encoder in encoders.items()}
    pictures = pca_pictures(maps, reference)
    samples = [
        replace(sample, features={name: _shaped(pictures[name][index], sample.image) for name in pictures})
        for index, sample in enumerate(gallery.samples)
    ]
    return replace(gallery, samples=samples)


def _teachers(plan: Plan) -> dict[str, Encoder]:
    teachers = next((stage.what.teachers for stage in plan.stages if stage.what.teachers), {})
    return {
        name if name == TEACHER else f"{TEACHER} {name}": build_encoder(EncoderSpec(**interpolate(spec)))
        for name, spec in teachers.items()
    }


def _students(plan: Plan) -> dict[str, Encoder]:
    found: dict[str, Encoder] = {}
    for run in plan.runs:
        if run.seed == plan.runs[0].seed and run.method.role != "teacher":
            found[run.method.id] = unfrozen(load_segmenter(run.stages[-1].artefact()).segmenter.encoder)
    return found


def _shaped(picture: Image, image: Image) -> Image:
    """Stretched back to the image's shape, patches as blocks."""
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
