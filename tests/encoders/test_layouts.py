"""Files in the layouts of other libraries and of wrapped modules: the tensors come out, or the layout is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder
from gkd_lightning.errors import UserError
from tests.encoders.own_encoders import Patches
from tests.encoders.test_published import IMAGES, State, randomised, renamed

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2}
VIT = EncoderSpec("vit_tiny_patch16_224", image_size=56, patch_size=14, options=TINY)
DINOV2 = EncoderSpec("vit_small_patch14_dinov2", image_size=56, patch_size=14, options=TINY)
REGISTERS = EncoderSpec("vit_small_patch14_reg4_dinov2", image_size=56, patch_size=14, options=TINY)
DINOV3 = EncoderSpec("vit_small_patch16_dinov3_qkvb", image_size=56, patch_size=14, options=TINY)
FOUR = {**TINY, "mlp_ratio": 4}
GATED = EncoderSpec("vit_small_plus_patch16_dinov3_qkvb", image_size=56, patch_size=14, options=FOUR)
CLIP = EncoderSpec("vit_base_patch16_clip_224", image_size=56, patch_size=14, options=TINY)
WIDTHS = {"depths": [1, 1, 2, 1], "dims": [8, 8, 16, 32]}
CONVNEXT = EncoderSpec("convnext_atto", image_size=64, options={**WIDTHS, "conv_mlp": False})
CONVNEXT_V2 = EncoderSpec("convnextv2_atto", image_size=64, options={**WIDTHS, "conv_mlp": False})


def tensors(encoder: Encoder) -> State:
    return {key: value.detach().clone() for key, value in encoder.model.state_dict().items()}


def loaded_from(path: Path, spec: EncoderSpec, **changes: Any) -> Encoder:
    return build_encoder(EncoderSpec(**{**vars(spec), "weights": str(path), **changes})).eval()


def same(found: Encoder, original: Encoder) -> None:
    wanted = tensors(original)
    assert tensors(found).keys() == wanted.keys()
    different = [key for key, value in tensors(found).items() if not torch.equal(value, wanted[key])]
    assert different == []


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.model.", "model._orig_mod.module.", "encoder.", "backbone.", "net.",
     "visual.trunk.", "student_network.", "_fsdp_wrapped_module.model."],
)  # fmt: skip
def test_one_prefix_before_all_keys(prefix: str, spec: EncoderSpec, tmp_path: Path) -> None:
    original = randomised(spec)
    words = [word for word in prefix.split(".") if word not in ("", "module", "_orig_mod", "_fsdp_wrapped_module")]
    beside = {"text.weight": torch.ones(3), "criterion.centre": torch.ones(1)} if words else {}
    torch.save({"state_dict": {**under(prefix, tensors(original)), **beside}, "epoch": 3}, tmp_path / "last.ckpt")
    found = loaded_from(tmp_path / "last.ckpt", spec)
    same(found, original)
    assert f"took {'.'.join(['state_dict', *words])}" in str(found.loaded).splitlines()
    if words:
        assert "ignored criterion.* (1 tensors), text.* (1 tensors)" in str(found.loaded)


def test_wrappers_between_the_words_of_a_key(tmp_path: Path) -> None:
    """As checkpointed and sharded blocks inside a compiled model leave them."""
    original = randomised(VIT)
    wrapped = r"blocks.\1._checkpoint_wrapped_module._fsdp_wrapped_module."
    state = {re.sub(r"^blocks\.(\d+)\.", wrapped, key): value for key, value in tensors(original).items()}
    state = under("_orig_mod.", state)
    torch.save({"module": {"model": state}}, tmp_path / "deep.pt")
    same(loaded_from(tmp_path / "deep.pt", VIT), original)


def test_a_model_that_has_such_words_itself_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(self: Patches, spec: EncoderSpec, width: int = 12) -> None:
        usual(self, spec, width)
        self.model = nn.Sequential()
        self.model.add_module("module", nn.Conv2d(3, width, 8, 8))

    usual = Patches.__init__
    monkeypatch.setattr(Patches, "__init__", wrapped)
    weights = {"model.module.weight": torch.randn(12, 3, 8, 8), "model.module.bias": torch.randn(12)}
    torch.save(weights, tmp_path / "own.pth")
    encoder = build_encoder(EncoderSpec("tests.encoders.own_encoders.Patches", str(tmp_path / "own.pth")))
    assert torch.equal(encoder.model.module.weight, weights["model.module.weight"])


@pytest.mark.parametrize("suffix", [".ckpt", ".pth.tar", ".pt", ".bin", ".pth", ".weights", ""])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_content_says_what_a_file_is(kind: str, suffix: str, tmp_path: Path) -> None:
    original = randomised(VIT)
    path = tmp_path / f"w{suffix}"
    if kind == "safetensors":
        save_file(tensors(original), path)
    else:
        torch.save(tensors(original), path, _use_new_zipfile_serialization=kind == "zip")
    same(loaded_from(path, VIT), original)


def test_an_empty_file_and_a_text_are_no_weights(tmp_path: Path) -> None:
    for text in ("", "version https://git-lfs.github.com/spec/v1\n", '{"a": 1}'):
        (tmp_path / "w.bin").write_text(text)
        with pytest.raises(UserError, match=r"w\.bin: (not a readable|a pickle)"):
            loaded_from(tmp_path / "w.bin", VIT)


def in_chunks(state: State) -> State:
    return {re.sub(r"^blocks\.(\d+)\.", r"blocks.\1.\1.", key): value for key, value in state.items()}


def as_meta_convnext(state: State) -> State:
    found = {}
    for key, value in state.items():
        key = re.sub(r"^stem\.", "downsample_layers.0.", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
        key = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", key)
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        if "mlp.grn" in key:
            key = key.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            value = value[None, None, None]
        found[key] = value
    last = {"weight": torch.ones(32), "bias": torch.ones(32)}
    return {**found, **under("norm.", last), **under("norms.3.", last), "head.weight": torch.ones(5, 32)}


def as_clip(state: State) -> State:
    found = renamed(
        state, ("patch_embed.proj", "conv1"), ("cls_token", "class_embedding"), ("pos_embed", "positional_embedding"),
        ("norm_pre", "ln_pre"), (".norm1", ".ln_1"), (".norm2", ".ln_2"), ("blocks.", "transformer.resblocks."),
        ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    )  # fmt: skip
    found |= {f"ln_post.{name}": found.pop(f"norm.{name}") for name in ("weight", "bias")}
    found["class_embedding"] = found["class_embedding"][0, 0]
    found["positional_embedding"] = found["positional_embedding"][0]
    text = {key: value for key, value in found.items() if "resblocks" in key}
    return {**text, **under("visual.", found), "visual.proj": torch.ones(32, 8), "logit_scale": torch.ones(())}


@pytest.mark.parametrize(
    ("spec", "layout", "line"),
    [
        (DINOV2, in_chunks, "renamed blocks.1.1.norm1.weight -> blocks.1.norm1.weight"),
        (CONVNEXT, as_meta_convnext, "renamed stages.2.1.pwconv1.weight -> stages.2.blocks.1.mlp.fc1.weight"),
        (CONVNEXT_V2, as_meta_convnext, "renamed stages.2.1.grn.gamma -> stages.2.blocks.1.mlp.grn.weight"),
        (CLIP, as_clip, "renamed class_embedding -> cls_token"),
    ],
    ids=["chunks", "convnext", "convnext v2", "clip"],
)
@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_layouts_of_the_authors(
    spec: EncoderSpec, layout: Callable[[State], State], line: str, prefix: str, tmp_path: Path
) -> None:
    original = randomised(spec)
    torch.save(under(prefix, layout(tensors(original))), tmp_path / "theirs.pth")
    found = loaded_from(tmp_path / "theirs.pth", spec)
    same(found, original)
    assert line in str(found.loaded).splitlines()


def test_the_second_number_counts_through_all_chunks(tmp_path: Path) -> None:
    """DINOv2 pads its chunks with empty blocks, so four blocks in two chunks are 0.0, 0.1, 1.2 and 1.3."""
    spec = EncoderSpec(**{**vars(DINOV2), "options": {**TINY, "depth": 4}})
    original = randomised(spec)
    state = {
        re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{int(found[1]) // 2}.{found[1]}.", key): value
        for key, value in tensors(original).items()
    }
    torch.save({"teacher": under("backbone.", state)}, tmp_path / "chunks.pth")
    same(loaded_from(tmp_path / "chunks.pth", spec), original)


def test_a_file_of_franca_fits_a_gated_dinov2(tmp_path: Path) -> None:
    """Blocks in chunks, gated layers under DINOv2-g's names, heads beside the teacher, a module's prefix."""
    options = {**TINY, "mlp_ratio": 5.33334}  # 32 * 5.33334 = 170 = 2 * 85 hidden values
    spec = EncoderSpec(**{**vars(DINOV2), "name": "vit_giant_patch14_dinov2", "options": options})
    original = randomised(spec)
    state = in_chunks(renamed(tensors(original), (".mlp.fc1.", ".mlp.w12."), (".mlp.fc2.", ".mlp.w3.")))
    heads = {"dino_head.mlp.0.weight": torch.ones(4, 32), "ibot_head.last_layer.weight_g": torch.ones(4, 1)}
    file = {"teacher": under("module.backbone.", state) | under("module.", heads), "iteration": 7}
    torch.save(file, tmp_path / "franca_vitb14_In21K.pth")
    same(loaded_from(tmp_path / "franca_vitb14_In21K.pth", spec), original)


SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "image_size": 56,
    "patch_size": 14,
}  # fmt: skip
THEIRS: dict[str, tuple[EncoderSpec, str, dict[str, Any]]] = {
    "vit": (VIT, "ViT", {"layer_norm_eps": 1e-6}),
    "dinov2": (DINOV2, "Dinov2", {}),
    "dinov2 with registers": (REGISTERS, "Dinov2WithRegisters", {}),
    "dinov3": (DINOV3, "DINOv3ViT", {"num_register_tokens": 4}),
    "dinov3, gated": (
        GATED, "DINOv3ViT", {"num_register_tokens": 4, "use_gated_mlp": True, "hidden_act": "silu"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["published", "state dict", "inside a larger model"])
@pytest.mark.parametrize("name", THEIRS)
def test_models_of_transformers(name: str, how: str, tmp_path: Path) -> None:
    spec, kind, settings = THEIRS[name]
    theirs = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**SIZES, **settings)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.2)
    path = tmp_path / "model.safetensors"
    if how == "published":
        theirs.save_pretrained(tmp_path)
    elif how == "state dict":
        torch.save(theirs.state_dict(), path := tmp_path / "pytorch_model.bin")
    else:
        larger = nn.ModuleDict({"vit": theirs, "classifier": nn.Linear(32, 2)})
        torch.save({"state_dict": larger.state_dict()}, path := tmp_path / "last.ckpt")
    encoder = loaded_from(path, spec)
    with torch.no_grad():
        tokens = encoder.tokens(IMAGES)
        wanted = theirs(encoder.normalize(IMAGES)).last_hidden_state
    torch.testing.assert_close(tokens.cls, wanted[:, 0], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(tokens.patches, wanted[:, -16:], atol=2e-5, rtol=1e-5)
    mask = getattr(theirs.embeddings, "mask_token", None)
    if mask is not None:
        assert torch.equal(encoder.mask_token.flatten(), mask.flatten())
    assert "joined the query, key and value projections of 2 blocks" in str(encoder.loaded)


@pytest.mark.parametrize("how", ["published", "state dict"])
@pytest.mark.parametrize(
    ("spec", "kind"), [(CONVNEXT, "ConvNext"), (CONVNEXT_V2, "ConvNextV2"), (CONVNEXT, "DINOv3ConvNext")]
)
def test_convolutional_models_of_transformers(spec: EncoderSpec, kind: str, how: str, tmp_path: Path) -> None:
    sizes = {"depths": WIDTHS["depths"], "hidden_sizes": WIDTHS["dims"]}
    theirs = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**sizes)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.2)
    path = tmp_path / "model.safetensors"
    if how == "published":
        theirs.save_pretrained(tmp_path)
    else:
        torch.save(theirs.state_dict(), path := tmp_path / "pytorch_model.bin")
    encoder = loaded_from(path, spec)
    images = torch.nn.functional.pad(IMAGES, (0, 8, 0, 8))
    with torch.no_grad():
        wanted = theirs(encoder.normalize(images), output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(encoder.features(images, ())[-1], wanted, atol=2e-5, rtol=1e-4)


def test_the_same_bits_under_the_names_of_transformers(tmp_path: Path) -> None:
    original = randomised(DINOV2)
    state = renamed(
        tensors(original), ("pos_embed", "embeddings.position_embeddings"), ("cls_token", "embeddings.cls_token"),
        ("patch_embed.proj", "embeddings.patch_embeddings.projection"), ("blocks.", "encoder.layer."),
        ("attn.proj", "attention.output.dense"), ("ls1.gamma", "layer_scale1.lambda1"),
        ("ls2.gamma", "layer_scale2.lambda1"),
    )  # fmt: skip
    state |= {f"layernorm.{name}": state.pop(f"norm.{name}") for name in ("weight", "bias")}
    for key in [key for key in state if ".attn.qkv." in key]:
        parts = state.pop(key).chunk(3)
        names = [key.replace("attn.qkv", f"attention.attention.{name}") for name in ("query", "key", "value")]
        state |= {name: part.clone() for name, part in zip(names, parts, strict=True)}
    save_file(state, tmp_path / "model.safetensors")
    same(loaded_from(tmp_path / "model.safetensors", DINOV2), original)


def test_the_distillation_token_of_transformers_deit_is_left_out(tmp_path: Path) -> None:
    theirs = transformers.DeiTModel(transformers.DeiTConfig(**SIZES))
    nn.init.normal_(theirs.embeddings.position_embeddings)
    theirs.save_pretrained(tmp_path)
    encoder = loaded_from(tmp_path / "model.safetensors", VIT)
    rows = theirs.embeddings.position_embeddings
    assert torch.equal(encoder.model.pos_embed, torch.cat([rows[:, :1], rows[:, 2:]], dim=1))
    assert "ignored dist_token, pooler.dense.bias, pooler.dense.weight" in str(encoder.loaded)


def test_another_geometry_is_resized_as_ever(tmp_path: Path) -> None:
    original = randomised(CLIP)
    torch.save(as_clip(tensors(original)), tmp_path / "clip.pt")
    save_file(tensors(original), tmp_path / "plain.safetensors")
    theirs, plain = (
        loaded_from(tmp_path / name, CLIP, image_size=96, patch_size=16) for name in ("clip.pt", "plain.safetensors")
    )
    same(theirs, plain)
    assert "resized pos_embed [1, 17, 32] -> [1, 37, 32]" in str(theirs.loaded)


def swin() -> State:
    config = transformers.SwinConfig(image_size=56, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2)
    return dict(transformers.SwinModel(config).state_dict())


def strange() -> State:
    return {"a.b.c": torch.ones(1), "a.b.d": torch.ones(1), "z": torch.ones(1)}


@pytest.mark.parametrize(
    ("state", "spec", "message"),
    [
        (swin, VIT, "its keys look like those of transformers' Swin (embeddings.…, encoder.…, layernorm.…), "
                    "this model's begin cls_token, pos_embed, patch_embed.…; take the model that it was made for"),
        (lambda: tensors(randomised(VIT)), CONVNEXT, "look like those of a ViT .* this model's begin stem.…, stages.…"),
        (lambda: tensors(randomised(CONVNEXT)), VIT, "look like those of timm's ConvNeXt"),
        (strange, VIT, "its keys begin a.…, z, this model's"),
    ],
    ids=["swin", "vit", "convnext", "nothing"],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_is_not_recognised_is_told(
    prefix: str, state: Callable[[], State], spec: EncoderSpec, message: str, tmp_path: Path
) -> None:
    torch.save(under(prefix, state()), tmp_path / "other.pth")
    if prefix:
        message = re.sub(r"\(.*?\)|begin a.*?, this", ".*", message)
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        loaded_from(tmp_path / "other.pth", spec)
    assert "\n" not in str(caught.value)


def test_another_size_of_the_right_model_is_told_as_such(tmp_path: Path) -> None:
    wide = EncoderSpec(**{**vars(DINOV2), "options": {**TINY, "embed_dim": 48}})
    torch.save(in_chunks(tensors(randomised(wide))), tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"cls_token has shape \[1, 1, 48\], this VisionTransformer needs \[1, 1, 32\]"):
        loaded_from(tmp_path / "wide.pth", DINOV2)
