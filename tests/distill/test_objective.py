"""The objective's switches: what each term sees and which heads exist."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gkd_lightning.distill import (
    BatchMasks,
    DistillationObjective,
    Projection,
    QuerySoftDistillation,
    attention_entropy,
    batch_masks,
    masked_samples,
    random_token_mask,
)
from gkd_lightning.distill.optim import cosine_factor, parameter_groups, scaled_learning_rate
from gkd_lightning.encoders import Tokens
from gkd_lightning.errors import UserError


def tokens(dim: int, batch: int = 2, count: int = 9, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    return Tokens(
        torch.randn(batch, dim, generator=generator), torch.randn(batch, count, dim, generator=generator), (3, 3)
    )


@pytest.mark.parametrize("weights", [(1, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_a_term_of_weight_zero_has_no_head(weights: tuple[int, int, int]) -> None:
    objective = DistillationObjective(6, 8, *weights)
    expected = {name for name, weight in zip(("fea", "patch", "token"), weights, strict=True) if weight}
    assert set(objective.heads) == expected
    student, teacher = tokens(6), tokens(8, seed=1)
    mask = torch.rand(2, 9) > 0.5
    terms, aligned = objective(student, teacher, tokens(6, seed=2).patches, mask)
    assert set(terms) == expected
    assert (aligned is not None) == bool(weights[0])
    objective.total(terms).backward()
    for name, parameter in objective.named_parameters():  # nothing is unused, which DDP would refuse
        assert parameter.grad is not None, name


def test_weights_scale_the_terms() -> None:
    objective = DistillationObjective(6, 8, 0.5, 2.0, 3.0)
    terms = {"fea": torch.tensor(1.0), "patch": torch.tensor(10.0), "token": torch.tensor(100.0)}
    assert objective.total(terms).item() == pytest.approx(0.5 + 20 + 300)


def test_official_feature_term_counts_the_class_token_and_the_papers_does_not() -> None:
    student, teacher = tokens(6), tokens(8, seed=1)
    official = DistillationObjective(6, 8, beta=0)
    paper = DistillationObjective(6, 8, beta=0, variant="paper")
    paper.load_state_dict(official.state_dict())
    ours, theirs = official(student, teacher, None, None)[0], paper(student, teacher, None, None)[0]
    torch.testing.assert_close(ours["token"], theirs["token"])
    # 1 + N tokens against N tokens
    torch.testing.assert_close(ours["fea"], (theirs["token"] + 9 * theirs["fea"]) / 10)


def test_the_papers_masked_term_sees_masked_tokens_only() -> None:
    student, teacher, masked = tokens(6), tokens(8, seed=1), tokens(6, seed=2).patches
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, :4] = True
    official, paper = (DistillationObjective(6, 8, variant=variant) for variant in ("official", "paper"))
    paper.load_state_dict(official.state_dict())
    output = official.heads["patch"](masked, teacher.patches).tokens
    error = (output - teacher.patches).square()
    torch.testing.assert_close(official(student, teacher, masked, mask)[0]["patch"], error.mean())
    torch.testing.assert_close(paper(student, teacher, masked, mask)[0]["patch"], error[0, :4].mean())


def test_projection_alignment_is_feature_mse() -> None:
    objective = DistillationObjective(6, 8, 1, 0, 0, alignment="projection")
    student, teacher = tokens(6), tokens(8, seed=1)
    assert isinstance(objective.heads["fea"], Projection)
    terms, aligned = objective(student, teacher, None, None)
    expected = (objective.heads["fea"].proj(student.patches) - teacher.patches).square().mean()
    torch.testing.assert_close(terms["fea"], expected)
    assert aligned is not None
    assert aligned.attention is None


def test_attention_scale() -> None:
    official, scaled = QuerySoftDistillation(6, 64), QuerySoftDistillation(6, 64, attention_scale=None)
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
    head = QuerySoftDistillation(6, 64)
    with torch.autocast("cpu", torch.bfloat16):
        aligned = head(tokens(6).patches * 50, tokens(64, seed=1).patches * 50)
    assert aligned.attention is not None
    assert aligned.attention.dtype == torch.float32
    assert torch.isfinite(aligned.tokens).all()


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(UserError, match=r"num_heads: .* 8 is not divisible by 3"):
        QuerySoftDistillation(6, 8, num_heads=3)


@pytest.mark.parametrize("scale", [1.0, None, 0.3])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_scale_in_the_query_is_that_on_the_logits(scale: float | None, heads: int) -> None:
    torch.manual_seed(0)
    head = QuerySoftDistillation(6, 8, heads, scale)
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
