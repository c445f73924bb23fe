"""The methods that GKD is compared with against tensors made by their official code (`golden/baselines`, 16 files).

Everything is compared at 1e-5 of the expected tensor's largest value.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gkd_lightning.baselines import CIRKD, CWD, AfDCD, FeatureMSE, ViTKD
from gkd_lightning.baselines.cirkd import pair_relation
from gkd_lightning.baselines.cwd import channel_wise_kl
from gkd_lightning.baselines.g2sd import Decoder, generic_loss, standardised
from gkd_lightning.baselines.logit_kd import Reduction, pixel_kl
from gkd_lightning.baselines.proteus import HEADS, proteus_terms
from gkd_lightning.baselines.term import View
from gkd_lightning.baselines.tinymim import log_relations, relation_kl
from gkd_lightning.distill import GKD, Aligned, Projection
from gkd_lightning.encoders import Tokens
from tests.golden.harness import Golden

TOLERANCE = 1e-5


def same(golden: Golden, key: str, actual: Tensor) -> None:
    largest = golden.largest(key)
    golden.compare(key, actual, atol=TOLERANCE * max(largest, 1e-12))


def gradients(golden: Golden, loss: Tensor, **of: Tensor) -> None:
    """Gradients of `loss`, by the fixture's key; the graph is kept."""
    found = torch.autograd.grad(loss, list(of.values()), retain_graph=True, allow_unused=True)
    for (key, tensor), gradient in zip(of.items(), found, strict=True):
        same(golden, key, torch.zeros_like(tensor) if gradient is None else gradient)


def view(maps: Tensor, **more: Any) -> View:
    """A network whose patch tokens are this (B, D, h, w) map."""
    return View(Tokens(maps.mean((2, 3)), maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3])), **more)


def attached(term: Any, student: Tensor, teacher: Tensor, classes: int = 4) -> Any:
    term.attach(student.shape[1], teacher.shape[1], classes)
    return term


def nothing() -> tuple[Tensor, Tensor]:
    """Labels and keys, for terms that look at neither."""
    return torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)


LOGIT_KD: dict[str, tuple[Reduction, bool]] = {
    "pixel_mean": ("pixel", True),
    "batchmean": ("batch", True),
    "elementmean": ("element", True),
    "skd_elementmean_noT2": ("element", False),
}


@pytest.mark.parametrize("tau", [1, 4])
@pytest.mark.parametrize("name", LOGIT_KD)
def test_logit_kd(name: str, tau: int) -> None:
    golden = Golden("vanilla_kd_logits")
    student = golden.input("student_logits").requires_grad_()
    reduction, tempered = LOGIT_KD[name]
    loss = pixel_kl(student, golden.input("teacher_logits"), tau, reduction, tempered)
    same(golden, f"loss_{name}_T{tau}", loss)
    gradients(golden, loss, **{f"grad_student_logits_{name}_T{tau}": student})


def test_feature_mse() -> None:
    golden = Golden("feature_mse_fitnet")
    student, teacher = golden.input("student_feature").requires_grad_(), golden.input("teacher_feature")
    term = attached(FeatureMSE(alignment="linear"), student, teacher)
    weight = golden.input("weight.conv.weight")
    term.head.proj.weight.data = weight[:, :, 0, 0]
    loss = term(view(student), view(teacher), *nothing())["feature"]
    same(golden, "loss", loss)
    gradients(golden, loss, grad_student_feature=student)
    (gradient,) = torch.autograd.grad(loss, [term.head.proj.weight])
    same(golden, "grad_weight.conv.weight", gradient[:, :, None, None])


@pytest.mark.parametrize("tau", [1, 4])
@pytest.mark.parametrize(("name", "crossed"), [("official", False), ("mmrazor", False), ("g2sd_crossentropy", True)])
def test_cwd_of_logits(name: str, crossed: bool, tau: int) -> None:
    golden = Golden("cwd_logits")
    student = golden.input("student_logits").requires_grad_()
    loss = channel_wise_kl(student, golden.input("teacher_logits"), tau, cross_entropy=crossed)
    same(golden, f"loss_{name}_T{tau}", loss)
    gradients(golden, loss, **{f"grad_student_logits_{name.split('_')[0]}_T{tau}": student})


def test_cwd_of_features() -> None:
    golden = Golden("cwd_feature_cirkd")
    student, teacher = golden.input("student_feature").requires_grad_(), golden.input("teacher_feature")
    term = attached(CWD(weight=1.0, variant="official"), student, teacher)
    term.lift.weight.data = golden.input("weight.conv.weight")
    loss = term(view(student), view(teacher), *nothing())["cwd"]
    same(golden, "loss", loss)
    gradients(golden, loss, grad_student_feature=student, **{"grad_weight.conv.weight": term.lift.weight})
    ours = CWD(weight=1.0)
    ours.lift = term.lift
    assert ours(view(student), view(teacher), *nothing())["cwd"].item() == pytest.approx(loss.item() * 12 / 16)


@pytest.mark.parametrize(("name", "pool"), [("cirkd_minibatch", 1), ("cirkd_minibatch_v1_pool2", 2)])
def test_cirkd_within_the_batch(name: str, pool: int) -> None:
    golden = Golden(name)
    student = golden.input("student_feature").requires_grad_()
    loss = pair_relation(student, golden.input("teacher_feature"), 0.1, pool)
    same(golden, "loss", loss)
    gradients(golden, loss, grad_student_feature=student)


def cirkd_with_its_memory(golden: Golden, **more: Any) -> CIRKD:
    term = CIRKD(pixel_places=24, region_places=3, **more)
    term.attach(12, 16, 4)
    term.per_class = (5, 2)
    memory = term.memory
    for ours, theirs in (("pixel", "pixel"), ("region", "region")):
        getattr(memory, f"{ours}_bank").copy_(golden.input(f"{theirs}_queue_before"))
        getattr(memory, f"{ours}_place").copy_(golden.input(f"{theirs}_ptr_before"))
    term.projector.load_state_dict(golden.inputs("weight."), strict=False)  # but for the running statistics
    return term


def test_cirkd_memory() -> None:
    golden = Golden("cirkd_memory")
    term = cirkd_with_its_memory(golden, variant="official")
    drawn = iter([golden.input(f"randperm_{index}") for index in range(8)])
    student = golden.input("student_feature").requires_grad_()
    pixel, region = term.memory_terms(
        student, golden.input("teacher_feature"), golden.input("labels"), lambda count: next(drawn)
    )
    assert next(drawn, None) is None
    for kind, loss in (("pixel", pixel), ("region", region)):
        same(golden, f"loss_{kind}", loss)
        gradients(golden, loss, **{f"grad_student_feature_{kind}": student})
        same(golden, f"{kind}_queue_after", getattr(term.memory, f"{kind}_bank"))
        assert torch.equal(getattr(term.memory, f"{kind}_place"), golden.exactly(f"{kind}_ptr_after"))


def test_cirkd_takes_pixels_of_the_class_unless_it_is_official() -> None:
    """Every teacher vector carries its class, so what lies in a class's places must carry that class."""
    term = CIRKD(pixel_places=64, region_places=8)
    term.attach(4, 4, 3)
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    vectors = nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    for variant, whole in (("paper", True), ("official", False)):
        term.memory.variant = variant  # type: ignore[assignment]
        term.memory.pixel_place.zero_()
        term.memory.put(vectors, labels, torch.randperm)
        filled = [term.memory.pixel_bank[k, : int(term.memory.pixel_place[k])] for k in range(3)]
        right = [bool((vectors_of.argmax(-1) == k).all()) for k, vectors_of in enumerate(filled)]
        assert all(len(vectors_of) > 16 for vectors_of in filled)  # of both images
        assert all(right) is whole
        for k in range(3):
            assert torch.equal(term.memory.region_bank[k, 0], vectors.new_tensor([k == 0, k == 1, k == 2, 0]))


def afdcd(golden: Golden, **settings: Any) -> tuple[AfDCD, Tensor, Tensor]:
    student, teacher = golden.input("student_feature").requires_grad_(), golden.input("teacher_feature")
    term = attached(AfDCD(**settings), student, teacher)
    term.lift.load_state_dict(golden.inputs("weight.align."))
    return term, student, teacher


def check_afdcd(golden: Golden, term: AfDCD, student: Tensor, teacher: Tensor, noise: Tensor) -> None:
    made = term.complete(student, term.kept(noise))
    squared = (made - teacher).square().sum() / len(made)
    contrast = term.contrast(made, teacher)
    same(golden, "loss_fd", squared)
    same(golden, "loss_ctr", contrast)
    gradients(golden, squared, grad_student_feature_fd=student)
    gradients(golden, contrast, grad_student_feature_ctr=student)


def test_afdcd_random_mask() -> None:
    golden = Golden("afdcd_randmask")
    term, student, teacher = afdcd(golden)
    term.generator.first.load_state_dict(golden.inputs("weight.projetor.0."))
    term.generator.second.load_state_dict(golden.inputs("weight.projetor.2."))
    check_afdcd(golden, term, student, teacher, golden.input("uniform_noise"))


def test_afdcd_centre_mask_and_large_generator() -> None:
    golden = Golden("afdcd_centermask_enhanced")
    term, student, teacher = afdcd(golden, groups=8, mask="centre", enhanced=True)
    for ours, theirs in (
        ("first", "block_1.0"), ("second", "block_2.0"), ("out_first", "adpator_1"), ("out_second", "adpator_2"),
    ):  # fmt: skip
        getattr(term.generator, ours).load_state_dict(golden.inputs(f"weight.projetor.{theirs}."))
    check_afdcd(golden, term, student, teacher, torch.zeros_like(student[:, :1]))


@pytest.mark.parametrize("name", ["vitkd_align", "vitkd_samedim"])
def test_vitkd(name: str) -> None:
    golden = Golden(name)
    low, high = golden.input("student_low").requires_grad_(), golden.input("student_high").requires_grad_()
    theirs = golden.input("teacher_high")
    term = ViTKD()
    term.attach(high.shape[-1], theirs.shape[-1], 4)
    spelling = {"align2.": "shallow.", "align.": "deep.", "generation.": "generator.", "mask_token": "token"}
    state = golden.inputs("weight.")
    for official, ours in spelling.items():
        state = {key.replace(official, ours): value for key, value in state.items()}
    term.load_state_dict(state)
    mimic = term.mimic(low.unbind(1), golden.input("teacher_low").unbind(1))
    generation = term.generation(high, theirs, (5, 5), golden.input("uniform_noise"))
    losses = {"mimic": term.alpha * mimic, "generation": term.beta / term.mask_ratio * generation}
    for key, loss in losses.items():
        same(golden, f"loss_{key}", loss)
    total = losses["mimic"] + losses["generation"]
    same(golden, "loss", total)
    gradients(golden, total, grad_student_low=low, grad_student_high=high)
    gradients(golden, mimic, grad_student_low_alpha1=low)
    gradients(golden, generation / term.mask_ratio, grad_student_high_beta1=high)


def block_qkv(golden: Golden, who: str, tokens: Tensor) -> Tensor:
    weights = golden.inputs(f"{who}_weight.")
    normed = nn.functional.layer_norm(
        tokens,
        tokens.shape[-1:],
        weights["norm1.weight"],
        weights["norm1.bias"],
        1e-5,  # the fixture's, not timm's
    )
    return nn.functional.linear(normed, weights["attn.qkv.weight"], weights["attn.qkv.bias"])


def test_tinymim() -> None:
    golden = Golden("tinymim_relation")
    inputs = golden.input("student_last_block_input").requires_grad_()
    ours = log_relations(block_qkv(golden, "student", inputs), 4)
    theirs = log_relations(block_qkv(golden, "teacher", golden.input("teacher_block_input")), 4)
    losses = []
    for kind, mine, target in zip(("qk", "vv"), ours, theirs, strict=True):
        same(golden, f"student_{kind}_relation", mine.exp())
        same(golden, f"teacher_{kind}_relation", target.exp())
        losses.append(relation_kl(mine, target))
        same(golden, f"loss_{kind}", losses[-1])
        gradients(golden, losses[-1], **{f"grad_student_input_{kind}": inputs})
    same(golden, "loss", losses[0] + losses[1])


def test_g2sd_generic_stage() -> None:
    golden = Golden("g2sd_generic")
    decoder = Decoder(16, 20, dim=12, depth=2, heads=2, mlp_ratio=2)
    spelling = {
        "decoder_blocks.": "blocks.", "decoder_embed.": "embed.", "decoderfeature_pred.fc1.": "predict.0.",
        "decoderfeature_pred.fc2.": "predict.2.",
    }  # fmt: skip
    state = golden.inputs("weight.")
    for official, ours in spelling.items():
        state = {key.replace(official, ours): value for key, value in state.items()}
    positions = state.pop("decoder_pos_embed")
    decoder.load_state_dict(state)
    noise, restore = golden.input("noise"), golden.input("ids_restore")
    assert torch.equal(noise.argsort(dim=1).argsort(dim=1), restore)
    assert torch.equal((restore >= 4).float(), golden.input("mask"))  # a quarter of 16 was seen
    latent = golden.input("student_encoder_latent").requires_grad_()
    same(golden, "student_decoder_hidden", decoder.hidden(latent, restore, positions))
    prediction = decoder(latent, restore, positions)
    same(golden, "student_prediction", prediction)
    loss = generic_loss(prediction, golden.input("teacher_decoder_hidden"))
    same(golden, "loss", loss)
    gradients(golden, loss, grad_student_encoder_latent=latent)


def test_g2sd_loss_alone() -> None:
    golden = Golden("g2sd_generic_loss_only")
    prediction, teacher = golden.input("student_prediction").requires_grad_(), golden.input("teacher_hidden")
    loss = generic_loss(prediction, teacher)
    same(golden, "loss", loss)
    gradients(golden, loss, grad_student_prediction=prediction)
    large = (prediction - standardised(teacher)).abs() > 2
    assert large.any()  # both branches of smooth L1 are met
    assert not large.all()


class TokensOf:
    """The four tensors of `proteus` and `gkd_qsd` that gradients are asked of, and the two networks' tokens."""

    def __init__(self, golden: Golden) -> None:
        self.cls = golden.input("student_cls").requires_grad_()
        self.patches = golden.input("student_patch").requires_grad_()
        self.masked = golden.input("student_patch_masked_pass").requires_grad_()
        self.masks = golden.input("masks")
        self.student = Tokens(self.cls, self.patches, (4, 4))
        self.teacher = Tokens(golden.input("teacher_cls"), golden.input("teacher_patch"), (4, 4))


def check_three_terms(golden: Golden, tokens: TokensOf, terms: dict[str, Tensor], heads: nn.ModuleDict) -> None:
    for name in HEADS:
        same(golden, f"loss_{name}", terms[name])
    total = terms["token"] + terms["fea"] + terms["patch"]
    same(golden, "loss", total)
    gradients(
        golden, total, grad_student_cls=tokens.cls, grad_student_patch=tokens.patches,
        grad_student_patch_masked_pass=tokens.masked,
    )  # fmt: skip
    gradients(golden, terms["fea"], grad_student_cls_from_fea_loss=tokens.cls)
    gradients(golden, terms["token"], grad_student_cls_from_token_loss=tokens.cls)
    gradients(golden, terms["fea"], grad_student_patch_from_fea_loss=tokens.patches)
    gradients(golden, terms["patch"], grad_student_patch_masked_pass_from_patch_loss=tokens.masked)
    for name, head in heads.items():
        for key, weight in head.named_parameters():
            official = key.removeprefix("proj.") if isinstance(head, Projection) else key
            gradients(golden, total, **{f"grad_weight.{name}_head.{official}": weight})


def test_proteus() -> None:
    golden = Golden("proteus")
    tokens = TokensOf(golden)
    heads = nn.ModuleDict({name: Projection().attached(12, 20) for name in HEADS})
    for name, head in heads.items():
        head.load_state_dict({f"proj.{k}": v for k, v in golden.inputs(f"weight.{name}_head.").items()})
    chosen = int(tokens.masks.any(1).sum())
    assert tokens.masks[:chosen].any(1).all()  # the first images of the batch carry the masks
    terms = proteus_terms(
        dict(heads.items()), tokens.student, tokens.teacher, tokens.masked[:chosen], tokens.masks[:chosen]
    )
    check_three_terms(golden, tokens, terms, heads)


def test_gkd_itself() -> None:
    golden = Golden("gkd_qsd")
    tokens = TokensOf(golden)
    objective = GKD()
    objective.attach(SimpleNamespace(embed_dim=12), SimpleNamespace(embed_dim=20))  # type: ignore[arg-type]
    for name, head in objective.heads.items():
        head.load_state_dict(golden.inputs(f"weight.{name}_head."))
    passes = SimpleNamespace(
        student=tokens.student, teacher=tokens.teacher, all_masked=tokens.masked, hidden=tokens.masks, aligned=None
    )
    terms = objective(passes)
    assert isinstance(passes.aligned, Aligned)
    check_three_terms(golden, tokens, terms, objective.heads)
