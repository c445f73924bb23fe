"""The benchmarks' resolved settings against one table of facts about the official code.

Sources: train_script/*.sh, main.py and augmentations.py of general_distillation; configs/frozen_vfms and
configs/_base_ of task_learning (Younger-hua/GKD, commit da68631).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.config_check import UnbuiltStage
from gkd_lightning.chain.judging.plan_report import evaluation_config
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.data import TargetDataModule
from gkd_lightning.data.sampling import steps_per_epoch
from gkd_lightning.recipes.benchmark import load_benchmark
from gkd_lightning.recipes.datasets import build_dataset, dataset_specs
from gkd_lightning.recipes.fragments import compose, get_value
from gkd_lightning.recipes.yaml_text import dump_yaml, interpolate
from gkd_lightning.segment.pyramid import default_blocks

DISTILL_AUGMENTATION = {
    "scale": [0.08, 1.0],
    "ratio": [3 / 4, 4 / 3],
    "interpolation": "bicubic",
    "flip": 0.5,
    "rand_augment": "rand-m9-mstd0.5-inc1",
    "erasing": 0.25,
    "erasing_mode": "pixel",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "reduced_decoding": False,
    "on_device": False,
}
SEGMENT_AUGMENTATION = {
    "short_edges": [],  # sixteen from 256 to 1024: tests/golden/test_data.py
    "longest_edge": 0,  # four times the crop: 2048
    "largest_class": 0.75,
    "flip": 0.5,
    "distortion": 0.5,
    "brightness": 32,
    "contrast": [0.5, 1.5],
    "saturation": [0.5, 1.5],
    "hue": 18,
}
STAGE_1 = {
    "model.alpha": 1.0,
    "model.beta": 1.0,
    "model.gamma": 1.0,
    "model.variant": "official",
    "model.alignment": "qsd",
    "model.num_heads": 1,
    "model.attention_scale": 1.0,
    "model.mask_ratio": 0.5,
    "model.mask_probability": 0.5,
    "model.lr": 5e-4,
    "model.reference_batch_size": 512,
    "model.min_lr": 1e-5,
    "model.weight_decay": 0.05,
    "model.schedule": "epoch",
    "model.warmup_steps": 0,
    "model.hand_on": "student",
    "data.repeats": 3,
    "trainer.gradient_clip_val": None,
    "trainer.precision": "bf16-mixed",
}
FACTS: dict[str, dict[str, Any]] = {
    "task_agnostic": {
        **STAGE_1,
        "model.teacher.image_size": 224,
        "model.teacher.patch_size": 14,
        "model.student.image_size": 224,
        "model.student.patch_size": 14,
        "data.image_size": 224,
        "data.batch_size": 512,
        "data.augmentation": DISTILL_AUGMENTATION,
        "trainer.max_epochs": 100,
    },
    "domain_agnostic": {
        **STAGE_1,
        "model.teacher.image_size": 512,
        "model.teacher.patch_size": 16,
        "model.student.image_size": 512,
        "model.student.patch_size": 16,
        "data.image_size": 512,
        "data.batch_size": 128,
        "data.view": "distillation",
        "data.distill_augmentation": DISTILL_AUGMENTATION,
        "trainer.max_epochs": 300,
    },
    "task": {
        "model.encoder.image_size": 512,
        "model.encoder.patch_size": 16,
        "model.freeze_encoder": True,
        "model.lr": 1e-4,
        "model.weight_decay": 0.05,
        "model.window": 512,
        "model.stride": 341,
        "model.blocks": None,  # the four of `test_the_four_blocks`
        "model.scales": [4, 2, 1, 0.5],
        "model.head.hidden_dim": 256,
        "model.head.encoder_layers": 6,
        "model.head.decoder_layers": 9,
        "model.head.encoder_ffn": 1024,
        "model.head.decoder_ffn": 2048,
        "model.head.queries": 100,
        "model.head.points": 12544,
        "model.head.no_object_weight": 0.1,
        "model.head.class_weight": 2.0,
        "model.head.mask_weight": 5.0,
        "model.head.dice_weight": 5.0,
        "data.image_size": 512,
        "data.batch_size": 4,
        "data.view": "segmentation",
        "data.repeats": 1,
        "data.segment_augmentation": SEGMENT_AUGMENTATION,
        "trainer.max_steps": 40_000,
        "trainer.precision": "32-true",
        "trainer.devices": 1,
        "trainer.gradient_clip_val": None,
    },
}
CLASSES = {"potsdam": 6, "rescuenet": 5, "loveda_urban": 7, "loveda_rural": 7, "openearthmap": 8}
STEPS = {"GTAV": 58_200, "Cityscapes": 6_600, "Potsdam": 7_800, "ImageNet": 250_200}
"""Of stage 1 on each source that the authors' scripts know: epochs with repeated augmentation, whole batches."""
EFFECTIVE_RATE = {"task_agnostic": 5e-4, "domain_agnostic": 1.25e-4}
SIZES = {
    "cityscapes": (1024, 512), "bdd100k": (1280, 720), "mapillary": (1024, 512),
    "acdc-night": (960, 540), "acdc-snow": (960, 540), "acdc-fog": (960, 540), "acdc-rain": (960, 540),
    "potsdam-rgb": (512, 512), "potsdam-irrg": (512, 512), "vaihingen-irrg": (512, 512), "rescuenet": (512, 512),
}  # fmt: skip
"""Boxes that images are fitted into (task_learning/configs/_base_/datasets)."""
WHOLE = ("loveda_urban", "loveda_rural", "openearthmap")
"""Judged on images as they are: the official repository knows no size for them."""
SEEN = {
    "cityscapes_bdd_mapillary": ["cityscapes"], "gtav_synthia_urbansyn_cityscapes": ["cityscapes"],
    "cityscapes": ["cityscapes"], "potsdam": ["potsdam-rgb"],
    "loveda_urban": ["loveda-urban"], "loveda_rural": ["loveda-rural"],
    "openearthmap": ["openearthmap-source"],
}  # fmt: skip
"""Domains beside the unseen ones: clean Cityscapes, which the means exclude, and the scene or regions of the source."""

PARTS = [(family, part) for family in ("f2l", "f2f") for part in load_benchmark(family)]


RESOLVED: dict[str, dict[str, Any]] = {}
"""By text: recipes share stages."""


def resolved(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    text = dump_yaml(config)
    if text not in RESOLVED:
        path = folder / "stage.yaml"
        path.write_text(text)
        RESOLVED[text] = UnbuiltStage(["--config", str(path)]).plain_config()
    return RESOLVED[text]


@pytest.fixture
def plan(request: pytest.FixtureRequest, tmp_path: Path, empty_data: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("GKD_DATA", str(empty_data))
    return make_plan(request.param.recipe, tmp_path / "out")


@pytest.mark.parametrize(
    ("plan", "name"),
    [(part, part.name) for _, part in PARTS],
    ids=[f"{f}/{p.name}" for f, p in PARTS],
    indirect=["plan"],
)
def test_every_stage_has_the_official_values(plan: Plan, name: str, tmp_path: Path) -> None:
    for stage in plan.stages:
        config = resolved(compose([], base=stage.config), tmp_path)
        wanted = dict(FACTS[stage.name])
        if stage.name == "task":
            wanted["model.num_classes"] = CLASSES.get(name, 19)
        else:
            rate = config["model"]["init_args"]["lr"] * config["data"]["init_args"]["batch_size"] / 512
            assert rate == pytest.approx(EFFECTIVE_RATE[stage.name])
            dataset = build_dataset(name, "dataset", config["data"]["init_args"]["dataset"])
            if (source := type(dataset).__name__) in STEPS:
                images = dataset.card.counts["train"]  # type: ignore[attr-defined]
                epoch = steps_per_epoch(images, config["data"]["init_args"]["batch_size"], 3)
                assert epoch * config["trainer"]["max_epochs"] == STEPS[source]
        found = {key: get_value(config, key) for key in wanted}
        assert found == wanted, stage.title
        rule = "bicubic-offset" if stage.name == "task_agnostic" else "bicubic"
        who = "model.encoder" if stage.name == "task" else "model.teacher"
        assert get_value(config, f"{who}.resize") == (rule if stage.name != "task" else "bicubic")


@pytest.mark.parametrize(
    ("plan", "name"),
    [(part, part.name) for _, part in PARTS],
    ids=[f"{f}/{p.name}" for f, p in PARTS],
    indirect=["plan"],
)
def test_every_evaluation_is_the_official_one(plan: Plan, name: str) -> None:
    config = interpolate(evaluation_config(plan, "segmenter.safetensors"))
    arguments = config["data"]["init_args"]
    preset = "full-resolution" if name in WHOLE else "gkd-official"
    assert arguments["protocol"] == preset
    assert arguments.get("seen", []) == SEEN.get(name, [])
    assert config["trainer"]["precision"] == "32-true"
    domains: Any = {key: build_dataset(name, key, spec) for key, spec in dataset_specs(config).items()}
    module = TargetDataModule(domains, arguments.get("seen"), protocol=preset)
    for domain in module.domain_names:
        protocol = module.protocol_of(domain)
        rule = ("none", None) if name in WHOLE else ("fit", SIZES[domain])
        assert (protocol.resize, protocol.size) == rule, domain


def test_the_four_blocks() -> None:
    assert default_blocks(12) == [3, 5, 7, 11]
    assert default_blocks(24) == [7, 11, 15, 23]


def test_the_source_of_1b_is_that_of_the_task() -> None:
    for _, part in PARTS:
        stages = part.recipe.common_stages
        assert stages["domain_agnostic"] == stages["task"]
