"""Several teachers of one student: what one of them alone gives, what each is told and compared with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from gkd_lightning.baselines import G2SD, TinyMIM
from gkd_lightning.distill import (
    GKD,
    Distillation,
    DomainGeneralDistillation,
    Dropping,
    Passes,
    TeacherSpec,
    load_aligned,
    load_heads,
    resize_tokens,
)
from gkd_lightning.encoders import EncoderSpec, encoder_state
from gkd_lightning.errors import UserError
from tests.distill.test_module import CNN, STUDENT, TEACHER, Noise, fit

OTHER = EncoderSpec("vit_tiny_patch16_224", None, 48, 16, options={"embed_dim": 32, "depth": 3, "num_heads": 2})
"""Patches of 16 at 48 pixels: 3 x 3 tokens beside the student's 4 x 4."""


def two(**first: Any) -> dict[str, TeacherSpec]:
    return {"near": TeacherSpec(TEACHER, **first), "far": TeacherSpec(OTHER, 0.5, input_size=48)}


def built(teachers: dict[str, TeacherSpec], seed: int = 0, **settings: Any) -> DomainGeneralDistillation:
    L.seed_everything(seed)
    return DomainGeneralDistillation(None, STUDENT, teachers=teachers, reference_batch_size=4, **settings)


def batch() -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = next(iter(Noise().train_dataloader()))
    return found


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("variant", ["official", "paper"])
def test_one_teacher_in_the_list_gives_the_bits_of_one_alone(variant: Any, precision: str, tmp_path: Path) -> None:
    logged, states = [], []
    for several in (False, True):
        L.seed_everything(0)
        teacher = {"teacher": None, "teachers": {"only": TeacherSpec(TEACHER)}} if several else {"teacher": TEACHER}
        module = DomainGeneralDistillation(
            student=STUDENT, variant=variant, reference_batch_size=4, health_every_n_steps=1, ema_decay=0.9, **teacher
        )
        trainer = fit(module, tmp_path, precision=precision, gradient_clip_val=1.0)
        logged.append({key.replace("only/", ""): value for key, value in trainer.callback_metrics.items()})
        states.append({key.replace("parts.only.", ""): value for key, value in module.state_dict().items()})
    assert logged[0].keys() == logged[1].keys()
    assert all(torch.equal(value, logged[1][key]) for key, value in logged[0].items())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_loss_is_the_weighted_sum_of_what_each_gives_alone() -> None:
    both, images = built(two(objective=GKD(beta=0, gamma=0))), batch()
    passes = both.passes(images["image"], images["key"])
    terms = both.objective(passes)
    assert set(terms) == {"near/fea", "far/fea", "far/patch", "far/token"}
    alone = []
    for name, teacher, objective in (("near", TEACHER, GKD(beta=0, gamma=0)), ("far", OTHER, GKD())):
        single = Distillation(teacher, STUDENT, objective)
        single.student.load_state_dict(both.student.state_dict())
        single.objective.load_state_dict(both.objective.parts[name].state_dict())
        single.teacher.module.load_state_dict(both.teacher[name].module.state_dict())
        inputs = images["image"]
        if name == "far":
            inputs = F.interpolate(inputs / 255, 48, mode="bilinear", antialias=True)
        tokens = resize_tokens(single.teacher(inputs)[0], (4, 4))
        own = single.passes(images["image"], images["key"])
        own.__dict__["teacher"] = tokens
        alone.append(single.objective.loss(single.objective(own), own))
    torch.testing.assert_close(both.objective.loss(terms, passes), alone[0] + 0.5 * alone[1])


def test_the_student_runs_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    module, calls = built(two()), []
    run = module.student.tokens
    monkeypatch.setattr(module.student, "tokens", lambda *inputs: calls.append(1) or run(*inputs))  # type: ignore[func-returns-value]
    module.objective(module.passes(batch()["image"], batch()["key"]))
    assert len(calls) == 1  # whole and masked images together


@pytest.mark.parametrize("objective", [TinyMIM(), G2SD(0.5, 16, 1, 2)], ids=["relations", "a part of the image"])
def test_an_objective_that_runs_the_student_itself_does_so_once(objective: Any) -> None:
    same = {"near": TeacherSpec(TEACHER, objective=objective), "other": TeacherSpec(TEACHER, objective=objective)}
    module, images, calls = built(same), batch(), []
    module.student.model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    passes = module.passes(images["image"], images["key"])
    module.objective.loss(module.objective(passes), passes).backward()
    assert len(calls) == len(passes.outputs) == 1


@pytest.mark.parametrize("balance", ["fixed", "magnitude", "dropping"])
@pytest.mark.parametrize("standardise", ["none", "phi_s"])
def test_all_learn_and_no_teacher_moves(balance: Any, standardise: Any, tmp_path: Path) -> None:
    teachers = {
        "near": TeacherSpec(TEACHER, standardise=standardise, statistics_steps=2 if standardise != "none" else None),
        "cnn": TeacherSpec(CNN, objective=GKD(alignment="projection", beta=0, gamma=0), input_size=[64, 32]),
    }
    module = built(teachers, balance=balance, health_every_n_steps=1)
    frozen = [copy.deepcopy(encoder_state(encoder)) for encoder in module.teacher.encoders]
    start = {name: value.clone() for name, value in module.named_parameters()}
    trainer = fit(module, tmp_path, max_epochs=3)
    for encoder, before in zip(module.teacher.encoders, frozen, strict=True):
        assert all(torch.equal(value, before[key]) for key, value in encoder_state(encoder).items())
    for name, value in module.named_parameters():
        if not name.startswith("teacher.") and "token.proj_q" not in name:  # the only key of one token is its own
            assert torch.equal(value, start[name]) != value.requires_grad, name
    logged = trainer.callback_metrics
    assert {"train/near/fea", "train/near/patch", "train/cnn/fea", "health/near/cosine", "health/cnn/cosine",
            "health/near/entropy", "health/grad_near/fea"} <= set(logged)  # fmt: skip
    assert all(torch.isfinite(value) for value in logged.values())
    assert not [key for key in module.state_dict() if key.startswith("teacher.")]


def test_the_order_of_a_file_changes_nothing() -> None:
    teachers = two()
    one, other = built(teachers), built(dict(reversed(teachers.items())))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("variant", ["official", "paper"])
@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_terms_image_by_image_have_the_terms_as_their_means(variant: Any, distance: Any) -> None:
    module, images = built(two(), variant=variant, distance=distance), batch()
    for part in module.objective.parts.values():
        seen = module.passes(images["image"], images["key"]).taught_by(module.teacher["near"], "near")
        if part.heads["fea"].widths[1] != TEACHER.options["embed_dim"]:
            continue
        each, mean = part.per_image(seen), part(seen)
        assert each.keys() == mean.keys()
        for name, value in each.items():
            assert value.shape == (4,)
            torch.testing.assert_close(value.mean(), mean[name])


def test_relations_image_by_image() -> None:
    module, images = built({"near": TeacherSpec(TEACHER, objective=TinyMIM())}), batch()
    seen = module.passes(images["image"], images["key"]).taught_by(module.teacher["near"], "near")
    part = module.objective.parts["near"]
    each, mean = part.per_image(seen), part(seen)
    for name, value in each.items():
        torch.testing.assert_close(value.mean(), mean[name])


class Interruption(L.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_goes_on_exactly(epochs: int, tmp_path: Path) -> None:
    """Three epochs of two steps, interrupted inside the three steps that are counted, and after them."""

    def made() -> DomainGeneralDistillation:
        return built(two(standardise="phi_s", statistics_steps=3), balance="magnitude")

    whole, begun, resumed = made(), made(), made()
    fit(whole, tmp_path, max_epochs=3)
    fit(begun, tmp_path, max_epochs=3, callbacks=[Interruption(epochs)]).save_checkpoint(tmp_path / "stop.ckpt")
    state = torch.load(tmp_path / "stop.ckpt", weights_only=True)  # plain tensors and values
    assert int(state["state_dict"]["objective.standardise.near.patches.count"]) == min(3, 2 * epochs) * 4 * 16
    fit(resumed, tmp_path, max_epochs=3, ckpt_path=tmp_path / "stop.ckpt")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_artefact_tells_heads_and_statistics(tmp_path: Path) -> None:
    module = built(two(standardise="phi_s", statistics_steps=2))
    fit(module, tmp_path)
    path = module.export(tmp_path / "artefact", {"seed": 0})
    heads, rules = load_aligned(path)
    assert (
        set(load_heads(path)) == set(heads) == {f"{n}/{t}" for n in ("near", "far") for t in ("fea", "patch", "token")}
    )
    assert torch.equal(rules["near"].patches.matrix, module.objective.rules["near"].patches.matrix)
    record = json.loads((tmp_path / "artefact" / "student.json").read_text())["provenance"]["standardise"]
    assert record == {"near": {"rule": "phi_s", "steps": 2, "class_tokens": 8, "patch_tokens": 128}}


def test_weights_wait_on_the_host_between_passes() -> None:
    module, images = built(two(), offload="cpu"), batch()
    before = module.objective(module.passes(images["image"], images["key"]))
    module.prepare(bf16=False)
    module.prepare(bf16=False)  # as a second `fit` does
    for encoder in module.teacher.encoders:
        assert {value.untyped_storage().nbytes() for value in encoder.parameters()} == {4}  # one number, no memory
    after = module.objective(module.passes(images["image"], images["key"]))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert {value.untyped_storage().nbytes() for e in module.teacher.encoders for value in e.parameters()} == {4}


def test_dropping_keeps_the_teacher_of_the_largest_loss() -> None:
    balance, keys = Dropping(0.5), torch.arange(4000)
    losses = [torch.full((4000,), 3.0), torch.cat([torch.full((2000,), 1.0), torch.full((2000,), 5.0)])]
    for each in losses:
        each.requires_grad_()
    balance(losses, [1.0, 1.0], keys).backward()
    kept = [each.grad > 0 for each in losses]  # type: ignore[operator]
    assert bool(kept[0][:2000].all())
    assert bool(kept[1][2000:].all())
    assert 0.45 < kept[0][2000:].float().mean() < 0.55
    assert 0.45 < kept[1][:2000].float().mean() < 0.55
    again = Dropping(0.5)([loss.detach()[100:200] for loss in losses], [1.0, 1.0], keys[100:200])
    assert torch.isfinite(again)
    torch.testing.assert_close(sum(float(each.grad.sum()) for each in losses), 2.0)  # type: ignore[union-attr]


def test_loss_magnitudes_are_divided_out(tmp_path: Path) -> None:
    module = built(two(), balance="magnitude")
    trainer = fit(module, tmp_path)
    # each teacher's share is its weight, as long as losses move slowly: 1 + 0.5
    assert trainer.callback_metrics["train/loss"] == pytest.approx(1.5, rel=0.15)
    ratios = module.objective.balance.running[0] / module.objective.balance.running[1]
    assert len(ratios) == 2
    assert (ratios > 0).all()


NARROW = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 92, "depth": 1, "num_heads": 2})

NONE_OR_BOTH = "teacher, teachers: give one of them"
REFUSED = {
    "neither": (lambda: DomainGeneralDistillation(None, STUDENT), NONE_OR_BOTH),
    "both": (lambda: DomainGeneralDistillation(TEACHER, STUDENT, teachers=two()), NONE_OR_BOTH),
    "none named": (lambda: built({}), "teachers: names none"),
    "a name with a dot": (lambda: built({"a.b": TeacherSpec(TEACHER)}), r"teachers.a.b: give it a name of letters"),
    "a name that is taken": (lambda: built({"items": TeacherSpec(TEACHER)}), r"teachers.items: give it a name"),
    "balance of one": (lambda: DomainGeneralDistillation(TEACHER, STUDENT, balance="dropping"), "for several teachers"),
    "offload of one": (lambda: DomainGeneralDistillation(TEACHER, STUDENT, offload="cpu"), "for several teachers"),
    "no objective": (lambda: Distillation(None, STUDENT, teachers=two()), "teachers.far: needs an objective"),
    "no objective, one teacher": (lambda: Distillation(TEACHER, STUDENT), "objective: is required"),
    "no weight": (lambda: built({"a": TeacherSpec(TEACHER, 0.0)}), "not all of their weights may be 0"),
    "two masks": (lambda: built(two(objective=GKD(mask_ratio=0.75))), r"hide different patches.*near: .*0.75"),
    "two variants": (lambda: built(two(objective=GKD(variant="paper"))), "follow different variants"),
    "statistics of nothing": (lambda: built(two(statistics_steps=5)), "statistics_steps: 5 counts for nothing"),
    "three sides": (lambda: built(two(input_size=[1, 2, 3])), r"input_size: \[1, 2, 3\]; give one side"),
    "no Hadamard matrix": (lambda: built({"a": TeacherSpec(NARROW, standardise="phi_s")}), "a: standardise: phi_s"),
    "an unfit width": (lambda: built({"a": TeacherSpec(TEACHER, objective=GKD(num_heads=5))}), "teachers.a: num_heads"),
    "a size that does not fit": (lambda: built(two(input_size=33)), "near.input_size: .*33x33 is not a multiple"),
    "relations have no scale": (lambda: step(two(objective=TinyMIM(), standardise="phi_s")), "near.standardise: Tiny"),
    "not image by image": (lambda: step({"a": TeacherSpec(TEACHER, objective=G2SD(0.5, 16, 1, 2))}, "dropping"),
                           "G2SD does not tell its terms image by image"),
}  # fmt: skip


def test_statistics_that_would_never_be_finished(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model.teachers.near.statistics_steps: 4, but the training has 4; give"):
        fit(built(two(standardise="phi_s", statistics_steps=4)), tmp_path)
    module = built(two(standardise="phi_s"))
    fit(module, tmp_path)
    assert module.objective.rules["near"].record["steps"] == 1  # no twentieth of four
    assert module.objective.rules["near"].record["patch_tokens"] == 4 * 16


def step(teachers: dict[str, TeacherSpec], balance: Any = "fixed") -> Passes:
    module, images = built(teachers, balance=balance), batch()
    passes = module.passes(images["image"], images["key"])
    module.objective(passes)
    return passes


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_one_line(what: str) -> None:
    make, told = REFUSED[what]
    with pytest.raises(UserError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_sizes_are_asked_of_teachers_that_take_images_as_they_come() -> None:
    module = built(two())
    for encoder in module.frozen_encoders:
        encoder.fixed_size = True  # the one that resizes sees its own size alone
    module.teacher.require((32, 32))
    with pytest.raises(UserError, match=r"^teachers\.near: \w+ is laid out for 32x32 images and got 48x48"):
        module.teacher.require((48, 48))
