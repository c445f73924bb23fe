"""Every number that a configuration may hold x {nan, inf, -1, 0, huge, a word}: what `gkd run --dry-run` says."""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cli.warm import Case

SMALL = {
    "name": "vit_tiny_patch16_224",
    "image_size": 32,
    "patch_size": 8,
    "options": {"embed_dim": 32, "depth": 4, "num_heads": 2},
}
HEAD = {
    "hidden_dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 4,
    "encoder_ffn": 32,
    "decoder_ffn": 32,
    "queries": 8,
    "points": 64,
}
TRAINER = {"max_steps": 2, "max_epochs": -1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False}


def built(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"gkd_lightning.{name}", "init_args": arguments}


GAME = built("data.MiniCity", style="game", size=8)
FOG = built("data.Corrupted", dataset=built("data.MiniCity", style="val", size=2), corruption="fog")
JPEG = built("data.CommonCorrupted", dataset=built("data.MiniCity", style="val", size=2), corruption="jpeg")
TWICE = built("data.Joined", datasets=[built("data.MiniCity", style="game", size=8)], repeats=[2])
PROBE = built("chain.callbacks.ProbeStudent", train=GAME, val={"val": GAME})
PROXY = built(
    "data.ProxyDataModule", dataset=built("data.MiniCityShapes", size=8), image_size=[32, 40], batch_size=[4, 2]
)
SOURCE = built(
    "data.SourceDataModule",
    dataset=GAME, view="segmentation", image_size=32, batch_size=4, val={"fog": FOG, "jpeg": JPEG, "twice": TWICE},
)  # fmt: skip
SINGLE = {"teacher": SMALL, "encoder": SMALL, "num_classes": 8, "head": HEAD, "window": 32, "stride": 32}


def single(term: str, **arguments: Any) -> dict[str, Any]:
    return {
        "model": built("baselines.SingleStageDistillation", term=built(f"baselines.{term}", **arguments), **SINGLE),
        "data": SOURCE,
        "trainer": TRAINER,
    }


def before(objective: str, **arguments: Any) -> dict[str, Any]:
    objective_of_it = built(f"baselines.{objective}", **arguments)
    model = built("distill.Distillation", teacher=SMALL, student=SMALL, objective=objective_of_it, schedule="step")
    return {"model": model, "data": PROXY, "trainer": TRAINER}


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "distil": {
        "model": built("distill.DomainGeneralDistillation", teacher=SMALL, student=SMALL, schedule="step"),
        "data": PROXY,
        "trainer": {**TRAINER, "callbacks": [PROBE]},
    },
    "task": {
        "model": built(
            "segment.TaskLearning",
            encoder=SMALL, num_classes=8, head=HEAD, low_rank={"rank": 2}, window=32, stride=32, blocks=[0, 1, 2, 3],
        ),
        "data": SOURCE,
        "trainer": TRAINER,
    },
    "heads": {
        "model": built(
            "segment.TaskLearning",
            encoder=SMALL, num_classes=8, head=built("segment.SegformerHead", width=32, losses={"dice": 1.0}),
            window=32, stride=32,
        ),
        "data": SOURCE,
        "trainer": TRAINER,
    },
    "encoder_only": {
        "model": built(
            "segment.TaskLearning",
            encoder=SMALL, num_classes=8, head=built("segment.EncoderOnlyHead", queries=8, blocks=1, points=64),
            window=32, stride=32,
        ),
        "data": SOURCE,
        "trainer": TRAINER,
    },
    "refined": {
        "model": built(
            "segment.TaskLearning",
            encoder=SMALL, num_classes=8, head=HEAD, refinement={"tokens": 5, "rank": 2}, window=32, stride=32,
        ),
        "data": SOURCE,
        "trainer": TRAINER,
    },
    "mse": single("FeatureMSE"),
    "cwd": single("CWD"),
    "cirkd": single("CIRKD", logit_weight=0),
    "afdcd": single("AfDCD", logit_weight=0, groups=16, pool=1, patch=4),
    "vitkd": single("ViTKD"),
    "proteus": before("Proteus"),
    "tinymim": before("TinyMIM"),
    "g2sd": before("G2SD", dim=32, depth=1, heads=4),
}  # fmt: skip
"""A recipe of one stage each. The first two are walked whole, of the others what is the method's own."""
OWN = ("model.term", "model.objective", "model.head", "model.refinement")
METHODS = [name for name in CONFIGURATIONS if name not in ("distil", "task")]

VALUES: dict[str, Any] = {"nan": float("nan"), "inf": float("inf"), "-1": -1, "0": 0, "huge": 10**30, "a word": "text"}


def template(folder: Path) -> Path:
    """A recipe and a configuration for every one of them."""
    for name, config in CONFIGURATIONS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        recipe = {"name": name, "methods": {"one": {"stages": [{"name": "stage", "configs": [f"{name}.yaml"]}]}}}
        (folder / f"{name}_recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def parsed(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With the defaults of every class that it names."""
    from gkd_lightning.chain.config_check import UnbuiltStage

    path = folder / "parsed.yaml"
    path.write_text(yaml.safe_dump(config))
    found: dict[str, Any] = UnbuiltStage(["--config", str(path)]).config.as_dict()
    path.unlink()
    return found


def hints_of(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if "__init__" in vars(base):
            found |= typing.get_type_hints(vars(base)["__init__"])
    return found


def kinds(hint: Any) -> set[Any]:
    """All that an annotation names."""
    inner = typing.get_args(hint)
    return {hint} | {kind for each in inner for kind in kinds(each)} if inner else {hint}


def numbers(value: Any, hint: Any, key: str, owner: str = "") -> Iterator[tuple[str, Any, str]]:
    """Key, value, and class with argument of what a signature says is a number, or a few, inside a parsed value."""
    if isinstance(value, dict):
        kind, arguments = hint, value
        if "class_path" in value:
            module, _, name = value["class_path"].rpartition(".")
            kind, arguments = getattr(__import__(module, fromlist=[name]), name), value.get("init_args") or {}
        options = [each for each in kinds(kind) if isinstance(each, type) and each.__module__.startswith("gkd_")]
        hints = hints_of(options[0]) if options else {}
        for name, item in arguments.items():
            place = f"{options[0].__name__}.{name}" if name in hints else key
            yield from numbers(item, hints.get(name, kind), f"{key}.{name}", place)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from numbers(item, None, f"{key}[{place}]", owner)
    elif {int, float} & kinds(hint) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield key, value, owner


def setting(config: dict[str, Any], key: str, value: Any) -> str:
    """`key=value` for `--set`; a list of objects on the way is written out whole."""
    if "[" in key:
        path, _, rest = key.partition("[0].")
        section, name = path.split(".")
        objects = copy.deepcopy(config[section][name])
        *steps, last = rest.split(".")
        node = objects[0]["init_args"]
        for step in steps:
            node = node[step].get("init_args", node[step])
        node[last] = value
        key, value = path, objects
    return f"{key}={yaml.safe_dump(value, default_flow_style=True, width=10**6).splitlines()[0]}"


def needles(key: str) -> list[str]:
    """What the line has to name: the key, of values that the parser knows by type alone the section and the end."""
    if ".options." in key or ".val." in key:
        return [".".join(key.split(".")[:2]), key.rpartition(".")[2]]
    return [key.replace("[0]", "")]


def cases(folder: Path) -> Iterator[Case]:
    """Each argument of each class once; values that are no mistake in turns of a few."""
    seen: set[str] = set()
    for name, config in CONFIGURATIONS.items():
        whole = parsed(config, folder)
        command = ["run", f"{name}_recipe.yaml", "--out", "run", "--dry-run"]
        taken: dict[str, str] = {}
        for section in ("model", "data", "trainer"):
            for key, value, owner in numbers(whole[section], None, section):
                if owner in seen or (section == "trainer" and "callbacks" not in key) or key == "data.seed":
                    continue
                if name in METHODS and not key.startswith(
                    ("model.term", "model.objective", "model.head", "model.refinement")
                ):
                    continue  # its base class has them
                seen.add(owner)
                for kind, bad in VALUES.items():
                    if name in METHODS and kind != "-1":
                        continue  # the same types, held by the same code
                    given = [bad, *list(value)[1:]] if isinstance(value, list | tuple) and bad != "text" else bad
                    what, change = f"{owner}: {kind}", setting(config, key, given)
                    if any(what in accepted for accepted in ACCEPTED.values()):
                        taken[what] = change
                    else:
                        yield Case(what, [*command, "--set", change], needles(key))
        for turn in range(min(TURNS, len(taken))):  # neighbours apart: not all of a sum's weights may be 0
            names = list(taken)[turn::TURNS]
            assert len({taken[each].partition("=")[0] for each in names}) == len(names), "one would hide another"
            settings = [f"--set={taken[each]}" for each in names]
            yield Case(f"{name}: {', '.join(names)}", [*command, *settings], accepted="each has a meaning")


TURNS = 5
"""Commands that give all accepted values of a configuration."""

ACCEPTED: dict[str, set[str]] = {
    "0 leaves a term, a decay, a ramp, a distortion or an average out": {
        f"{name}: 0"
        for name in (
            "DomainGeneralDistillation.alpha", "DomainGeneralDistillation.beta", "DomainGeneralDistillation.gamma",
            "DomainGeneralDistillation.min_lr", "DomainGeneralDistillation.weight_decay",
            "DomainGeneralDistillation.warmup_steps", "DomainGeneralDistillation.ema_decay",
            "TaskLearning.weight_decay", "TaskLearning.weight_decay_end", "TaskLearning.encoder_lr_scale",
            "TaskLearning.last_blocks",
            "Mask2FormerConfig.no_object_weight", "Mask2FormerConfig.class_weight", "Mask2FormerConfig.mask_weight",
            "Mask2FormerConfig.dice_weight", "Mask2FormerConfig.encoder_layers", "Mask2FormerConfig.importance",
            "PixelLosses.cross_entropy", "PixelLosses.ohem", "PixelLosses.dice", "PixelLosses.boundary",
            "PixelLosses.ohem_min_kept", "SegformerHead.dropout", "DistillAugmentation.flip",
            "DistillAugmentation.erasing", "DistillAugmentation.std", "SegmentAugmentation.flip",
            "SegmentAugmentation.distortion", "SegmentAugmentation.brightness", "SegmentAugmentation.hue",
            "ProbeStudent.ridge",
        )
    },
    "0 is a grey level, a share or a factor": {
        f"{name}: 0"
        for name in (
            "DistillAugmentation.mean", "SegmentAugmentation.contrast", "SegmentAugmentation.saturation",
            "SegmentAugmentation.largest_class", "Mask2FormerConfig.score_threshold",
            "Mask2FormerConfig.overlap_threshold",
        )
    },
    "0 is the first image, block or seed": {
        f"{name}: 0"
        for name in (
            "MiniCityShapes.offset", "MiniCityShapes.seed", "MiniCity.offset", "MiniCity.seed", "Corrupted.seed",
            "CommonCorrupted.seed",
            "TaskLearning.blocks", "LowRank.first_block",
        )
    },
    "0 means never, none or the default": {
        f"{name}: 0"
        for name in (
            "DomainGeneralDistillation.health_every_n_steps", "ProbeStudent.every_n_steps",
            "ProxyDataModule.num_workers", "SourceDataModule.num_workers", "SegmentAugmentation.longest_edge",
        )
    },
}  # fmt: skip
"""Why a value is no mistake -> arguments and kinds."""
