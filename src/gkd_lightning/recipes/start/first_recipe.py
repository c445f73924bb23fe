"""The files of a first recipe: sizes, crops, steps and batches from the images and the device, written as YAML."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gkd_lightning.errors import UserError
from gkd_lightning.files import write_text
from gkd_lightning.recipes.fragments import find_fragment
from gkd_lightning.recipes.start.label_kinds import Labels
from gkd_lightning.recipes.start.parts import Found
from gkd_lightning.recipes.yaml_text import dump_yaml, read_yaml

Scale = Literal["gpu", "cpu", "trial"]
CORRUPTIONS = ("night", "fog", "rain", "snow", "blur", "noise")


@dataclass(frozen=True)
class _Budget:
    side: int
    batch: int
    proxy_steps: int
    source_steps: int
    task_steps: int
    task_batch: int
    teacher: str
    student: str
    edge: str | None
    trainer: str
    head: Literal["small", "official"]


BUDGETS: dict[Scale, _Budget] = {
    "gpu": _Budget(224, 64, 20_000, 5_000, 20_000, 8, "teacher/dinov2_b.yaml", "student/deit_s.yaml",
                   "student/mobilenetv4_s.yaml", "trainer/gpu.yaml", "official"),
    "cpu": _Budget(128, 16, 1_000, 300, 800, 16, "teacher/dinov2_s.yaml", "student/vit_light.yaml",
                   None, "trainer/cpu.yaml", "small"),
    "trial": _Budget(96, 8, 20, 10, 20, 8, "teacher/minicity.yaml", "student/minicity_tiny.yaml",
                     None, "trainer/cpu.yaml", "small"),
}  # fmt: skip
"""``trial`` needs no download: MiniCity's own small teacher, and steps that only show that all of it runs."""


@dataclass
class FirstRecipe:
    """What a first recipe is made of.

    Attributes:
        name: of the recipe.
        source: the labelled images that train.
        held_out: labelled images of the same domain that judge.
        size: median (height, width) of the source's images.
        labels: what the labels hold.
        proxy: folders of images without labels; None leaves stage 1a out.
        targets: labelled images of other domains by name; without any the held-out ones are corrupted.
        scale: what it is for.
        edge: take the smaller student.
        teacher: a fragment, in the place of the scale's.
        student: the same.
    """

    name: str
    source: Found
    held_out: Found
    size: tuple[int, int]
    labels: Labels
    proxy: list[str] | None = None
    targets: dict[str, Found] = field(default_factory=dict)
    scale: Scale = "gpu"
    edge: bool = False
    teacher: str | None = None
    student: str | None = None

    @property
    def budget(self) -> _Budget:
        """Of the scale."""
        return BUDGETS[self.scale]

    @property
    def teacher_fragment(self) -> str:
        """The one that teaches."""
        return self.teacher or self.budget.teacher

    @property
    def student_fragment(self) -> str:
        """The one that learns."""
        return self.student or (self.edge and self.budget.edge) or self.budget.student

    @property
    def crop(self) -> int:
        """Side of the squares of stages 1b and 2: up to 512 pixels on a GPU, whole patches, inside most images."""
        step = math.lcm(32, _patch(read_yaml(find_fragment(self.student_fragment))) or 32)
        wanted = 512 if self.scale == "gpu" else self.budget.side
        return max(self.budget.side // step * step, min(wanted, min(self.size)) // step * step, step)

    @property
    def judged_size(self) -> tuple[int, int] | None:
        """(width, height) that images are scaled to fit for judging; None as they are.

        The crop is half to all of an image's short edge there, as in training.
        """
        height, width = self.size
        scale = 2 * self.crop / min(height, width)
        return None if scale >= 1 else (round(width * scale), round(height * scale))


def write_first_recipe(recipe: FirstRecipe, folder: Path) -> Path:
    """Write `recipe.yaml`, the data fragments, README.md and .gitignore; returns the recipe's path.

    Raises:
        UserError: an unknown fragment, or a folder that holds a recipe already.
    """
    path = folder / "recipe.yaml"
    if path.exists():
        raise UserError(f"{path}: exists; give another folder, or remove it")
    for found in (recipe.source, recipe.held_out):
        if found.list_file is not None:
            write_text(folder / found.list_file, "".join(f"{name}\n" for name in found.names))
    parts = {
        "source.yaml": ("Labelled images that train; stage 1b opens the images alone", _source(recipe, folder)),
        "targets.yaml": ("What judges: held-out images of the source, and domains that were never seen",
                         _targets(recipe, folder)),
    }  # fmt: skip
    if recipe.proxy is not None:
        parts["proxy.yaml"] = ("Images without labels for stage 1a", _proxy(recipe))
    for name, (comment, value) in parts.items():
        write_text(folder / name, f"# {comment}\n{dump_yaml(value)}")
    write_text(path, f"# Written by `gkd init`; every value is yours to change\n{dump_yaml(_recipe(recipe))}")
    write_text(folder / "README.md", _readme(recipe, folder))
    write_text(folder / ".gitignore", "runs/\n")
    return path


def _folder(recipe: FirstRecipe, found: Found, folder: Path) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "images": str(Path(found.images).resolve()),
        "labels": str(Path(found.labels).resolve()),
        "classes": recipe.labels.classes,
        **recipe.labels.settings,
    }
    if found.annotated is not None:
        arguments |= found.annotated
    else:
        arguments |= {"image_suffix": found.pairing.image_suffix, "label_suffix": found.pairing.label_suffix}
    if found.list_file is not None:
        arguments["list_file"] = str((folder / found.list_file).resolve())
    elif found.pairing.without and not arguments.get("background_only"):
        arguments["skip_unlabelled"] = True
    kind = "FolderSegmentation" if found.annotated is None else "AnnotatedImages"
    return {"class_path": f"gkd_lightning.data.{kind}", "init_args": arguments}


def _source(recipe: FirstRecipe, folder: Path) -> dict[str, Any]:
    val = {"home": _folder(recipe, recipe.held_out, folder)}
    dataset = _folder(recipe, recipe.source, folder)
    return {"data": {"init_args": {"image_size": recipe.crop, "dataset": dataset, "val": val, **_protocol(recipe)}}}


def _targets(recipe: FirstRecipe, folder: Path) -> dict[str, Any]:
    home = _folder(recipe, recipe.held_out, folder)
    domains = {"home": home, **{name: _folder(recipe, found, folder) for name, found in recipe.targets.items()}}
    if not recipe.targets:
        for corruption in CORRUPTIONS:
            arguments = {"dataset": home, "corruption": corruption, "severity": 3}
            domains[corruption] = {"class_path": "gkd_lightning.data.Corrupted", "init_args": arguments}
    inner = {"seen": ["home"], "domains": domains, **_protocol(recipe)}
    return {"data": {"class_path": "gkd_lightning.data.TargetDataModule", "init_args": inner}}


def _protocol(recipe: FirstRecipe) -> dict[str, Any]:
    size = recipe.judged_size
    return {} if size is None else {"protocol": {"resize": "fit", "size": list(size)}}


def _proxy(recipe: FirstRecipe) -> dict[str, Any]:
    roots = [str(Path(root).resolve()) for root in recipe.proxy or []]
    dataset = {"class_path": "gkd_lightning.data.ProxyImages", "init_args": {"root": roots}}
    return {"data": {"init_args": {"image_size": recipe.budget.side, "dataset": dataset}}}


def _recipe(recipe: FirstRecipe) -> dict[str, Any]:
    budget, student = recipe.budget, recipe.student_fragment
    pair = [{"model.teacher": recipe.teacher_fragment}, {"model.student": student}]
    source: list[Any] = ["data/segmentation_view.yaml", "source.yaml"]
    task = ["stage/task.yaml" if budget.head == "official" else "stage/task_small.yaml", *source]
    task = [*task, {"model.encoder": student}]
    joint = "stage/joint.yaml" if budget.head == "official" else "stage/joint_small.yaml"
    stages: list[dict[str, Any]] = []
    if recipe.proxy is not None:
        configs = ["stage/task_agnostic_small.yaml", "method/gkd_scaled.yaml", "proxy.yaml", *pair]
        stages.append({"name": "task_agnostic", "configs": configs, "set": _distillation(recipe, budget.side)})
    configs = ["stage/domain_agnostic_small.yaml", "method/gkd_scaled.yaml", "source.yaml", *pair]
    stages.append({"name": "domain_agnostic", "configs": configs, "set": _distillation(recipe, recipe.crop)})
    if recipe.proxy is None:  # the first stage then, at its full rate
        stages[-1]["set"]["model.lr"] = 5.0e-4
    stages.append({"name": "task", "configs": task, "set": _task(recipe)})
    steps = {"task_agnostic": budget.proxy_steps if recipe.proxy is not None else 0, "task": budget.task_steps}
    steps["domain_agnostic"] = budget.source_steps if recipe.proxy is not None else budget.proxy_steps
    none = {"name": "joint", "configs": [*task, joint, "method/none.yaml"], "set": _task(recipe)}
    settings = {f"{name}:trainer.max_steps": count for name, count in steps.items() if count}
    return {
        "name": recipe.name,
        "title": recipe.name + (", a trial whose scores say nothing" if recipe.scale == "trial" else ""),
        "common": {
            "configs": [budget.trainer],
            "set": {**settings, "joint:trainer.max_steps": sum(steps.values())},
        },
        "methods": {
            "gkd": {"title": "GKD", "stages": stages},
            "none": {"title": "No distillation", "role": "none", "stages": [none]},
        },
        "evaluate": {"configs": [budget.trainer, "targets.yaml"]},
    }


def _distillation(recipe: FirstRecipe, side: int) -> dict[str, Any]:
    settings: dict[str, Any] = {"data.image_size": side, "data.batch_size": recipe.budget.batch}
    patch = _patch(read_yaml(find_fragment(recipe.student_fragment))) or 16
    for part, fragment in (("teacher", recipe.teacher_fragment), ("student", recipe.student_fragment)):
        settings[f"model.{part}.image_size"] = side
        own = _patch(read_yaml(find_fragment(fragment)))
        if own is not None and side % own:  # a teacher of 14-pixel patches beside a student of 16
            settings[f"model.{part}.patch_size"] = max(patch, 16)
    return settings


def _task(recipe: FirstRecipe) -> dict[str, Any]:
    side = recipe.crop
    settings: dict[str, Any] = {
        "model.encoder.image_size": side,
        "model.num_classes": recipe.labels.number,
        "model.window": side,
        "model.stride": max(1, side * 2 // 3),
        "data.image_size": side,
        "data.batch_size": recipe.budget.task_batch,
    }
    patch = _patch(read_yaml(find_fragment(recipe.student_fragment)))
    if patch is not None:  # levels of stride 4 to 32
        settings["model.encoder.patch_size"] = patch
        settings["model.scales"] = [patch / 4, patch / 8, patch / 16, patch / 32]
    steps = recipe.budget.task_steps
    epoch = max(1, len(recipe.source.names) // recipe.budget.task_batch)
    settings["trainer.check_val_every_n_epoch"] = max(1, math.ceil(steps / epoch / 4))
    return settings


def _patch(fragment: Mapping[str, Any]) -> int | None:
    """Pixels of a plain transformer's patch, as the fragment or timm's name says; None for a hierarchical network."""
    if "patch_size" in fragment:
        return int(fragment["patch_size"])
    told = re.search(r"patch(\d+)", str(fragment.get("name", "")))
    return int(told[1]) if told and "swin" not in fragment["name"] else None


def _readme(recipe: FirstRecipe, folder: Path) -> str:
    judges = ", ".join(recipe.targets) or f"corruptions of the held-out images ({', '.join(CORRUPTIONS)})"
    proxy = "none: stage 1a is left out" if recipe.proxy is None else ", ".join(recipe.proxy)
    lines: Sequence[str] = [
        f"# {recipe.name}",
        "",
        f"- Source: {len(recipe.source.names)} labelled images; {recipe.labels.told}",
        f"- Held out: {len(recipe.held_out.names)} images of the same domain",
        f"- Judged on: {judges}",
        f"- Proxy: {proxy}",
        f"- Teacher `{recipe.teacher_fragment}`, student `{recipe.student_fragment}`, crops of {recipe.crop} pixels",
        "",
        "```bash",
        f"gkd data check --config {folder / 'source.yaml'}   # every image and label once, with a contact sheet",
        f"gkd run {folder / 'recipe.yaml'} --dry-run       # parameters, operations, memory",
        f"gkd run {folder / 'recipe.yaml'}                 # all stages, evaluation, report; resumable",
        "```",
        "",
    ]
    return "\n".join(lines)
