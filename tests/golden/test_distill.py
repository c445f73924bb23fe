"""Stage 1 against tensors made by the official code (golden cases a, b, d, e and x_masks)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gkd_lightning.distill import DomainGeneralDistillation, QuerySoftDistillation, random_token_mask
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.masking import masked_samples
from gkd_lightning.distill.optim import cosine_factor, parameter_groups, scaled_learning_rate
from gkd_lightning.encoders import EncoderSpec, Tokens, encoder_state
from tests.golden.harness import Golden, golden_json

VIT = "vit_small_patch16_224"
EVA = "eva02_tiny_patch14_224"
STUDENT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
TEACHER = {"embed_dim": 48, "depth": 2, "num_heads": 3}
CASES: dict[str, dict[str, Any]] = {
    "b_domain_deit": {"image": 64, "patch": 16, "student": {}, "teacher": {"init_values": 1.0}},
    "b_agnostic_deit": {
        "image": 56, "patch": 14, "student": {}, "teacher": {"init_values": 1.0}, "teacher_key": "teacher_hub",
        "teacher_rule": "bicubic-offset",
    },
    "b_domain_dino": {"image": 64, "patch": 16, "student": {"init_values": 1.0}, "teacher": {"init_values": 1.0}},
    "b_agnostic_eva02": {
        "image": 56, "patch": 14, "name": EVA, "student": {},
        "teacher": {"qkv_fused": False, "scale_mlp": True},
    },
}  # fmt: skip


def build(case: str, folder: Path) -> DomainGeneralDistillation:
    """The module from the raw checkpoints that the official code was fed, by way of files and our own loader."""
    what = CASES[case]
    checkpoints = Golden(f"{case}_ckpt")
    teacher_key = what.get("teacher_key", "teacher_ckpt")
    for who, key in (("student", "student_ckpt"), ("teacher", teacher_key)):
        state = dict(checkpoints.inputs(f"{key}.").items())
        save_file(state, folder / f"{who}.safetensors")
    name = what.get("name", VIT)

    def spec(who: str, options: dict[str, Any], rule: str) -> EncoderSpec:
        return EncoderSpec(
            name, str(folder / f"{who}.safetensors"), what["image"], what["patch"], rule, "model",
            {**options, **what[who]},
        )  # fmt: skip

    module = DomainGeneralDistillation(
        spec("teacher", TEACHER, what.get("teacher_rule", "bicubic")), spec("student", STUDENT, "bicubic")
    )
    for encoder in (module.teacher.module, module.student):  # the fixtures' images are already normalised
        encoder.mean.zero_()
        encoder.std.fill_(1.0)
    heads = Golden(f"{case}_weights")
    for ours, official in (("fea", "fea_head"), ("patch", "patch_head"), ("token", "token_head")):
        module.objective.heads[ours].load_state_dict(heads.inputs(f"model.{official}."))
    return module


def official_name(name: str) -> str:
    """Our parameter name in the official spelling."""
    name = name.replace("student.model.", "student.backbone.").replace(
        "student.mask_token", "student.backbone.mask_token"
    )
    for ours, official in (("fea", "fea_head"), ("patch", "patch_head"), ("token", "token_head")):
        name = name.replace(f"objective.heads.{ours}.", f"{official}.")
    return eva_name(name)


def eva_name(name: str) -> str:
    for ours, official in (
        ("mlp.fc1_g.", "mlp.w1."), ("mlp.fc1_x.", "mlp.w2."), ("mlp.norm.", "mlp.ffn_ln."),
        ("attn.q_proj.bias", "attn.q_bias"), ("attn.v_proj.bias", "attn.v_bias"),
    ):  # fmt: skip
        name = name.replace(ours, official)
    return name


def losses(module: DomainGeneralDistillation, io: Golden) -> dict[str, torch.Tensor]:
    images, masks = io.input("images"), io.input("masks_bool")
    terms = module.objective(module.passes(images, torch.arange(len(images)), masks[:2]))
    return {**terms, "loss": module.objective.total(terms)}


@pytest.mark.parametrize("case", CASES)
def test_loading_gives_the_official_weights(case: str, tmp_path: Path) -> None:
    module, weights = build(case, tmp_path), Golden(f"{case}_weights")
    packed = case == "b_agnostic_eva02"
    for who, encoder in (("student", module.student), ("teacher", module.teacher.module)):
        prefix = f"model.{who}.backbone."
        runtime = CASES[case].get("teacher_rule") == "bicubic-offset" and who == "teacher"
        ours = {}
        for key, value in encoder_state(encoder).items():
            key = eva_name(key)
            if packed and who == "student":
                key = key.replace("mlp.fc1.", "mlp.w12.")
            ours[key.replace("mlp.fc2.", "mlp.w3.") if packed else key] = value
        for key in weights.keys(prefix):
            short = key.removeprefix(prefix)
            if "rope.freqs" in short:  # tables, not weights; timm computes them
                sin, cos = encoder.model.rope.get_embed().chunk(2, -1)
                weights.compare(key, (cos if "cos" in short else sin).reshape(weights.shape(key)), atol=1e-6)
            elif short == "pos_embed" and runtime:  # the hub model interpolates on the fly; the tokens decide
                assert weights.shape(key) != ours[short].shape
            else:
                weights.compare(key, ours[short].reshape(weights.shape(key)), atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_tokens_heads_and_losses(case: str, tmp_path: Path) -> None:
    module, io = build(case, tmp_path), Golden(f"{case}_io")
    images, masks = io.input("images"), io.input("masks_bool")
    io.compare("mask_indices_list", masks.flatten().nonzero().flatten(), atol=0)
    teacher = module.passes(images, torch.arange(len(images)), masks[:2]).teacher
    io.compare("teacher.x_norm_clstoken", teacher.cls, atol=1e-5)
    io.compare("teacher.x_norm_patchtokens", teacher.patches, atol=1e-5)
    whole, full = module.student.tokens(images), module.student.tokens(images, masks)
    for name, tokens in (("unmasked", whole), ("masked", full)):
        io.compare(f"student_{name}.x_norm_clstoken", tokens.cls, atol=1e-5)
        io.compare(f"student_{name}.x_norm_patchtokens", tokens.patches, atol=1e-5)
    # Heads on the official tokens: unscaled attention makes five times as much of the tokens' own rounding, which
    # differs from one processor to another.
    heads = module.objective.heads
    keys = io.input("teacher.x_norm_patchtokens")
    for name, passed in (("fea", "unmasked"), ("patch", "masked")):
        queries = io.input(f"student_{passed}.x_norm_patchtokens")
        io.compare(f"proj.{name}_head_out", heads[name](queries, keys).tokens, atol=1e-6)
    query, key = io.input("student_unmasked.x_norm_clstoken"), io.input("teacher.x_norm_clstoken")
    io.compare("proj.token_head_out", heads["token"](query.unsqueeze(1), key.unsqueeze(1)).tokens, atol=1e-6)
    ours = losses(module, io)
    manifest = golden_json("stage1_manifest.json")[case]["losses"]
    for name, official in (
        ("fea", "fea_loss"),
        ("patch", "patch_loss"),
        ("token", "token_loss"),
        ("loss", "loss"),
    ):
        io.compare(f"loss.{official}", ours[name], atol=1e-5)
        assert ours[name].item() == pytest.approx(manifest[official], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_every_trainable_parameter(case: str, tmp_path: Path) -> None:
    module, gradients = build(case, tmp_path), Golden(f"{case}_grads")
    losses(module, Golden(f"{case}_io"))["loss"].backward()
    ours = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            name = official_name(name)
            if case == "b_agnostic_eva02":
                name = name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.")
            ours[f"grad.{name}"] = parameter.grad
    assert set(ours) == set(gradients.keys())
    for key, gradient in ours.items():
        gradients.compare(key, gradient.reshape(gradients.shape(key)), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_optimiser_groups_and_five_steps(case: str, tmp_path: Path) -> None:
    module, io = build(case, tmp_path), Golden(f"{case}_io")
    groups = parameter_groups(module.named_parameters(), 0.05)
    names = {id(parameter): official_name(name) for name, parameter in module.named_parameters()}
    expected = golden_json(f"{case}_param_groups.json")
    for group, official in zip(groups, expected, strict=True):
        assert group["weight_decay"] == official["weight_decay"]
        mine = {names[id(parameter)] for parameter in group["params"]}  # type: ignore[attr-defined]
        if case == "b_agnostic_eva02":
            mine = {name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.") for name in mine}
        assert mine == set(official["params"])

    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)  # type: ignore[arg-type]
    ema = ExponentialMovingAverage(module.student, 0.99996)
    history = []
    for _ in range(5):
        values = losses(module, io)
        history.append([values[name].item() for name in ("patch", "fea", "token", "loss")])
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        ema.update(module.student)
    # 2e-4: Adam turns round-off in near-zero gradients into full steps, see the fixtures' own README.
    io.compare("traj.losses_patch_fea_token_total", torch.tensor(history), atol=2e-4)
    after = {official_name(name): parameter for name, parameter in module.named_parameters()}
    for key in io.keys("traj.after5."):
        io.compare(key, after[key.removeprefix("traj.after5.")].reshape(io.shape(key)), atol=2e-4)
    averaged = encoder_state(ema.module)  # type: ignore[arg-type]
    for key in io.keys("traj.ema_after5."):
        io.compare(key, averaged[key.removeprefix("traj.ema_after5.")], atol=1e-6)


@pytest.mark.parametrize(("case", "heads"), [("a_qsd_patch_h1", 1), ("a_qsd_cls_h1", 1), ("a_qsd_patch_h2", 2)])
def test_query_soft_distillation(case: str, heads: int) -> None:
    golden = Golden(case)
    sizes = golden_json("stage1_manifest.json")[case]
    student, teacher = golden.input("in.student").requires_grad_(), golden.input("in.teacher")
    head = QuerySoftDistillation(heads).attached(sizes["stu_dim"], sizes["tea_dim"])
    head.load_state_dict(golden.inputs("w."))
    output = head(student, teacher).tokens
    golden.compare("out", output, atol=1e-5)
    loss = torch.nn.functional.mse_loss(output, teacher)
    golden.compare("loss_mse", loss, atol=1e-5)
    loss.backward()
    golden.compare("grad.in.student", student.grad, atol=1e-5)  # type: ignore[arg-type]
    for name, parameter in head.named_parameters():
        golden.compare(f"grad.w.{name}", parameter.grad, atol=1e-5)  # type: ignore[arg-type]


def test_learning_rate_of_every_epoch() -> None:
    golden, details = Golden("d_schedules"), golden_json("d_schedules.json")
    for epochs, batch_size in ((100, 512), (300, 128)):
        base = scaled_learning_rate(5e-4, batch_size)
        assert base == details[f"stage1_{epochs}ep"]["base_lr"]
        factor = cosine_factor(epochs, base, 1e-5, late=1)
        used = torch.tensor([base * factor(epoch) for epoch in range(epochs)], dtype=torch.float64)
        golden.compare(f"stage1_{epochs}ep.lr", used, atol=1e-12)
        assert used.tolist() == pytest.approx(details[f"stage1_{epochs}ep"]["lr_used_in_epoch"], abs=1e-12)


def test_moving_average() -> None:
    golden = Golden("e_ema")
    parameter = torch.nn.ParameterList([golden.input("initial")])
    ema = ExponentialMovingAverage(parameter, float(golden.input("decay")))
    values = []
    for value in golden.input("model_value_after_step"):
        parameter[0].data.fill_(value)
        ema.update(parameter)
        values.append(ema.module[0].detach().clone())  # type: ignore[index]
    golden.compare("ema_after_step", torch.cat(values), atol=1e-6)


@pytest.mark.parametrize("name", ["224px_patch14_b8", "512px_patch16_b32", "odd_b5"])
def test_masks_of_the_official_collate(name: str) -> None:
    golden = Golden("x_masks_numpy_seed1")
    shape = golden.shape(name)
    generator = np.random.RandomState(1)
    masks = torch.zeros(shape, dtype=torch.bool)
    for row in range(masked_samples(shape[0], 0.5)):
        masks[row] = random_token_mask(shape[1], 0.5, generator)
    golden.compare(f"{name}.tokens_masked_per_sample", masks.sum(1), atol=0)
    golden.compare(name, masks, atol=0)


def test_masked_half_equals_two_full_passes(tmp_path: Path) -> None:
    """Design section 5: running only the masked images twice changes neither loss nor gradient."""
    module, io = build("b_domain_deit", tmp_path), Golden("b_domain_deit_io")
    images, masks = io.input("images"), io.input("masks_bool")
    losses(module, io)["loss"].backward()
    half = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    whole, full = module.student.tokens(images), module.student.tokens(images, masks)
    assert isinstance(whole, Tokens)
    teacher = module.teacher(images)[0]
    terms = module.objective(SimpleNamespace(student=whole, teacher=teacher, all_masked=full.patches, hidden=masks))
    module.objective.total(terms).backward()
    assert len(half) > 40
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, half[name], atol=1e-6, rtol=1e-5)
