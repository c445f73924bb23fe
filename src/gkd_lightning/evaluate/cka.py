"""Linear CKA: how alike two layers arrange the same samples, whatever their widths and axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class LinearCKA:
    """Centred kernel alignment with a linear kernel, of every layer of one network with every layer of another.

    ``|Y'X|² / (|X'X| |Y'Y|)`` in Frobenius norms, X (n, p) and Y (n, q) centred: the biased estimator over all samples
    that were added. It is computed from sums of products in float64, so batches change nothing, and memory holds
    (p, p), (q, q) and (p, q) for every layer and pair of layers, not the samples.

    It lies in [0, 1], and neither an orthogonal transform, nor a shift, nor a common factor of either side changes it.
    The bias is upwards: unrelated layers give about p q / n divided by their effective dimensions, so let n be well
    above the widths.

    Args:
        first: widths of one network's layers.
        second: widths of the other's.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, section 3.
    """

    def __init__(self, first: Sequence[int], second: Sequence[int]) -> None:
        self.count = 0
        self._sums = [[torch.zeros(width, dtype=torch.float64) for width in side] for side in (first, second)]
        self._squares = [[torch.zeros(width, width, dtype=torch.float64) for width in side] for side in (first, second)]
        self._products = [[torch.zeros(p, q, dtype=torch.float64) for q in second] for p in first]

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Count n samples: one (n, width) tensor per layer, rows in the same order everywhere.

        Raises:
            ValueError: layers with different numbers of samples.
        """
        counts = {len(layer) for layer in (*first, *second)}
        if len(counts) != 1:
            raise ValueError(f"layers with {sorted(counts)} samples, expected the same samples in all")
        self.count += counts.pop()
        sides = [[layer.double() for layer in side] for side in (first, second)]
        for side, layers in enumerate(sides):
            for index, layer in enumerate(layers):
                self._sums[side][index] += layer.sum(0).cpu()
                self._squares[side][index] += (layer.T @ layer).cpu()
        for row, x in enumerate(sides[0]):
            for column, y in enumerate(sides[1]):
                self._products[row][column] += (x.T @ y).cpu()

    def matrix(self) -> Tensor:
        """(layers of the first, layers of the second) float64; 0 where a layer is constant.

        Raises:
            ValueError: nothing was counted.
        """
        if self.count == 0:
            raise ValueError("no sample to compare the layers on")
        norms = [
            [self._centred(square, total, total).norm() for square, total in zip(squares, sums, strict=True)]
            for squares, sums in zip(self._squares, self._sums, strict=True)
        ]
        rows = []
        for products, first, norm in zip(self._products, self._sums[0], norms[0], strict=True):
            alike = [self._centred(part, first, second) for part, second in zip(products, self._sums[1], strict=True)]
            values = [
                part.square().sum() / (norm * other) if min(norm, other) > 1e-12 else norm.new_zeros(())
                for part, other in zip(alike, norms[1], strict=True)
            ]
            rows.append(torch.stack(values))
        return torch.stack(rows)

    def _centred(self, products: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return products - torch.outer(first, second) / self.count
