import torch
from torch import nn

from gkd_lightning.encoders import build_encoder
from gkd_lightning.segment.encoder_training import freeze_unreached
from gkd_lightning.segment.optim import parameter_groups, poly_factor
from gkd_lightning.segment.segmenter import Segmenter
from tests.segment.fake import HEAD, SPEC


def test_every_trained_parameter_is_in_one_group() -> None:
    segmenter = Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD)
    segmenter.encoder.requires_grad_(True)
    groups = parameter_groups(segmenter, segmenter.encoder, lr=1e-3, weight_decay=0.05, encoder_lr_scale=0.1)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in segmenter.parameters())
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.05), (1e-3, 0), (1e-4, 0.05)]


def test_frozen_parameters_are_in_none() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})
    model["encoder"].requires_grad_(False)
    groups = parameter_groups(model, model["encoder"], 1e-3, 0.05, 1.0)
    assert [len(group["params"]) for group in groups] == [2, 2]


def test_poly_ends_at_zero_even_for_tiny_runs() -> None:
    assert [poly_factor(5)(step) for step in (0, 4, 5)] == [1, 0, 0]
    assert poly_factor(1)(0) == 1


def test_unreached_parameters() -> None:
    """Blocks after the last chosen one get no gradient; with the tokens, all but the mask token do."""
    encoder = build_encoder(SPEC)
    unreached = freeze_unreached(encoder, [0, 1, 2, 2], with_tokens=False)
    assert {name.split(".")[1] if "." in name else name for name in unreached} == {"mask_token", "norm", "blocks"}
    assert {name.split(".")[2] for name in unreached if "blocks" in name} == {"3"}
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (name not in unreached)
    assert freeze_unreached(build_encoder(SPEC), [0, 1, 2, 2], with_tokens=True) == ["mask_token"]
    assert encoder.training
    assert all(parameter.device.type == "cpu" for parameter in encoder.parameters())
    assert torch.isfinite(encoder.tokens(torch.zeros(1, 3, 32, 32)).cls).all()
