"""Stage 2 against the official code: pyramid (g), head, losses and gradients (h), sliding window (f)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.encoders import EncoderSpec, Frozen, build_encoder
from gkd_lightning.segment.criterion import HeadLosses, Mask2FormerCriterion
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.mask_scores import semantic_scores
from gkd_lightning.segment.optim import parameter_groups, poly_factor
from gkd_lightning.segment.pyramid import Level, default_blocks, feature_pyramid
from gkd_lightning.segment.sliding import sliding_scores
from gkd_lightning.windows import plan_windows
from tests.golden.harness import Golden, golden_json
from tests.segment.shape_points import ShapePoints

STRIDES = ("stride4", "stride8", "stride16", "stride32")

# mmseg's names, as regular expressions, and transformers' names of the same parameters.
NAMES = [
    (r"pixel_decoder\.input_convs\.(\d)\.conv", r"pixel_decoder.input_projections.\1.0"),
    (r"pixel_decoder\.input_convs\.(\d)\.gn", r"pixel_decoder.input_projections.\1.1"),
    (r"pixel_decoder\.lateral_convs\.0\.conv", "pixel_decoder.adapter_1.0"),
    (r"pixel_decoder\.lateral_convs\.0\.gn", "pixel_decoder.adapter_1.1"),
    (r"pixel_decoder\.output_convs\.0\.conv", "pixel_decoder.layer_1.0"),
    (r"pixel_decoder\.output_convs\.0\.gn", "pixel_decoder.layer_1.1"),
    (r"pixel_decoder\.mask_feature", "pixel_decoder.mask_projection"),
    (r"pixel_decoder\.level_encoding\.weight", "pixel_decoder.level_embed"),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.norms\.0", r"\1.self_attn_layer_norm"),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.norms\.1", r"\1.final_layer_norm"),
    (r"ffn\.layers\.0\.0", "fc1"),
    (r"ffn\.layers\.1", "fc2"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.0", r"transformer.decoder.layers.\1.cross_attn_layer_norm"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.1", r"transformer.decoder.layers.\1.self_attn_layer_norm"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.2", r"transformer.decoder.layers.\1.final_layer_norm"),
    (r"transformer_decoder\.post_norm", "transformer.decoder.layernorm"),
    (r"transformer_decoder\.", "transformer.decoder."),
    (r"(cross_attn|self_attn)\.attn\.", r"\1."),
    (r"^query_embed", "transformer.queries_embedder"),
    (r"^query_feat", "transformer.queries_features"),
    (r"^level_embed", "transformer.level_embed"),
    (r"^cls_embed", "class_predictor"),
    (r"^mask_embed\.(\d)", lambda found: f"transformer.decoder.mask_predictor.mask_embedder.{int(found[1]) // 2}.0"),
]


def our_names(official: str) -> list[str]:
    """Names of the parameters that hold the official parameter: one, or three for packed query, key, value."""
    name = official
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    packed = re.fullmatch(r"(.*\.self_attn)\.in_proj_(weight|bias)", name)
    return [f"{packed[1]}.{part}_proj.{packed[2]}" for part in "qkv"] if packed else [name]


def our_state(official: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for name, value in official.items():
        ours = our_names(name)
        state |= dict(zip(ours, value.chunk(len(ours)), strict=True))
    return state


@pytest.fixture(scope="module")
def official() -> Golden:
    return Golden("h_mask2former_head")


@pytest.fixture(scope="module")
def sizes() -> dict:
    return golden_json("h_mask2former_head.json")


@pytest.fixture(scope="module")
def config(sizes: dict) -> Mask2FormerConfig:
    return Mask2FormerConfig(
        hidden_dim=sizes["dim"],
        encoder_layers=sizes["enc_layers"],
        decoder_layers=sizes["dec_layers"],
        heads=sizes["heads"],
        encoder_ffn=sizes["enc_ffn"],
        decoder_ffn=sizes["dec_ffn"],
        queries=sizes["num_queries"],
        points=sizes["num_points"],
    )


@pytest.fixture(scope="module")
def head(official: Golden, sizes: dict, config: Mask2FormerConfig) -> Mask2FormerHead:
    head = Mask2FormerHead([24] * 4, sizes["num_classes"], config)
    head.load_state_dict(our_state(official.inputs("w.")))
    return head


@pytest.fixture(scope="module")
def trained(
    official: Golden, head: Mask2FormerHead, sizes: dict, config: Mask2FormerConfig
) -> tuple[HeadOutput, HeadLosses, list[Tensor]]:
    """Forward and backward on the fixture's inputs."""
    features = [official.input(f"feat.{stride}").requires_grad_() for stride in STRIDES]
    label = official.input("gt_sem_seg").to(torch.uint8)
    output = head.train()([Level(each) for each in features])
    points = ShapePoints(output, label, config)
    losses = Mask2FormerCriterion(sizes["num_classes"], config)(output, label, points)
    head.zero_grad()
    losses.total.backward()
    return output, losses, features


def test_logits_of_every_layer(official: Golden, trained: tuple[HeadOutput, HeadLosses, list[Tensor]]) -> None:
    output = trained[0]
    for layer in range(len(output.classes)):
        masks = output.masks(layer)
        official.compare(f"layer{layer}.cls_logits", output.classes[layer], atol=1e-5)
        step = 1 if layer in (0, len(output.classes) - 1) else 4
        official.compare(f"layer{layer}.mask_logits", masks[..., ::step, ::step], atol=1e-5)


def test_losses_of_every_layer(
    official: Golden, sizes: dict, trained: tuple[HeadOutput, HeadLosses, list[Tensor]]
) -> None:
    losses = trained[1]
    for layer in range(len(losses.classes)):
        prefix = "" if layer == len(losses.classes) - 1 else f"d{layer}."
        terms = {"cls": losses.classes, "mask": losses.masks, "dice": losses.dice}
        for name, values in terms.items():
            key = f"{prefix}loss_{name}"
            shape = (1,) if name == "cls" else (1, 1)
            official.compare(f"loss.{key}", values[layer].reshape(shape), atol=2e-6)
            assert values[layer].item() == pytest.approx(sizes["losses"][key], abs=2e-6)
    official.compare("loss.total", losses.total.reshape(1, 1), atol=1e-5)


def test_gradients(
    official: Golden, head: Mask2FormerHead, trained: tuple[HeadOutput, HeadLosses, list[Tensor]]
) -> None:
    parameters = dict(head.named_parameters())
    for key in official.keys("grad.w."):
        (name,) = our_names(key.removeprefix("grad.w."))
        gradient = parameters[name].grad
        assert gradient is not None
        official.compare(key, gradient, atol=2e-6)
    gradients = Golden("h_mask2former_head_grads")
    for stride, feature in zip(STRIDES, trained[2], strict=True):
        assert feature.grad is not None
        gradients.compare(f"grad.feat.{stride}", feature.grad, atol=2e-6)


def test_scores(official: Golden, head: Mask2FormerHead) -> None:
    with torch.no_grad():
        output = head.eval()([Level(official.input(f"feat.{stride}")) for stride in STRIDES])
        scores = semantic_scores(output.classes[-1], output.masks(-1), (128, 128))
    Golden("h_mask2former_head_grads").compare("predict.seg_logits_128", scores[..., ::2, ::2], atol=1e-5)


def test_optimizer_groups(head: Mask2FormerHead) -> None:
    """Which parameters decay, by name; learning rate; a frozen encoder is in no group, nothing is clipped."""
    official = golden_json("h_optimizer_groups.json")
    decayed, kept = parameter_groups(head, torch.nn.Identity(), lr=1e-4, weight_decay=0.05, encoder_lr_scale=1.0)
    names = {id(parameter): name for name, parameter in head.named_parameters()}
    for group, key in ((decayed, "decay"), (kept, "no_decay")):
        expected = {ours for name in official[key] for ours in our_names(name.removeprefix("decode_head."))}
        assert {names[id(parameter)] for parameter in group["params"]} == expected
    assert sorted({decayed["weight_decay"], kept["weight_decay"]}) == official["wds"]
    assert [decayed["lr"]] == [kept["lr"]] == official["lrs"]
    assert official["backbone_params_in_optimizer"] == 0
    assert official["clip_grad"] == "None"
    assert official["backbone_training_after_train"] is False
    encoder = Frozen(torch.nn.BatchNorm1d(2))
    encoder.train()
    assert not encoder.module.training


def test_poly_schedule() -> None:
    golden = Golden("d_schedules")
    record = golden_json("d_schedules.json")["polylr_40k"]
    factor = poly_factor(40000, record["power"])
    iterations = golden.input("polylr.iters").tolist()
    rates = torch.tensor([record["base_lr"] * factor(i) for i in iterations], dtype=torch.float64)
    golden.compare("polylr.lr", rates, atol=1e-18)
    for i, rate in record["lr_used_at_iter"].items():
        assert record["base_lr"] * factor(int(i)) == pytest.approx(rate, abs=1e-18)
        if int(i) > 0:
            assert record["base_lr"] * factor(int(i)) != record["naive_40000"][i]
    assert record["base_lr"] * factor(40000) == record["lr_after_last_step"] == 0


@pytest.mark.parametrize("suffix", ["", "_nonsquare"])
def test_pyramid(suffix: str, tmp_path: Path) -> None:
    golden = Golden("g_pyramid_vit")
    images = golden.input(f"images{suffix}")
    save_file(golden.inputs("w."), tmp_path / "vit.safetensors")
    spec = EncoderSpec(
        "vit_small_patch16_224",
        weights=str(tmp_path / "vit.safetensors"),
        image_size=list(images.shape[-2:]),
        resize="bicubic-offset",  # the official run-time rule for grids other than the stored one
        options={"embed_dim": 24, "depth": 4, "num_heads": 2},
    )
    encoder = build_encoder(spec)
    encoder.mean.zero_()  # the fixture's images are normalised already
    encoder.std.fill_(1.0)
    encoder.double()  # exact: what is left is the rounding of the fixture, which was made in float32
    with torch.no_grad():
        maps = encoder.features(images.double(), default_blocks(4))
    for stride, level in zip(STRIDES, feature_pyramid(maps), strict=True):
        golden.compare(f"out{suffix}.{stride}", level.enlarged(), atol=1e-5)


def test_windows() -> None:
    official = golden_json("f_slide_windows.json")
    assert official["format"] == "[y1, x1, crop_h, crop_w] in visiting order"
    (window, _), (stride, _) = official["crop"], official["stride"]
    for size, windows in official["windows"].items():
        height, width = map(int, size.split("x"))
        assert [list(place) for place in plan_windows((height, width), window, stride)] == windows


def test_average_of_windows() -> None:
    """The fixture's model scores a pixel by its row and column in the image and in the window."""
    golden = Golden("f_slide_average")
    places = torch.tensor(plan_windows((45, 70), 32, 21))
    golden.compare("windows_y1_x1_h_w", places, atol=0)
    rows, columns = torch.meshgrid(torch.arange(45.0), torch.arange(70.0), indexing="ij")

    def score(crops: Tensor) -> Tensor:
        y, x = crops.unbind(1)
        row, column = y - y[:, :1, :1], x - x[:, :1, :1]
        return torch.stack([0.1 * y + 0.01 * column, 0.1 * x - 0.02 * row, (x + y).sin()], dim=1)

    scores = sliding_scores(torch.stack([rows, columns])[None], score, window=32, stride=21, batch=4)
    golden.compare("avg_logits", scores, atol=1e-6)
    enlarged = F.interpolate(scores, size=(90, 140), mode="bilinear", align_corners=False)
    golden.compare("upsampled_to_90x140_bilinear", enlarged, atol=1e-6)
    golden.compare("argmax_after_upsample", enlarged.argmax(1), atol=0)
