"""Encoders that timm does not have: a class of the user's, named by its class path."""

from __future__ import annotations

import inspect

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from gkd_lightning.class_paths import imported
from gkd_lightning.encoders.encoder import Encoder
from gkd_lightning.encoders.types import EncoderSpec
from gkd_lightning.errors import UserError

_NEEDED = ("embed_dim", "patch_size", "depth", "image_size")


def of_class(spec: EncoderSpec) -> Encoder:
    """Call the class that `spec.name` is the path of with `spec` and its options.

    Raises:
        UserError: no such class, options that it does not take, a geometry that it has not, an attribute that it has
            not set, weights outside its `model`.
    """
    kind = imported(spec.name, Encoder, "encoder (timm has no such model, so it is a class path)")  # type: ignore[type-abstract]
    if inspect.isabstract(kind):
        raise UserError(f"{spec.name}: does not define {', '.join(sorted(kind.__abstractmethods__))}")
    try:
        inspect.signature(kind).bind(spec, **spec.options)
    except TypeError as error:
        raise UserError(f"{spec.name}: options {spec.options} do not fit its constructor ({error})") from error
    encoder = kind(spec, **spec.options)
    missing = [name for name in _NEEDED if not hasattr(encoder, name)]
    if missing:
        raise UserError(f"{spec.name}: its constructor does not set {', '.join(missing)}")
    for name, given, own in (
        ("image_size", spec.hw, tuple(encoder.image_size)),
        ("patch_size", spec.patch_size, encoder.patch_size),
    ):
        if given is not None and given != own:
            raise UserError(f"{spec.name}: {name} is {given} in the configuration, and the class has {own}")
    outside = [key for key in encoder.state_dict() if not key.startswith("model.") and key != "mask_token"]
    if outside:
        raise UserError(f"{spec.name}: {outside[0]} lies outside its model, so no file would hold it; put it inside")
    if spec.normalization == "imagenet":
        for buffer, values in ((encoder.mean, IMAGENET_DEFAULT_MEAN), (encoder.std, IMAGENET_DEFAULT_STD)):
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))
    return encoder
