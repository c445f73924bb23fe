"""NVIDIA's RADIO, whose files hold more than a vision transformer: what timm's model has no place for."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gkd_lightning.encoders.files import State
from gkd_lightning.errors import UserError


def require_conditioner(models: Mapping[str, State], mean: torch.Tensor, std: torch.Tensor, where: str) -> None:
    """Hold what a file says about its network's input and output against an encoder that has no place for it.

    Args:
        models: the file's state dicts, by their dotted path in it.
        mean: of the encoder's input, for images in [0, 1]; three values.
        std: likewise.
        where: the file, for messages.

    Raises:
        UserError: the file's input conditioner has other statistics, or its features are normalised once more.
    """
    for state in models.values():
        for key, value in state.items():
            if "feature_normalizer." in key:
                raise UserError(f"{where}: {key} normalises features behind the network, which timm's model does not")
            for name, own in (("norm_mean", mean), ("norm_std", std)):
                if key.endswith(f"input_conditioner.{name}") and not torch.allclose(
                    value.float().flatten(), own.flatten().cpu(), atol=1e-3
                ):
                    given, expected = ([round(float(v), 4) for v in each.flatten()] for each in (value, own))
                    raise UserError(
                        f"{where}: {key} is {given}, this model's input has {expected}; "
                        "take the model that the file was made for"
                    )
