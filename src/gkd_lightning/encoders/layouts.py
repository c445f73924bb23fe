"""How other libraries and training codes name the tensors of networks that timm has: one table, a layout a row.

A row with rules is translated to timm's names, as far as names go (`spelling` does the rest). A row without rules is
known by its name alone, for a message.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Layout(NamedTuple):
    """A way of naming tensors."""

    name: str
    mark: str
    """Regular expression of a key that this layout has and the others have not."""
    rules: tuple[tuple[str, str], ...] = ()
    """Regular expressions and what takes their place, one after another."""


LAYOUTS = (
    Layout(
        "transformers' DINOv3",
        r"\bembeddings\.patch_embeddings\.weight$",
        ((r"^embeddings\.register_tokens$", "storage_tokens"),),  # the rest is in the next two rows
    ),
    Layout(
        "transformers' gated layers of DINOv3",
        r"\bmlp\.gate_proj\.",
        ((r"\.gate_proj\.", ".w1."), (r"\.up_proj\.", ".w2."), (r"\.down_proj\.", ".w3.")),
    ),
    Layout(
        "transformers' ViT, DeiT, DINOv2 or DINOv3",
        r"\bembeddings\.cls_token$",
        (
            (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
            (r"^embeddings\.position_embeddings$", "pos_embed"),
            (r"^embeddings\.distillation_token$", "dist_token"),
            (r"^embeddings\.", ""),
            (r"^(encoder\.|model\.)?layers?\.", "blocks."),
            (r"\.attention\.(attention\.)?(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\2_proj."),
            (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
            (r"\.(intermediate\.dense|mlp\.up_proj)\.", ".mlp.fc1."),
            (r"\.(output\.dense|mlp\.down_proj)\.", ".mlp.fc2."),
            (r"\.mlp\.weights_in\.", ".mlp.w12."),
            (r"\.mlp\.weights_out\.", ".mlp.w3."),
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
            (r"^layernorm\.", "norm."),
        ),
    ),
    Layout(
        "DINOv2's chunks of blocks",
        r"\bblocks\.\d+\.\d+\.norm1\.",
        ((r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),),  # the second number counts through all chunks
    ),
    Layout(
        "Meta's DINOv3",  # an `Eva` in timm
        r"\bstorage_tokens$",
        ((r"^storage_tokens$", "reg_token"), (r"\.ls([12])\.gamma$", r".gamma_\1")),
    ),
    Layout(
        "EVA02's or DINOv2-g's gated layers",  # gate and value stand in timm's order
        r"\.mlp\.w(1|12)\.",
        (
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w1\.", ".mlp.fc1_g."),
            (r"\.mlp\.w2\.", ".mlp.fc1_x."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
            (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
            (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
        ),
    ),
    Layout(
        "Meta's ConvNeXt",
        r"\bdownsample_layers\.0\.0\.",
        (
            (r"^downsample_layers\.0\.", "stem."),
            (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
            (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
            (r"\.dwconv\.", ".conv_dw."),
            (r"\.pwconv([12])\.", r".mlp.fc\1."),
            (r"\.grn\.gamma$", ".mlp.grn.weight"),
            (r"\.grn\.beta$", ".mlp.grn.bias"),
            (r"^norm(s\.3)?\.", "head.norm."),  # DINOv3 names its last norm twice
        ),
    ),
    Layout(
        "transformers' ConvNeXt",
        r"\bstages\.\d+\.layers\.\d+\.(dwconv|depthwise_conv)\.",
        (
            (r"^(encoder|model)\.", ""),
            (r"^embeddings\.patch_embeddings\.", "stem.0."),
            (r"^embeddings\.layernorm\.", "stem.1."),
            (r"^stages\.0\.downsample_layers\.", "stem."),
            (r"\.downsampl(e_layers|ing_layer)\.", ".downsample."),
            (r"\.layers\.", ".blocks."),
            (r"\.(dwconv|depthwise_conv)\.", ".conv_dw."),
            (r"\.(pwconv|pointwise_conv)([12])\.", r".mlp.fc\2."),
            (r"\.layer_?norm\.", ".norm."),
            (r"\.layer_scale_parameter$", ".gamma"),
            (r"\.grn\.", ".mlp.grn."),
            (r"^layer_?norm\.", "head.norm."),
        ),
    ),
    Layout("transformers' CLIP or SigLIP", r"\bencoder\.layers\.\d+\.self_attn\."),
    Layout(
        "OpenAI's or open_clip's CLIP",
        r"\bclass_embedding$",
        (
            (r"^conv1\.", "patch_embed.proj."),
            (r"^class_embedding$", "cls_token"),
            (r"^positional_embedding$", "pos_embed"),
            (r"^ln_pre\.", "norm_pre."),
            (r"^ln_post\.", "norm."),
            (r"^proj$", "head.proj"),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.attn\.in_proj_", ".attn.qkv."),
            (r"\.attn\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.c_fc\.", ".mlp.fc1."),
            (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        ),
    ),
    Layout(
        "NVIDIA's RADIO",
        r"\bpatch_generator\.embedder\.weight$",
        (
            (r"^patch_generator\.embedder\.", "patch_embed.proj."),
            (r"^patch_generator\.pos_embed$", "pos_embed"),
            (r"^patch_generator\.cls_token\.token$", "cls_token"),
            (r"\.grandma$", ".gamma"),  # older releases of transformers rename whatever is called gamma
        ),
    ),
    Layout("SAM's image encoder", r"\bmlp\.lin1\.", ((r"\.mlp\.lin([12])\.", r".mlp.fc\1."),)),
    Layout("transformers' Swin", r"\bencoder\.layers\.\d+\.blocks\.\d+\.(attention|layernorm_before)\."),
    Layout("transformers' SegFormer", r"\bencoder\.block\.\d+\.\d+\."),
    Layout("torchvision's ViT", r"\bencoder_layer_\d+\."),
    Layout("MMPretrain's or MMSegmentation's ViT", r"\blayers\.\d+\.(ln1|attn\.attn)\."),
    Layout("a Swin", r"\blayers\.\d+\.blocks\.\d+\.attn\."),
    Layout("a ViT", r"\bblocks\.\d+\.attn\."),
    Layout("timm's ConvNeXt", r"\bstages\.\d+\.blocks\.\d+\.conv_dw\."),
    Layout("a ResNet", r"\blayer1\.0\.conv1\."),
)


def translated(keys: Iterable[str], own: Collection[str]) -> dict[str, str]:
    """Each key, and what it is called after the rules of every layout that is recognised among them.

    Args:
        keys: of one network, without a prefix.
        own: the model's keys, which stay as they are.
    """
    names = {key: key for key in keys}
    for layout in LAYOUTS:
        if layout.rules and any(re.search(layout.mark, name) for name in names.values()):
            names = {key: name if name in own else _by(layout.rules, name) for key, name in names.items()}
    return names


def shared(keys: Collection[str], own: Collection[str]) -> int:
    """How many of a model's own keys are among `keys`; 0 where these are too few to be those of such a model.

    A model of another depth has at least half of the shorter one's; a block of another network has a few by chance.
    """
    count = len(set(own).intersection(keys))
    return count if count >= max(0.5 * min(len(own), len(keys)), 0.1 * len(own)) else 0


def look(keys: Collection[str]) -> str:
    """What keys look like, for a message: ``look like those of a ResNet (conv1.…, bn1.…, layer1.…)``."""
    found = next((each.name for each in LAYOUTS if any(re.search(each.mark, key) for key in keys)), None)
    return f"look like those of {found} ({begin(keys)})" if found else f"begin {begin(keys)}"


def begin(keys: Iterable[str]) -> str:
    """The first three words that keys begin with."""
    return ", ".join(list(dict.fromkeys(re.sub(r"\..*", ".…", key) for key in keys))[:3])


def _by(rules: Iterable[tuple[str, str]], name: str) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name
