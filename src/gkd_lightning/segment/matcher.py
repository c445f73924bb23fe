"""Which query answers for which target: the Hungarian matching of all layers and images of a step at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.segment.chunks import chunks
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.points import PointSource, sample_points
from gkd_lightning.segment.targets import Targets, class_shares


class Matching(NamedTuple):
    """M = number of (image, target) pairs of the batch, image after image, targets in ascending order.

    A target is a class, unless segments are told apart, see `Targets`.
    """

    image: Tensor
    """(M,) int64."""
    target: Tensor
    """(M,) int64."""
    query: Tensor
    """(M, L) int64, the query that answers in each layer (0 where there is none)."""
    matched: Tensor
    """(M, L) float32, 0 where an image has more targets than there are queries and this one stayed alone."""
    query_class: Tensor
    """(L, B, Q) int64, each query's class, K (no object) for the others."""
    counts: list[int]
    """How many of the M pairs belong to each image."""
    total: int
    """Matched pairs of one layer; the same for every layer."""


@torch.no_grad()
def matching_cost(output: HeadOutput, targets: Targets, source: PointSource, config: Mask2FormerConfig) -> Tensor:
    """Cost (B, L, Q, T) float32 of letting a query answer for a target; meaningless for absent ones.

    2 * (1 - probability) (the 1 is left out), 5 * mean binary cross-entropy and 5 * dice at `points` uniform
    points that the queries of one layer and image share. Source: mmdet 3.3.0 ``match_cost.py``.
    """
    layers, batch, queries, _ = output.classes.shape
    device = output.classes.device
    points = source.per_image(layers, config.points, device)
    values = batch * queries * max(config.points, output.pixels.shape[-2:].numel())
    parts = [_cost(output, chosen, targets, points[:, chosen], config) for chosen in chunks(layers, values, device)]
    return torch.cat(parts, dim=1)


def _cost(output: HeadOutput, layers: slice, targets: Targets, points: Tensor, config: Mask2FormerConfig) -> Tensor:
    """(B, l, Q, T) of the chosen layers, at (B, l, P, 2) points."""
    with full_precision(points.device.type):
        named = output.classes[layers].transpose(0, 1).float().softmax(-1)[..., :-1]
        if targets.classes is not None:
            known = targets.classes.clamp(max=named.shape[-1] - 1)  # a wrong one is told by `match`
            named = named.gather(-1, known[:, None, None].expand(*named.shape[:3], -1))
        shares = class_shares(targets.label, points.flatten(1, 2), named.shape[-1])
        truth = shares.view(*points.shape[:3], -1)
        masks = output.masks_of(layers).float()
        logits = sample_points(masks.flatten(0, 1), points.flatten(0, 1)).view(*masks.shape[:3], -1)
        # log(1 + e^-x) - log(1 + e^x) = -x, so cross-entropy against every target is one product.
        entropy = (F.softplus(logits).sum(-1, keepdim=True) - logits @ truth) / config.points
        probability = logits.sigmoid_()
        overlap = 2 * (probability @ truth)
        dice = 1 - (overlap + 1) / (probability.sum(-1, keepdim=True) + truth.sum(-2, keepdim=True) + 1)
        return config.mask_weight * entropy + config.dice_weight * dice - config.class_weight * named


def match(output: HeadOutput, targets: Targets, source: PointSource, config: Mask2FormerConfig) -> Matching:
    """Match queries to the targets present, with one copy from the device to the host.

    Raises:
        UserError: if the logits are not finite (the run has diverged) or a label id is not a class.
    """
    cost = matching_cost(output, targets, source, config)
    classes, number = output.classes.shape[-1] - 1, targets.present.numel()
    parts = [cost.flatten(), targets.present.flatten(), targets.highest.view(1)]
    if targets.classes is not None:
        parts.append(targets.classes.flatten())
    host = torch.cat(parts).cpu().numpy()
    costs = host[: cost.numel()].reshape(cost.shape)
    present, (highest, *kinds) = np.split(host[cost.numel() :], [number])
    if highest >= classes:
        raise UserError(
            f"label id {int(highest)} in a training label, but num_classes is {classes}: check the class map"
        )
    if not np.isfinite(costs).all():
        image, layer = (int(index) for index in np.argwhere(~np.isfinite(costs))[0][:2])
        raise UserError(
            f"the head's logits are not finite (layer {layer}, image {image} of the batch): "
            "training has diverged, lower lr or choose another precision"
        )
    shape = targets.present.shape
    class_of = np.array(kinds, dtype=np.int64) if kinds else np.tile(np.arange(classes), shape[0])
    return _assign(costs, present.reshape(shape) > 0, class_of.reshape(shape), classes, output.classes.device)


def _assign(
    costs: NDArray[np.float32],
    present: NDArray[np.bool_],
    class_of: NDArray[np.int64],
    none: int,
    device: torch.device,
) -> Matching:
    """From costs (B, L, Q, T) to a matching; `class_of` (B, T), and `none` for the queries that stay alone."""
    batch, layers, queries, _ = costs.shape
    image, target = present.nonzero()
    counts: list[int] = present.sum(axis=1).tolist()
    query = np.zeros((len(image), layers), dtype=np.int64)
    matched = np.zeros((len(image), layers), dtype=np.float32)
    query_class = np.full((layers, batch, queries), none, dtype=np.int64)
    first = 0
    for index, count in enumerate(counts):
        own = target[first : first + count]
        for layer in range(layers):
            rows, columns = linear_sum_assignment(costs[index, layer][:, own])
            query[first + columns, layer] = rows
            matched[first + columns, layer] = 1
            query_class[layer, index, rows] = class_of[index, own[columns]]
        first += count

    def on_device(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    return Matching(
        on_device(image),
        on_device(target),
        on_device(query),
        on_device(matched),
        on_device(query_class),
        counts,
        sum(min(count, queries) for count in counts),
    )
