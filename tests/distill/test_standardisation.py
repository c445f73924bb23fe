"""Standardisation of teachers' tokens against float64 references, its statistics, its checkpoint."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from gkd_lightning.distill import TokenStandardisation
from gkd_lightning.distill.hadamard import hadamard
from gkd_lightning.distill.standardisation import Rule, Standardisation
from gkd_lightning.encoders import Tokens
from gkd_lightning.errors import UserError

D, STEPS = 24, 4


def batches(count: int = STEPS, seed: int = 0) -> list[torch.Tensor]:
    """(6, 10, D) each: correlated channels of unlike scale, far from 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(D, D, generator=generator) * torch.logspace(-1, 1, D)
    shift = 5 * torch.randn(D, generator=generator)
    return [torch.randn(6, 10, D, generator=generator) @ mixing + shift for _ in range(count)]


def fitted(rule: Rule, data: list[torch.Tensor]) -> Standardisation:
    part = Standardisation(rule, D, len(data))
    for step, vectors in enumerate(data):
        part.begin_step(step)
        part(vectors)
    part.begin_step(len(data))
    return part


def reference(rule: Rule, data: list[torch.Tensor], vectors: torch.Tensor) -> np.ndarray:
    """In NumPy and float64, from all vectors at once."""
    all_of_them = np.concatenate([part.double().numpy().reshape(-1, D) for part in data])
    mean, covariance = all_of_them.mean(0), np.cov(all_of_them.T, bias=True)
    values, vectors_of = np.linalg.eigh(covariance)
    order = np.argsort(-values)
    values, vectors_of = values[order], vectors_of[:, order]
    for column in vectors_of.T:
        column *= np.sign(column[np.abs(column).argmax()])
    matrix = {
        "mean_std": np.diag(1 / np.sqrt(np.diag(covariance))),
        "phi_s": hadamard(D) / np.sqrt(D) @ vectors_of.T / np.sqrt(values.mean()),  # type: ignore[operator]
        "pca_whitening": np.diag(values**-0.5) @ vectors_of.T,
        "zca_whitening": vectors_of @ np.diag(values**-0.5) @ vectors_of.T,
    }[rule]
    return np.asarray((vectors.double().numpy() - mean) @ matrix.T)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_equal_to_the_reference(rule: Rule) -> None:
    data = batches()
    part, unseen = fitted(rule, data), batches(6)[-1]
    assert np.abs(part(unseen).numpy() - reference(rule, data, unseen)).max() < (1e-5 if rule == "phi_s" else 5e-5)


def test_phi_s_rotates_and_gives_every_channel_the_same_variance() -> None:
    data = batches()
    part = fitted("phi_s", data)
    whole = torch.cat(data).flatten(0, 1)
    after = part(whole)
    torch.testing.assert_close(after.mean(0), torch.zeros(D), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.var(0, correction=0), torch.ones(D), atol=1e-4, rtol=0)
    gram = part.matrix @ part.matrix.T  # a rotation times one number
    torch.testing.assert_close(gram, gram[0, 0] * torch.eye(D), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", ["pca_whitening", "zca_whitening"])
def test_whitening_decorrelates(rule: Rule) -> None:
    data = batches()
    after = fitted(rule, data)(torch.cat(data).flatten(0, 1))
    torch.testing.assert_close(torch.cov(after.T, correction=0), torch.eye(D), atol=1e-3, rtol=0)


def test_statistics_of_a_step_count_from_the_next_on_and_are_fixed_at_the_end() -> None:
    data = batches(6)
    part = Standardisation("phi_s", D, STEPS)
    part.begin_step(0)
    assert torch.equal(part(data[0]), data[0])  # nothing is known yet
    part.begin_step(1)
    first = data[0].flatten(0, 1)
    expected = (data[1] - first.mean(0)) / first.var(0, correction=0).mean().sqrt()
    torch.testing.assert_close(part(data[1]), expected)
    for step in (2, 3):
        part.begin_step(step)
        part(data[step])
    part.begin_step(STEPS)
    before = part(data[0])
    for step in (4, 5):
        part.begin_step(step)
        part(data[step])
    assert torch.equal(part(data[0]), before)
    assert int(part.count) == STEPS * 60


def test_micro_batches_change_nothing() -> None:
    data = batches()
    whole, cut = fitted("phi_s", data), Standardisation("phi_s", D, STEPS)
    for step, vectors in enumerate(data):
        cut.begin_step(step)
        for part in vectors.split(2):
            cut(part)
    cut.begin_step(STEPS)
    torch.testing.assert_close(cut.scatter, whole.scatter, rtol=1e-12, atol=0)
    torch.testing.assert_close(cut.matrix, whole.matrix)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_an_interrupted_run_goes_on_with_the_same_bits(rule: Rule) -> None:
    data, whole = batches(), Standardisation(rule, D, STEPS)
    again = Standardisation(rule, D, STEPS)
    for step in range(STEPS + 2):
        whole.begin_step(step)
        if step == 2:
            again.load_state_dict(whole.state_dict())
        if step >= 2:
            again.begin_step(step)
            assert torch.equal(again(data[step % STEPS]), whole(data[step % STEPS]))
        else:
            whole(data[step])


def test_channels_that_never_differ_stay_finite() -> None:
    data = [torch.ones(2, 3, D) for _ in range(2)]
    for rule in get_args(Rule):
        assert torch.equal(fitted(rule, data)(data[0]), torch.zeros(2, 3, D))
    half = [torch.cat([part[..., : D // 2], torch.ones(6, 10, D // 2)], -1) for part in batches()]
    for rule in get_args(Rule):
        assert fitted(rule, half)(half[0]).abs().max() < 100


def test_class_tokens_and_patch_tokens_have_their_own_statistics() -> None:
    data, rule = batches(), TokenStandardisation("mean_std", D, STEPS)
    for step, patches in enumerate(data):
        rule.begin_step(step)
        rule(Tokens(100 + patches[:, 0], patches, (2, 5)))
    rule.begin_step(STEPS)
    tokens = rule(Tokens(100 + data[0][:, 0], data[0], (2, 5)))
    assert tokens.cls.abs().max() < 10
    assert rule.record == {"rule": "mean_std", "steps": STEPS, "class_tokens": 24, "patch_tokens": 240}


def test_a_width_without_a_hadamard_matrix() -> None:
    with pytest.raises(UserError, match=r"standardise: phi_s needs a Hadamard matrix .* order 92; give mean_std"):
        TokenStandardisation("phi_s", 92)


@pytest.mark.parametrize(
    ("given", "training", "counted"), [(None, 40_000, 50), (None, 60, 3), (None, 5, 1), (4, 60, 4)]
)
def test_a_short_training_has_its_rotation_early(given: int | None, training: int, counted: int) -> None:
    """With a rotation in mid-training the targets are others from there on."""
    rule = TokenStandardisation("phi_s", D, given)
    rule.begin_fit(training)
    assert rule.cls.steps == rule.patches.steps == counted
