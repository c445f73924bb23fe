"""Attention whose sharpness is learned or moved is QSD otherwise, and an interrupted run finds it where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gkd_lightning.baselines import FeatureMSE
from gkd_lightning.distill import GKD, AdaptiveQueries, QuerySoftDistillation, load_heads, save_heads
from gkd_lightning.distill.optim import parameter_groups
from gkd_lightning.encoders import EncoderSpec, build_encoder, export_encoder
from gkd_lightning.errors import UserError

SPEC = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 16, "depth": 1, "num_heads": 2})


def pair(**settings: Any) -> tuple[QuerySoftDistillation, AdaptiveQueries]:
    plain = QuerySoftDistillation(2, 0.3).attached(16, 24)
    adaptive = AdaptiveQueries(2, 0.3, **settings).attached(16, 24)
    adaptive.load_state_dict(plain.state_dict(), strict=False)
    return plain, adaptive


def tokens(width: int) -> torch.Tensor:
    return torch.randn(2, 16, width, generator=torch.Generator().manual_seed(width))


@pytest.mark.parametrize("settings", [{}, {"learned": True}, {"final_scale": 1.0}])
def test_they_start_as_qsd(settings: dict[str, Any]) -> None:
    plain, adaptive = pair(**settings)
    torch.testing.assert_close(adaptive(tokens(16), tokens(24)).tokens, plain(tokens(16), tokens(24)).tokens)
    assert adaptive.scales == pytest.approx([0.3, 0.3])


def test_a_learned_scale_learns_and_is_not_decayed() -> None:
    _, head = pair(learned=True)
    head(tokens(16), tokens(24)).tokens.square().sum().backward()
    assert (head.log_scale.grad != 0).all()
    undecayed = parameter_groups(head.named_parameters(), 0.05)[0]["params"]
    assert any(each is head.log_scale for each in undecayed)  # type: ignore[attr-defined]


def test_a_scale_moves_by_equal_ratios_to_its_end() -> None:
    gkd = GKD(alignment=AdaptiveQueries(1, 0.25, final_scale=4.0))
    encoder = build_encoder(SPEC)
    gkd.attach(encoder, encoder)
    gkd.begin_fit(100)
    found = {}
    for step in (50, 0, 100, 150):  # as after an interruption: no step depends on those before it
        gkd.begin_step(step)
        found[step] = [head.scales[0] for head in gkd.alignment_heads().values()]
    assert found[0] == pytest.approx([0.25] * 3)
    assert found[50] == pytest.approx([1.0] * 3)
    assert found[100] == found[150] == pytest.approx([4.0] * 3)


def test_a_residual_adds_the_tokens_own_value() -> None:
    plain, head = pair(residual=True)
    wanted = plain(tokens(16), tokens(24)).tokens + plain.proj_v(tokens(16))
    torch.testing.assert_close(head(tokens(16), tokens(24)).tokens, wanted)


def test_where_the_scale_ended_is_in_the_artefact(tmp_path: Path) -> None:
    encoder = build_encoder(SPEC)
    gkd = GKD(alignment=AdaptiveQueries(1, 0.25, final_scale=4.0))
    gkd.attach(encoder, encoder)
    gkd.begin_fit(10)
    gkd.begin_step(5)
    student = export_encoder(encoder, tmp_path, stage="task_agnostic", provenance={})
    save_heads(gkd.alignment_heads(), student)
    again = load_heads(student)["fea"]
    assert isinstance(again, AdaptiveQueries)
    assert again.scales == pytest.approx([1.0])


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(UserError, match=r"final_scale: 1\.0 moves a scale that is learned"):
        AdaptiveQueries(learned=True, final_scale=1.0)
    with pytest.raises(UserError, match="AdaptiveQueries moves during stage 1"):
        FeatureMSE(alignment=AdaptiveQueries(final_scale=1.0))
