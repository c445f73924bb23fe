"""Files in the published models' own formats: loaded strictly, to the tokens of the network they came from."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gkd_lightning.cli import main
from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder, load_student
from gkd_lightning.errors import UserError
from tests.golden.harness import Golden
from tests.golden.test_distill import CASES, STUDENT

State = dict[str, torch.Tensor]
TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2}
IMAGES = torch.randint(0, 256, (2, 3, 56, 56), dtype=torch.uint8, generator=torch.manual_seed(0))


def randomised(spec: EncoderSpec) -> Encoder:
    """A network of which no tensor has a value that initialisation would give it."""
    encoder = build_encoder(spec).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(0.0, 0.2)
    return encoder


def renamed(state: State, *pairs: tuple[str, str]) -> State:
    result = {}
    for key, value in state.items():
        for old, new in pairs:
            key = key.replace(old, new)
        result[key] = value
    return result


def as_dinov2(state: State, encoder: Encoder) -> State:
    return {**state, "mask_token": encoder.get_parameter("mask_token").detach()}


def as_dinov2_registers(state: State, encoder: Encoder) -> State:
    row = torch.full((1, 1, 32), 0.5)
    found = renamed(state, ("reg_token", "register_tokens"))
    return {
        **as_dinov2(found, encoder),
        "cls_token": state["cls_token"] - row,
        "pos_embed": torch.cat([row, state["pos_embed"]], dim=1),
    }


def as_dinov2_giant(state: State, encoder: Encoder) -> State:
    return renamed(as_dinov2(state, encoder), (".mlp.fc1.", ".mlp.w12."), (".mlp.fc2.", ".mlp.w3."))


def as_dinov3(state: State, encoder: Encoder) -> State:
    found = renamed(state, ("reg_token", "storage_tokens"), ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"))
    for block in range(2):
        name = f"blocks.{block}.attn."
        query, value = found.pop(f"{name}q_bias"), found.pop(f"{name}v_bias")
        found[f"{name}qkv.bias"] = torch.cat([query, torch.full_like(query, 7.0), value])
        found[f"{name}qkv.bias_mask"] = torch.ones(96)
    return {**found, "rope_embed.periods": torch.ones(8), "mask_token": encoder.get_parameter("mask_token").detach()}


def as_deit(state: State, encoder: Encoder) -> State:
    return {**state, "head.weight": torch.ones(1000, 32), "head.bias": torch.ones(1000)}


def as_distilled_deit(state: State, encoder: Encoder) -> State:
    positions = state["pos_embed"]
    return {
        **as_deit(state, encoder),
        "pos_embed": torch.cat([positions[:, :1], torch.full((1, 1, 32), 9.0), positions[:, 1:]], dim=1),
        "dist_token": torch.ones(1, 1, 32),
        "head_dist.weight": torch.ones(1000, 32),
        "head_dist.bias": torch.ones(1000),
    }


def as_eva02_small(state: State, encoder: Encoder) -> State:
    found = renamed(state, (".mlp.fc1.", ".mlp.w12."), (".mlp.fc2.", ".mlp.w3."))
    found |= {"rope.freqs_cos": torch.ones(16, 8), "rope.freqs_sin": torch.ones(16, 8)}
    found |= {f"blocks.{block}.attn.rope.freqs_cos": torch.ones(16, 8) for block in range(2)}
    mask = encoder.get_parameter("mask_token").detach()
    return {**found, "mask_token": mask[None], "lm_head.weight": torch.ones(8, 32), "lm_head.bias": torch.ones(8)}


def as_eva02_base(state: State, encoder: Encoder) -> State:
    found = renamed(
        state,
        (".mlp.fc1_g.", ".mlp.w1."),
        (".mlp.fc1_x.", ".mlp.w2."),
        (".mlp.fc2.", ".mlp.w3."),
        (".mlp.norm.", ".mlp.ffn_ln."),
        (".attn.norm.", ".attn.inner_attn_ln."),
        (".attn.q_proj.bias", ".attn.q_bias"),
        (".attn.v_proj.bias", ".attn.v_bias"),
    )
    return {**found, "mask_token": encoder.get_parameter("mask_token").detach()[None]}


def as_it_is(state: State, encoder: Encoder) -> State:
    return dict(state)


FORMATS: dict[str, tuple[str, Callable[[State, Encoder], State], dict[str, Any]]] = {
    "dinov2": ("vit_small_patch14_dinov2", as_dinov2, {}),
    "dinov2 with registers": ("vit_small_patch14_reg4_dinov2", as_dinov2_registers, {}),
    "dinov2 giant": ("vit_giant_patch14_dinov2", as_dinov2_giant, {"mlp_ratio": 2.0}),
    "dinov3": ("vit_small_patch16_dinov3_qkvb", as_dinov3, {}),
    "deit": ("deit_small_patch16_224", as_deit, {}),
    "distilled deit": ("deit_small_patch16_224", as_distilled_deit, {}),
    "dino": ("vit_small_patch16_224.dino", as_it_is, {}),
    "eva02 small": ("eva02_small_patch14_224", as_eva02_small, {}),
    "eva02 base": ("eva02_base_patch14_224", as_eva02_base, {}),
    "convnext": ("convnext_atto", as_it_is, {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 32]}),
}
MASKLESS = ("deit", "distilled deit", "dino", "convnext")


def spec_for(name: str) -> EncoderSpec:
    model, _, options = FORMATS[name]
    if "convnext" in model:
        return EncoderSpec(model, image_size=64, options=options)
    return EncoderSpec(model, image_size=56, patch_size=14, options={**TINY, **options})


def images_for(spec: EncoderSpec) -> torch.Tensor:
    return IMAGES if spec.image_size == 56 else torch.nn.functional.pad(IMAGES, (0, 8, 0, 8))


def write(name: str, folder: Path, wrap: str | None = None) -> tuple[Encoder, Path]:
    spec = spec_for(name)
    original = randomised(spec)
    state = FORMATS[name][1]({key: value.clone() for key, value in original.model.state_dict().items()}, original)
    path = folder / "published.pth"
    torch.save(state if wrap is None else {wrap: state, "epoch": 99, "args": argparse.Namespace(lr=5e-4)}, path)
    return original, path


def loaded_from(path: Path, spec: EncoderSpec, **changes: Any) -> Encoder:
    fields = {**spec.__dict__, "weights": str(path), **changes}
    return build_encoder(EncoderSpec(**fields)).eval()


@pytest.mark.parametrize("wrap", [None, "model"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_tokens_are_those_of_the_original(name: str, wrap: str | None, tmp_path: Path) -> None:
    original, path = write(name, tmp_path, wrap)
    encoder = loaded_from(path, spec_for(name))
    images = images_for(spec_for(name))
    wanted, found = original.tokens(images), encoder.tokens(images)
    torch.testing.assert_close(found.cls, wanted.cls, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.patches, wanted.patches, atol=1e-5, rtol=1e-5)
    if name not in MASKLESS:
        mask = torch.zeros(2, 16, dtype=torch.bool)
        mask[:, ::2] = True
        masked = encoder.tokens(images, mask).patches
        torch.testing.assert_close(masked, original.tokens(images, mask).patches, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(masked, found.patches, atol=1e-2)


def test_registers_by_hand() -> None:
    """DINOv2's own forward adds positions to the class token and the patches, then puts the registers between."""
    spec = spec_for("dinov2 with registers")
    encoder = randomised(spec)
    state = as_dinov2_registers(encoder.model.state_dict(), encoder)
    pixels = encoder.normalize(IMAGES)
    patches = torch.nn.functional.conv2d(
        pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14
    )
    tokens = torch.cat([state["cls_token"].expand(2, -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + state["pos_embed"]
    tokens = torch.cat([tokens[:, :1], state["register_tokens"].expand(2, -1, -1), tokens[:, 1:]], dim=1)
    for block in encoder.model.blocks:
        tokens = block(tokens)
    tokens = encoder.model.norm(tokens)
    found = encoder.tokens(IMAGES)
    torch.testing.assert_close(found.cls, tokens[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.patches, tokens[:, 5:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("convnext",)])
def test_another_geometry_resizes_what_depends_on_it(name: str, tmp_path: Path) -> None:
    original, path = write(name, tmp_path)
    encoder = loaded_from(path, spec_for(name), image_size=64, patch_size=16)
    kernel = encoder.model.patch_embed.proj.weight
    assert kernel.shape[-2:] == (16, 16)
    assert "resized patch_embed.proj.weight" in str(encoder.loaded)
    assert encoder.tokens(torch.nn.functional.pad(IMAGES, (0, 8, 0, 8))).patches.shape == (2, 16, 32)
    torch.testing.assert_close(encoder.model.norm.weight, original.model.norm.weight)


@pytest.mark.parametrize("case", ["b_domain_deit", "b_domain_dino", "b_agnostic_deit", "b_agnostic_eva02"])
def test_the_authors_checkpoints(case: str, tmp_path: Path) -> None:
    """The layout of stage 1's `checkpoint_100.pth`: student, teacher and heads side by side, and the command line."""
    state = {key.removeprefix("model."): value for key, value in Golden(f"{case}_weights").inputs("").items()}
    path = tmp_path / "checkpoint_100.pth"
    torch.save(
        {"model": state, "optimizer": {"state": {}}, "epoch": 99, "args": argparse.Namespace(batch_size=32)}, path
    )
    what = CASES[case]
    spec = EncoderSpec(
        what.get("name", "vit_tiny_patch16_224"), str(path), what["image"], what["patch"],
        normalization="imagenet", options={**STUDENT, **what["student"]},
    )  # fmt: skip
    encoder = build_encoder(spec).eval()
    encoder.mean.zero_()
    encoder.std.fill_(1.0)  # the fixture's images are normalised already
    io = Golden(f"{case}_io")
    with torch.no_grad():
        for name, mask in (("unmasked", None), ("masked", io.input("masks_bool"))):
            tokens = encoder.tokens(io.input("images"), mask)
            io.compare(f"student_{name}.x_norm_clstoken", tokens.cls, atol=1e-5)
            io.compare(f"student_{name}.x_norm_patchtokens", tokens.patches, atol=1e-5)
    assert "teacher.*" in str(encoder.loaded)
    assert "fea_head.*" in str(encoder.loaded)


def test_training_checkpoints_of_dino(tmp_path: Path) -> None:
    original, path = write("dino", tmp_path)
    state = torch.load(path, weights_only=True)
    student = {f"module.backbone.{key}": torch.zeros_like(value) for key, value in state.items()}
    teacher = {f"backbone.{key}": value for key, value in state.items()} | {"head.last_layer.weight_g": torch.ones(3)}
    torch.save({"student": student, "teacher": teacher, "epoch": 3}, path)
    encoder = loaded_from(path, spec_for("dino"))
    torch.testing.assert_close(encoder.tokens(IMAGES).cls, original.tokens(IMAGES).cls, atol=1e-5, rtol=1e-5)
    assert "head.* (1 tensors)" in str(encoder.loaded)


def test_layer_scale_that_a_file_lacks_starts_at_its_initial_value(tmp_path: Path) -> None:
    _, path = write("dino", tmp_path)
    spec = spec_for("dino")
    encoder = loaded_from(path, spec, options={**spec.options, "init_values": 1.0})
    assert "kept initial blocks.0.ls1.gamma" in str(encoder.loaded)
    assert torch.equal(encoder.model.blocks[0].ls1.gamma, torch.ones(32))


def test_key_biases_need_a_place(tmp_path: Path) -> None:
    _, path = write("dinov3", tmp_path)
    spec = spec_for("dinov3")
    with pytest.raises(UserError, match=r"blocks.0.attn.qkv.bias is not zero .* take timm's \*_qkvb model"):
        loaded_from(path, spec, name="vit_small_patch16_dinov3")


def test_strict_unless_told_otherwise(tmp_path: Path) -> None:
    _, path = write("deit", tmp_path)
    state = torch.load(path, weights_only=True)
    state["extra.weight"] = torch.ones(2)
    del state["blocks.1.norm2.bias"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"it has no 'blocks.1.norm2.bias' \(1 keys missing, 1 unknown\)"):
        loaded_from(path, spec_for("deit"))
    encoder = loaded_from(path, spec_for("deit"), tolerate=[r"extra\..*", r"blocks\.1\.norm2\.bias"])
    assert "TOLERATED extra.weight (unknown), blocks.1.norm2.bias (missing)" in str(encoder.loaded)


class Dangerous:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": Dangerous()}}, "a pickle with more than plain tensors, which is never executed"),
        ({"epoch": 3}, "holds no tensors by name"),
        ([torch.ones(2)], "holds no tensors by name"),
    ],
)
def test_files_that_hold_something_else(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=message):
        loaded_from(tmp_path / "odd.pth", spec_for("deit"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("error")
def test_a_pickle_of_something_else_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.pth").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(UserError, match=r"odd\.pth: a pickle with more than plain tensors"):
        loaded_from(tmp_path / "odd.pth", spec_for("deit"))


def test_a_damaged_file(tmp_path: Path) -> None:
    _, path = write("deit", tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"published.pth: (not a readable PyTorch file|a pickle)"):
        loaded_from(path, spec_for("deit"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = randomised(EncoderSpec("deit_tiny_patch16_224"))
    path = tmp_path / "deit_tiny_distilled_patch16_224.pth"
    state = {key: value.clone() for key, value in original.model.state_dict().items()}
    positions = state["pos_embed"]
    state["pos_embed"] = torch.cat([positions[:, :1], torch.zeros(1, 1, 192), positions[:, 1:]], dim=1)
    torch.save({"model": {**state, "dist_token": torch.zeros(1, 1, 192)}}, path)
    model = ["--model", "deit_tiny_patch16_224"]
    assert main(["weights", "check", str(path), *model, "--image-size", "64", "--patch-size", "8"]) == 0
    printed = capsys.readouterr().out
    assert "resized patch_embed.proj.weight [192, 3, 16, 16] -> [192, 3, 8, 8]" in printed
    assert "resized pos_embed [1, 198, 192] -> [1, 65, 192]" in printed
    assert "ignored dist_token" in printed
    assert "5.4 M parameters for 64x64 images" in printed
    assert main(["weights", "convert", str(path), *model, "--out", str(tmp_path / "deit")]) == 0
    student = load_student(tmp_path / "deit").eval()
    pixels = torch.nn.functional.pad(IMAGES, (0, 168, 0, 168))
    torch.testing.assert_close(student.tokens(pixels).cls, original.tokens(pixels).cls, atol=1e-5, rtol=1e-5)
    capsys.readouterr()
    assert main(["weights", "check", str(path), "--model", "deit_small_patch16_224"]) == 2
    assert "has shape" in capsys.readouterr().err
    assert main(["weights", "check", str(tmp_path / "nothing.pth"), *model]) == 2
    assert capsys.readouterr().err == f"gkd: {tmp_path}/nothing.pth: no such weights file\n"
