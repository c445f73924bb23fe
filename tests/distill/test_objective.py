"""The objective's switches: what each term sees and which heads exist."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gkd_lightning.distill import (
    GKD,
    Aligned,
    AlignmentHead,
    BatchMasks,
    Distance,
    Projection,
    QuerySoftDistillation,
    attention_entropy,
    batch_masks,
    masked_samples,
    random_token_mask,
)
from gkd_lightning.distill.distance import chosen_distance
from gkd_lightning.distill.optim import cosine_factor, parameter_groups, scaled_learning_rate
from gkd_lightning.encoders import Tokens
from gkd_lightning.errors import UserError


def tokens(dim: int, batch: int = 2, count: int = 9, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    return Tokens(
        torch.randn(batch, dim, generator=generator), torch.randn(batch, count, dim, generator=generator), (3, 3)
    )


def attached(**settings: Any) -> GKD:
    objective = GKD(**settings)
    objective.attach(SimpleNamespace(embed_dim=6), SimpleNamespace(embed_dim=8))  # type: ignore[arg-type]
    return objective


def batch(mask: torch.Tensor | None = None) -> Any:
    """Two images, of which the first M hide tokens, as an objective sees them."""
    passes = SimpleNamespace(student=tokens(6), teacher=tokens(8, seed=1), aligned=None, hidden=mask)
    passes.all_masked = tokens(6, seed=2).patches
    passes.masked = passes.all_masked[: 0 if mask is None else len(mask)]
    return passes


@pytest.mark.parametrize("weights", [(1, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("variant", ["official", "paper"])
def test_a_term_of_weight_zero_has_no_head(weights: tuple[int, int, int], variant: str) -> None:
    objective = attached(**dict(zip(("alpha", "beta", "gamma"), weights, strict=True)), variant=variant)
    expected = {name for name, weight in zip(("fea", "patch", "token"), weights, strict=True) if weight}
    assert set(objective.heads) == expected
    passes = batch(torch.rand(1, 9) > 0.5)
    terms = objective(passes)
    assert set(terms) == expected
    assert (passes.aligned is not None) == bool(weights[0])
    assert (objective.masking is not None) == bool(weights[1])
    objective.total(terms).backward()
    for name, parameter in objective.named_parameters():  # nothing is unused, which DDP would refuse
        assert parameter.grad is not None, name


def test_weights_scale_the_terms() -> None:
    objective = attached(alpha=0.5, beta=2.0, gamma=3.0)
    terms = {"fea": torch.tensor(1.0), "patch": torch.tensor(10.0), "token": torch.tensor(100.0)}
    assert objective.total(terms).item() == pytest.approx(0.5 + 20 + 300)


def test_official_feature_term_counts_the_class_token_and_the_papers_does_not() -> None:
    official, paper = attached(beta=0), attached(beta=0, variant="paper")
    paper.load_state_dict(official.state_dict())
    ours, theirs = official(batch()), paper(batch())
    torch.testing.assert_close(ours["token"], theirs["token"])
    # 1 + N tokens against N tokens
    torch.testing.assert_close(ours["fea"], (theirs["token"] + 9 * theirs["fea"]) / 10)


def test_the_papers_masked_term_sees_masked_tokens_only() -> None:
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, :4] = True
    official, paper = attached(), attached(variant="paper")
    paper.load_state_dict(official.state_dict())
    passes = batch(mask)
    output = official.heads["patch"](passes.all_masked, passes.teacher.patches).tokens
    error = (output - passes.teacher.patches).square()
    torch.testing.assert_close(official(passes)["patch"], error.mean())
    torch.testing.assert_close(paper(passes)["patch"], error[0, :4].mean())


def test_projection_alignment_is_feature_mse() -> None:
    objective, passes = attached(beta=0, gamma=0, alignment="projection"), batch()
    assert isinstance(objective.heads["fea"], Projection)
    terms = objective(passes)
    expected = (objective.heads["fea"].proj(passes.student.patches) - passes.teacher.patches).square().mean()
    torch.testing.assert_close(terms["fea"], expected)
    assert passes.aligned.attention is None


class Bottleneck(AlignmentHead):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        self.layers = nn.Sequential(nn.Linear(student_dim, self.width), nn.GELU(), nn.Linear(self.width, teacher_dim))

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> Aligned:
        return Aligned(self.layers(student))


class Largest(Distance):
    def per_token(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).abs().amax(-1)


def test_head_and_distance_of_ones_own() -> None:
    objective = attached(alignment=Bottleneck(3), distance=Largest())
    assert [head.layers[0].out_features for head in objective.heads.values()] == [3, 3, 3]
    weights = [head.layers[0].weight for head in objective.heads.values()]
    assert not torch.equal(weights[0], weights[1])  # each term has its own
    passes = batch(torch.rand(1, 9) > 0.5)
    patch = objective(passes)["patch"]
    lifted = objective.heads["patch"](passes.all_masked, passes.teacher.patches).tokens
    torch.testing.assert_close(patch, (lifted - passes.teacher.patches).abs().amax(-1).mean())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", lambda a, b: (a - b).square().mean(-1)),
        ("smooth_l1", lambda a, b: nn.functional.smooth_l1_loss(a, b, reduction="none").mean(-1)),
        ("cosine", lambda a, b: 1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))),
    ],
)
def test_distances_of_all_and_of_chosen_tokens(name: Any, expected: Any) -> None:
    output, target = tokens(8).patches, tokens(8, seed=1).patches
    chosen = torch.rand(2, 9, generator=torch.Generator().manual_seed(3)) > 0.5
    each = expected(output, target)
    distance = chosen_distance(name)
    torch.testing.assert_close(distance(output, target), each.mean())
    torch.testing.assert_close(distance(output, target, chosen), each[chosen].mean())
    assert distance(output.bfloat16(), target.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("settings", [{"num_heads": 2}, {"attention_scale": 0.5}])
def test_settings_of_another_head_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="settings of alignment=qsd"):
        GKD(alignment="projection", **settings)


def test_attention_scale() -> None:
    official, scaled = (
        QuerySoftDistillation().attached(6, 64),
        QuerySoftDistillation(attention_scale=None).attached(6, 64),
    )
    assert official.scale == 1.0
    assert scaled.scale == 1 / 8
    scaled.load_state_dict(official.state_dict())
    student, teacher = tokens(6), tokens(64, seed=1)
    entropies = [attention_entropy(head(student.patches, teacher.patches).attention) for head in (official, scaled)]
    assert entropies[0] < entropies[1]  # unscaled attention saturates


def test_entropy_ends() -> None:
    assert attention_entropy(torch.full((1, 1, 5, 9), 1 / 9)).item() == pytest.approx(1.0)
    assert attention_entropy(torch.eye(9)).item() == pytest.approx(0.0, abs=1e-6)


def test_logits_stay_fp32_under_autocast() -> None:
    head = QuerySoftDistillation().attached(6, 64)
    with torch.autocast("cpu", torch.bfloat16):
        aligned = head(tokens(6).patches * 50, tokens(64, seed=1).patches * 50)
    assert aligned.attention is not None
    assert aligned.attention.dtype == torch.float32
    assert torch.isfinite(aligned.tokens).all()


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(UserError, match=r"num_heads: .* 8 is not divisible by 3"):
        QuerySoftDistillation(num_heads=3).attached(6, 8)


@pytest.mark.parametrize("scale", [1.0, None, 0.3])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_scale_in_the_query_is_that_on_the_logits(scale: float | None, heads: int) -> None:
    torch.manual_seed(0)
    head = QuerySoftDistillation(heads, scale).attached(6, 8)
    student, teacher = torch.randn(2, 5, 6), torch.randn(2, 5, 8)

    def split(values: torch.Tensor) -> torch.Tensor:
        return values.view(2, 5, heads, -1).transpose(1, 2)

    logits = split(head.proj_q(student)) @ split(teacher).transpose(-2, -1)
    attention = torch.softmax(logits * (scale or (8 // heads) ** -0.5), -1)
    aligned = head(student, teacher)
    torch.testing.assert_close(aligned.attention, attention, rtol=1e-5, atol=1e-7)
    expected = (attention @ split(head.proj_v(student))).transpose(1, 2).flatten(2)
    torch.testing.assert_close(aligned.tokens, expected, rtol=1e-5, atol=1e-6)


def test_masks_of_a_batch_are_those_of_its_samples() -> None:
    keys = torch.randint(0, 2**62, (7,), generator=torch.Generator().manual_seed(0))
    drawn = [random_token_mask(196, 0.4, np.random.default_rng(key)) for key in keys.tolist()]
    assert torch.equal(batch_masks(keys, 196, 0.4), torch.stack(drawn))
    assert torch.equal(BatchMasks(196, 0.4, 0.5)({"key": keys})["mask"], torch.stack(drawn[:3]))


def test_masks_come_from_the_sample_alone() -> None:
    keys = torch.tensor([11, 2**62 + 5, 11])
    masks = batch_masks(keys, 40, 0.5)
    assert masks.sum(1).tolist() == [20, 20, 20]
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(batch_masks(keys[1:2], 40, 0.5)[0], masks[1])
    assert batch_masks(keys[:0], 40, 0.5).shape == (0, 40)


def test_number_of_masked_samples_and_tokens() -> None:
    assert [masked_samples(batch, 0.5) for batch in (1, 5, 8)] == [0, 2, 4]
    assert random_token_mask(49, 0.5, np.random.default_rng(0)).sum() == 24


def test_learning_rate_rule_and_schedules() -> None:
    assert scaled_learning_rate(5e-4, 128) == 1.25e-4
    assert scaled_learning_rate(5e-4, 128, None) == 5e-4
    late, plain = cosine_factor(10, 1e-3, 0.0, late=1), cosine_factor(10, 1e-3, 0.0)
    assert late(0) == late(1) == plain(0) == 1.0
    assert late(5) == plain(4)
    assert plain(10) == pytest.approx(0.0)
    warm = cosine_factor(10, 1e-3, 0.0, warmup=3)
    assert [warm(i) for i in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert warm(10) == pytest.approx(0.0)
    assert cosine_factor(4, 1e-3, 1e-5)(2) == pytest.approx((1e-5 + 0.5 * (1e-3 - 1e-5)) / 1e-3)


def test_position_and_token_embeddings_are_decayed_officially_only() -> None:
    module = torch.nn.Module()
    module.pos_embed = torch.nn.Parameter(torch.zeros(1, 4, 2))
    module.linear = torch.nn.Linear(2, 2)
    module.frozen = torch.nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    official = parameter_groups(module.named_parameters(), 0.05)
    assert [len(group["params"]) for group in official] == [1, 2]  # type: ignore[arg-type]
    paper = parameter_groups(module.named_parameters(), 0.05, decay_tokens=False)
    assert [len(group["params"]) for group in paper] == [2, 1]  # type: ignore[arg-type]
