"""How exactly fp32 matrices are multiplied: one choice for a run, put back at its end."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L
import torch

MatmulPrecision = Literal["highest", "high", "medium"]
"""torch's names: fp32, TF32, bf16."""


class Float32Products(L.Callback):
    """Set `torch.set_float32_matmul_precision` while the trainer works, and then what it was before.

    Convolutions, which cuDNN computes in TF32 unless told otherwise, go with it: ``highest`` means fp32 for them too.

    Args:
        precision: None decides by the run, see `products_of`.
    """

    def __init__(self, precision: MatmulPrecision | None = None) -> None:
        self.precision = precision
        self._before: tuple[str, bool] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Set it, in every process of a run."""
        self._before = self._before or (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
        precision = self.precision or products_of(trainer)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Put it back."""
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Put it back: the next stage of the same process may be in fp32."""
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            precision, torch.backends.cudnn.allow_tf32 = self._before
            torch.set_float32_matmul_precision(precision)
        self._before = None


def products_of(trainer: Any) -> MatmulPrecision:
    """``high`` (TF32) in mixed precision on CUDA, ``highest`` else.

    In such a run the fp32 products left are those whose factors have passed through bf16 or fp16, as the queries of
    QSD; their sums stay in fp32. A run in fp32 asks for fp32.
    """
    mixed = "mixed" in str(trainer.precision)
    return "high" if mixed and trainer.strategy.root_device.type == "cuda" else "highest"
