"""Every kind of bad input: exit status 2, one line on stderr that names the culprit, an unchanged output folder."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gkd_lightning.cli import _resume_command, main
from gkd_lightning.cli.failure import message_and_status
from tests.evaluate.builders import results, run

STUDENT = (
    "{name: vit_tiny_patch16_224, image_size: 32, patch_size: 8, options: {embed_dim: 32, depth: 4, num_heads: 2}}"
)
TRAINER = """
trainer: {max_steps: 3, max_epochs: -1, accelerator: cpu, devices: 1, enable_progress_bar: false}
"""
DISTILL = f"""
model:
  class_path: gkd_lightning.distill.DomainGeneralDistillation
  init_args:
    teacher: {STUDENT}
    student: {STUDENT}
    schedule: step
data:
  class_path: gkd_lightning.data.ProxyDataModule
  init_args:
    dataset: {{class_path: gkd_lightning.data.ProxyImages, init_args: {{root: images}}}}
    image_size: 32
    batch_size: 4
{TRAINER}"""
TASK = f"""
model:
  class_path: gkd_lightning.segment.TaskLearning
  init_args:
    encoder: {STUDENT}
    num_classes: 3
    head: {{hidden_dim: 32, encoder_layers: 1, decoder_layers: 1, heads: 4, encoder_ffn: 32, decoder_ffn: 32,
           queries: 8, points: 64}}
    window: 32
    stride: 32
data:
  class_path: gkd_lightning.data.SourceDataModule
  init_args:
    view: segmentation
    dataset:
      class_path: gkd_lightning.data.FolderSegmentation
      init_args: {{images: images, labels: labels, classes: [a, b, c]}}
    image_size: 32
    batch_size: 4
{TRAINER}"""
RECIPE = """
name: study
common: {configs: [task.yaml]}
methods: {one: {stages: [{name: task}]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six images with labels, a configuration per stage and a recipe; the working folder of the test."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(rng.integers(0, 3, (40, 40), dtype=np.uint8)).save(tmp_path / f"labels/{index}.png")
    (tmp_path / "distill.yaml").write_text(DISTILL)
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "study.yaml").write_text(RECIPE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("from an earlier run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of a module that is here: Python's files, not ours
    monkeypatch.delenv("GKD_NOWHERE", raising=False)
    return tmp_path


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def bad_label(folder: Path) -> None:
    for index in range(6):
        Image.fromarray(np.full((40, 40), 7, np.uint8)).save(folder / f"labels/{index}.png")


def strange_weights(folder: Path) -> None:
    save_file({"some.weight": torch.zeros(2)}, folder / "strange.safetensors")


def pickled(name: str) -> Callable[[Path], None]:
    return write(name, pickle.dumps({"weight": [1.0]}))


def other_checkpoint(folder: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}, "pytorch-lightning_version": "2.6.6"}, folder / "other.ckpt")


def judged(folder: Path) -> None:
    """`results.json` of three methods, one of them judged differently in `other.json`."""
    results(seeds=1).save(folder / "results.json")
    results({}, runs=[run("cwd", protocol={"resize": "fit"})]).save(folder / "other.json")


def without_runs(folder: Path) -> None:
    results({}).save(folder / "results.json")


def damaged_counts(folder: Path) -> None:
    judged(folder)
    (folder / "per_image.npz").write_bytes(b"PK")


def students(folder: Path) -> None:
    """A student of 32 channels that a teacher of 48 taught, another without heads, and one with a projection."""
    from tests.chain import artefacts

    artefacts.student(folder / "taught")
    artefacts.student(folder / "plain", alignment=None)
    artefacts.student(folder / "projected", alignment="projection")
    artefacts.teacher_yaml(folder, width=48)
    (folder / "narrow.yaml").write_text("{name: vit_tiny_patch16_224, image_size: 32, patch_size: 8}")


def exchanged(folder: Path) -> None:
    from tests.chain import artefacts

    students(folder)  # of the same weights, whose files may be the same too
    other = artefacts.student(folder / "other", width=16)
    (folder / "plain/heads.safetensors").write_bytes((other / "heads.safetensors").read_bytes())


def nothing(folder: Path) -> None:
    """No preparation."""


FIT = ["fit", "--trainer.default_root_dir", "out", "--config"]
PREDICT = ["predict", "--out", "out"]
CHECK = ["data", "check", "--out", "out"]
RUN = ["run", "study.yaml", "--out", "out"]
DATA = ["--images", "images", "--labels", "labels"]
TABLE = ["table", "results.json"]
SEGFORMER = "{{class_path: gkd_lightning.segment.SegformerHead, init_args: {{{}}}}}"
LINEAR = '{"class_path": "gkd_lightning.segment.LinearHead", "init_args": {"level": 7}}'
ON_IMAGES = ["--images", "images", "--out", "out"]
ON_DATA = ["--data", "data/minicity_targets.yaml", "--out", "out"]
ATTENTION = ["inspect", "attention", "taught", "--teacher", "teacher.yaml"]

CASES: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    # files and folders
    "missing image folder": (nothing, [*FIT, "distill.yaml", "--data.dataset.root", "nowhere"], ["nowhere"]),
    "empty image folder": (nothing, [*FIT, "distill.yaml", "--data.dataset.root", "out"], ["out", "no image"]),
    "unreadable image": (
        write("images/3.png", b"not a picture"),
        [*FIT, "distill.yaml", "--data.batch_size", "6"],
        ["images/3.png"],
    ),
    "unreadable image in a worker": (
        write("images/3.png", b"not a picture"),
        [*FIT, "distill.yaml", "--data.batch_size", "6", "--data.num_workers", "1"],
        ["images/3.png"],
    ),
    "image without a label": (remove("labels/4.png"), [*FIT, "task.yaml"], ["4.png", "label"]),
    "label id outside the classes": (bad_label, [*FIT, "task.yaml"], ["label id 7", "labels/"]),
    "missing configuration": (nothing, [*FIT, "nowhere.yaml"], ["nowhere.yaml: no such file"]),
    "broken YAML": (write("task.yaml", "model: ["), [*FIT, "task.yaml"], ["task.yaml: line 1"]),
    "a key twice": (replace("task.yaml", "window: 32", "stride: 32"), [*FIT, "task.yaml"],
                    ["'stride' is written twice"]),
    "unset variable": (
        replace("distill.yaml", "root: images", 'root: "${env:GKD_NOWHERE}/x"'),
        [*FIT, "distill.yaml"],
        ["data.dataset.root", "GKD_NOWHERE"],
    ),
    # keys and values
    "unknown key": (replace("distill.yaml", "schedule:", "schedul:"), [*FIT, "distill.yaml"],
                    ["model.schedul: unknown key", "'schedule'"]),
    "settings of no class": (write("task.yaml", "model: {lr: 1}"), [*FIT, "task.yaml"],
                             ["model.class_path: is required", "(lr)"]),
    "arguments of no class": (write("task.yaml", "data: {init_args: {batch_size: 3}}"), [*FIT, "task.yaml"],
                              ["data.class_path: is required", "(batch_size)"]),
    "unknown option": (nothing, [*FIT, "distill.yaml", "--model.alpah", "1"], ["model.alpah", "'alpha'"]),
    "abbreviated option": (nothing, [*FIT, "distill.yaml", "--trainer.max_step", "1"], ["max_step", "'max_steps'"]),
    "unknown section": (replace("task.yaml", "trainer:", "trianer:"), [*FIT, "task.yaml"], ["trianer", "'trainer'"]),
    "unknown key of a head": (replace("task.yaml", "queries", "querries"), [*FIT, "task.yaml"],
                              ["model.head.querries", "'queries'"]),
    "unknown key of another head": (nothing, [*FIT, "task.yaml", "--model.head", LINEAR.replace("level", "levl")],
                                    ["model.head.levl: unknown key", "'level'"]),
    "a head that is none": (nothing, [*FIT, "task.yaml", "--model.head", "torch.nn.Identity"],
                            ["model.head", "torch.nn.Identity", "not", "subclass"]),
    "half a head": (
        write("half.py", "from gkd_lightning.segment import SegmentationHead\n\n\nclass Half(SegmentationHead): ...\n"),
        [*FIT, "task.yaml", "--model.head", '{"class_path": "half.Half"}'],
        ["model.head.class_path: half.Half does not define attach, forward, loss, scores"]),
    "two heads in one": (
        nothing,
        [*FIT, "task.yaml", "--model.head", '{"class_path": "gkd_lightning.segment.LinearHead", "queries": 3}'],
        ["model.head: expected class_path and init_args"],
    ),
    "a head's level that is not there": (nothing, [*FIT, "task.yaml", "--model.head", LINEAR], ["head.level: 7"]),
    "queries linked to too few tokens": (
        nothing, [*FIT, "task.yaml", "--model.refinement", "{tokens: 6, rank: 2, linked: true}"],
        ["model.refinement.tokens: 6 tokens are linked to as many queries, and head.queries is 8"]),
    "no queries to link": (
        nothing, [*FIT, "task.yaml", "--model.head", "gkd_lightning.segment.LinearHead",
                  "--model.refinement", "{tokens: 8, rank: 2, linked: true}"],
        ["model.refinement.linked: LinearHead has no queries to link"]),
    "no decay to anneal": (nothing, [*FIT, "task.yaml", "--model.weight_decay", "0", "--model.weight_decay_end", "0"],
                           ["model.weight_decay_end: there is nothing to anneal"]),
    "no loss left": (nothing, [*FIT, "task.yaml", "--model.head", SEGFORMER.format("losses: {cross_entropy: 0}")],
                     ["model.head: head.losses: all weights are 0"]),
    "class weights of other classes": (
        nothing, [*FIT, "task.yaml", "--model.head", SEGFORMER.format("losses: {class_weights: [1, 2]}")],
        ["head.losses.class_weights: 2 weights, but there are"]),
    "a loss that is none": (nothing, [*FIT, "task.yaml", "--model.head", SEGFORMER.format("losses: {dise: 1}")],
                            ["model.head.losses.dise: unknown key", "'dice'"]),
    "losses without a name": (nothing, [*FIT, "task.yaml", "--model.head", SEGFORMER.format("losses: 3")],
                              ["model.head.losses: expected settings by name (cross_entropy, ohem, "]),
    "a width that groups do not divide": (nothing, [*FIT, "task.yaml", "--model.head", SEGFORMER.format("width: 100")],
                                          ["head.width: 100 must be a multiple of 32"]),
    "a class that is no encoder": (nothing, [*FIT, "task.yaml", "--model.encoder.name", "torch.nn.Linear"],
                                   ["torch.nn.Linear is not derived from"]),
    "an encoder that is nowhere": (nothing, [*FIT, "distill.yaml", "--model.teacher.name", "my_teacher.Mine"],
                                   ["my_teacher.Mine cannot be imported", "timm has no such model"]),
    "wrong type": (nothing, [*FIT, "distill.yaml", "--data.batch_size", "many"], ["data.batch_size", "many"]),
    "unknown device": (nothing, [*FIT, "task.yaml", "--trainer.accelerator", "gpuu"], ["trainer", "gpuu"]),
    "configuration without a file": (nothing, ["fit", "--config"], ["--config"]),
    "unknown choice": (nothing, [*FIT, "distill.yaml", "--model.variant", "offical"], ["model.variant", "offical"]),
    "unknown balance": (nothing, [*FIT, "distill.yaml", "--model.balance", "droping"],
                        ["model.balance: cannot be droping", "'dropping'", "(fixed, magnitude, dropping)"]),
    "a teacher that is nothing": (nothing, [*FIT, "distill.yaml", "--model.teachers", "{near: null}"],
                                  ["model.teachers: expected settings by name (encoder, weight, "]),
    "a stride of a plain transformer": (nothing, [*FIT, "distill.yaml", "--model.teacher.token_stride", "8"],
                                        ["teacher: ", "token_stride: 8 joins the stages of a hierarchical backbone"]),
    "unknown class": (replace("task.yaml", "TaskLearning", "TaskLearnin"), [*FIT, "task.yaml"],
                      ["model.class_path", "TaskLearnin"]),
    "unknown model": (nothing, [*FIT, "task.yaml", "--model.encoder.name", "vit_smal"], ["vit_smal"]),
    "a student without a block": (nothing, [*FIT, "distill.yaml", "--model.student.options", "{depth: 0}"],
                                  ["depth", "without a block"]),
    "no step between checkpoints": (nothing, [*FIT, "distill.yaml", "--resume_every", "0"], ["resume_every", "0"]),
    "weights that cannot all be 0": (
        nothing,
        [*FIT, "distill.yaml", "--model.alpha", "0", "--model.beta", "0", "--model.gamma", "0"],
        ["alpha=0"],
    ),
    "no share": (nothing, [*FIT, "distill.yaml", "--model.mask_ratio", "2"], ["mask_ratio: 2"]),
    "an average that runs away": (nothing, [*FIT, "distill.yaml", "--model.ema_decay", "2"], ["ema_decay: 2"]),
    "heads that do not divide": (nothing, [*FIT, "distill.yaml", "--model.num_heads", "5"], ["num_heads", "32"]),
    "negative rate": (nothing, [*FIT, "distill.yaml", "--model.lr", "-1"], ["lr: -1"]),
    "negative rate of the task": (nothing, [*FIT, "task.yaml", "--model.lr", "-1"], ["lr: -1"]),
    "no probability": (nothing, [*FIT, "task.yaml", "--data.segment_augmentation.flip", "3"],
                       ["segment_augmentation.flip: 3"]),
    # geometry, architecture, checkpoints
    "images without pixels": (nothing, [*FIT, "distill.yaml", "--data.image_size", "0"], ["image_size: 0"]),
    "size off the patch grid": (nothing, [*FIT, "distill.yaml", "--data.image_size", "36"], ["36", "8"]),
    "a batch too few": (nothing, [*FIT, "distill.yaml", "--data.image_size", "[32, 40]", "--data.batch_size", "[4]"],
                        ["batch_size: [4] has 1 entry, image_size 2"]),
    "a batch for each size of one": (nothing, [*FIT, "task.yaml", "--data.batch_size", "[4, 2]"],
                                     ["batch_size: [4, 2] has 2 entries, image_size 1"]),
    "a batch that masks nothing": (
        nothing,
        [*FIT, "distill.yaml", "--data.image_size", "[32, 40]", "--data.batch_size", "[4, 1]"],
        ["mask_probability: 0.5 of a batch of 1"],
    ),
    "batch that cannot be shared": (nothing, [*FIT, "task.yaml", "--trainer.accumulate_grad_batches", "3"],
                                    ["batch_size", "3"]),
    "another number of classes": (nothing, [*FIT, "task.yaml", "--model.num_classes", "19"], ["num_classes: 19", "3"]),
    "a pickle as weights": (pickled("p.safetensors"), [*FIT, "task.yaml", "--model.encoder.weights", "p.safetensors"],
                            ["p.safetensors", "not a readable safetensors"]),
    "weights of another architecture": (
        strange_weights,
        [*FIT, "task.yaml", "--model.encoder.weights", "strange.safetensors"],
        ["strange.safetensors", "not a checkpoint of this"],
    ),
    "missing weights": (nothing, [*FIT, "task.yaml", "--model.encoder.weights", "no.safetensors"], ["no.safetensors"]),
    "missing checkpoint": (nothing, [*FIT, "task.yaml", "--ckpt_path", "no.ckpt"], ["no.ckpt"]),
    "a pickle as checkpoint": (pickled("p.ckpt"), [*FIT, "task.yaml", "--ckpt_path", "p.ckpt"], ["p.ckpt"]),
    "checkpoint of another architecture": (
        other_checkpoint, [*FIT, "task.yaml", "--ckpt_path", "other.ckpt"], ["other.ckpt"],
    ),
    # recipes
    "no jobs": (nothing, [*RUN, "--jobs", "0"], ["--jobs 0"]),
    "a stage that is not in the plan": (nothing, [*RUN, "--only", "distil-1"], ["--only distil-1", "--dry-run"]),
    "unknown recipe": (nothing, ["run", "minicity/dmo", "--out", "out"], ["minicity/dmo", "'minicity/demo'"]),
    "unknown key of a recipe": (replace("study.yaml", "methods", "metods"), RUN, ["study.yaml: metods", "'methods'"]),
    "unknown stage": (nothing, [*RUN, "--from", "taks"], ["--from taks", "'task'"]),
    "setting for an unknown stage": (nothing, [*RUN, "--set", "taks:model.lr=1"], ["taks:model.lr", "'task'"]),
    "setting an unknown key": (nothing, [*RUN, "--set", "model.lrr=1"], ["model.lrr: unknown key", "'lr'"]),
    "setting without a value": (nothing, [*RUN, "--set", "model.lr"], ["--set model.lr"]),
    "seeds that are no numbers": (nothing, [*RUN, "--seeds", "a,b"], ["--seeds a,b"]),
    "missing fragment": (replace("study.yaml", "task.yaml", "stage/tsk.yaml"), RUN,
                         ["stage/tsk.yaml", "stage/task.yaml"]),
    "bad data in a stage": (bad_label, ["run", "study.yaml", "--out", "new/study"], ["label id 7"]),
    "missing data of a recipe": (
        nothing,
        [*RUN, "--set", "task:data.dataset.images=nowhere"],
        ["nowhere: no such folder"],
    ),
    # other verbs
    "nothing to validate on": (nothing, ["validate", "--config", "task.yaml"], ["data: no domain", "data.val"]),
    "nothing to test on": (nothing, ["test", "--config", "task.yaml"], ["data: ", "TargetDataModule"]),
    "no rate of a device": (nothing, [*RUN, "--dry-run", "--tflops", "fast"], ["--tflops: fast is no number"]),
    "a pickle as published weights": (
        pickled("p.pth"), ["weights", "check", "p.pth", "--model", "deit_tiny_patch16_224"], ["p.pth"],
    ),
    "segmenter that is missing": (nothing, [*PREDICT, "--images", "images", "--ckpt", "no.safetensors"],
                                  ["no.safetensors"]),
    "a pickle as segmenter": (
        lambda folder: (pickled("segmenter.safetensors")(folder), write("segmenter.json", "{}")(folder)),
        [*PREDICT, "--images", "images", "--ckpt", "segmenter.safetensors"],
        ["segmenter.safetensors", "not a readable safetensors"],
    ),
    "missing folder to segment": (nothing, [*PREDICT, "--images", "nowhere", "--ckpt", "x"], ["nowhere"]),
    "missing option": (nothing, ["predict", "--out", "out"], ["--ckpt", "--images"]),
    "temperature below absolute zero": (
        nothing, [*PREDICT, "--images", "i", "--ckpt", "c", "--json", "--temperature", "-1"],
        ["--temperature -1", "auto"],
    ),
    "temperature of nothing": (nothing, [*PREDICT, "--images", "i", "--ckpt", "c", "--temperature", "auto"],
                               ["--temperature", "--confidence"]),
    "mistyped option": (nothing, [*PREDICT, "--image", "images", "--images", "i", "--ckpt", "c"],
                        ["--image:", "'--images'"]),
    "labels without classes": (nothing, [*CHECK, *DATA], ["--classes"]),
    "instances of a published data set": (nothing, [*CHECK, "gtav", "--instances", "x"], ["--instances", "--labels"]),
    "things of images without labels": (nothing, [*CHECK, "--images", "images", "--things", "a"], ["--things"]),
    "instances of no thing": (
        nothing, [*CHECK, *DATA, "--classes", "a,b", "--instances", "x"], ["--things", "--instances"],
    ),
    "a thing that is no class": (
        nothing, [*CHECK, *DATA, "--classes", "a,b", "--instances", "x", "--things", "c"], ["things", "'c'"],
    ),
    "report of nothing": (nothing, ["report", "nowhere", "--out", "out"], ["nowhere"]),
    "report of something else": (write("results.json", "[]"), ["report", "results.json", "--out", "out"],
                                 ["results.json"]),
    "report since a run that is not there": (judged, ["report", "results.json", "--before", "nowhere"], ["nowhere"]),
    "report of a run twice": (judged, ["report", "results.json", "results.json", "--out", "out"],
                              ["occurs twice", "--before"]),
    "table of nothing": (nothing, ["table"], ["runs"]),
    "table of a missing folder": (nothing, ["table", "nowhere"], ["nowhere: cannot be read"]),
    "table of a folder without results": (nothing, ["table", "images"], ["images/results.json: cannot be read"]),
    "table of something else": (write("results.json", "{}"), TABLE, ["results.json: schema None"]),
    "table without a run": (without_runs, TABLE, ["no run"]),
    "table of an unknown method": (judged, [*TABLE, "--methods", "gkd,mes"], ["--methods mes", "'mse'"]),
    "table against an unknown method": (judged, [*TABLE, "--against", "tacher"], ["--against tacher", "'teacher'"]),
    "table of different protocols": (judged, [*TABLE, "other.json"], ["different protocols", "cwd seed 0"]),
    "table of damaged counts": (damaged_counts, TABLE, ["per_image.npz: no counts per image"]),
    "table in an unknown format": (judged, [*TABLE, "--format", "word"], ["--format", "word", "latex"]),
    "table of segments without any": (judged, [*TABLE, "--measure", "PQ"], ["--measure PQ", "segments"]),
    "table over a folder": (judged, [*TABLE, "--out", "out"], ["--out out"]),
    "table with a share as percent": (judged, [*TABLE, "--confidence", "0.95"], ["--confidence 0.95", "95"]),
    "table of too few resamples": (judged, [*TABLE, "--resamples", "39"], ["--resamples 39", "40"]),
    "table of many resamples": (judged, [*TABLE, "--resamples", "many"], ["--resamples", "many"]),
    # looking into encoders
    "unknown instrument": (nothing, ["inspect", "featurs", "x"], ["inspect featurs", "'features'"]),
    "artefact that is missing": (nothing, ["inspect", "features", "nowhere", *ON_IMAGES], ["nowhere", "no such file"]),
    "folder without a stage": (nothing, ["inspect", "similarity", "images", *ON_IMAGES],
                               ["images", "no finished stage"]),
    "weights that are no artefact": (pickled("w.bin"), ["inspect", "features", "w.bin", *ON_IMAGES],
                                     ["w.bin: not one"]),
    "a teacher that nobody names": (students, ["inspect", "features", "plain", *ON_IMAGES], ["plain", "--teacher"]),
    "a teacher that is missing": (students, ["inspect", "features", "plain", "--teacher", "teacher/minicty.yaml",
                                             *ON_IMAGES], ["minicty.yaml", "'teacher/minicity.yaml'"]),
    "student without heads": (students, ["inspect", "attention", "plain", *ON_IMAGES],
                              ["plain/heads.safetensors: missing"]),
    "student without attention": (students, ["inspect", "attention", "projected", *ON_IMAGES],
                                  ["projected/heads.safetensors", "a projection"]),
    "heads of another student": (exchanged, ["inspect", "attention", "plain", *ON_IMAGES],
                                 ["plain/heads.safetensors", "another student"]),
    "teacher of another width": (students, ["inspect", "attention", "taught", "--teacher", "narrow.yaml", *ON_IMAGES],
                                 ["48 wide", "192"]),
    "query outside the grid": (students, [*ATTENTION, "--queries", "1,1", "4,0", *ON_IMAGES],
                               ["--queries 4,0", "4x4 patches"]),
    "query that is no patch": (students, [*ATTENTION, "--queries", "sure", *ON_IMAGES],
                               ["--queries sure", "confident"]),
    "no images to look at": (students, [*ATTENTION, "--images", "out", "--out", "out"], ["out", "no image"]),
    "neither images nor data": (students, [*ATTENTION, "--out", "out"], ["--images, --data"]),
    "unknown domain": (students, [*ATTENTION, "--domains", "game,nigth", *ON_DATA], ["nigth", "'night'"]),
    "domains of a folder": (students, [*ATTENTION, "--domains", "night", *ON_IMAGES], ["--domains"]),
    "one image for two halves": (students, ["inspect", "similarity", "taught", "--teacher", "teacher.yaml", "--count",
                                            "1", *ON_DATA], ["--count 1"]),
    "gradients without labels": (
        students,
        ["inspect", "gradients", "taught", "--teacher", "teacher.yaml", "--data", "data/minicity_proxy.yaml", "--out",
         "out"],
        ["no labels"],
    ),
    "training that logged no gradients": (write("metrics.jsonl", '{"step": 0, "train/loss": 1.0}'),
                                          ["inspect", "gradients", ".", "--out", "out"], ["conflict/cosine", "--data"]),
    "no training": (nothing, ["inspect", "gradients", "nowhere", "--out", "out"], ["nowhere: no training"]),
    "teacher without data": (students, ["inspect", "gradients", "taught", "--teacher", "teacher.yaml", "--out", "out"],
                             ["--teacher", "--data"]),
    "unknown list": (nothing, ["list", "teacher"], ["teacher"]),
    "unknown verb": (nothing, ["trian"], ["trian: no such verb"]),
    "unknown data action": (nothing, ["data", "chek"], ["data chek", "'check'"]),
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_one_line_status_2_nothing_written(case: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare, arguments, needles = CASES[case]
    prepare(folder)
    before = contents(folder)
    assert main(arguments) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    for needle in needles:
        assert needle in lines[0]
    assert contents(folder) == before
    assert not (folder / "new").exists() or not any((folder / "new").iterdir())


def test_a_check_that_finds_mistakes_fails_but_keeps_its_findings(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad_label(folder)
    assert main([*CHECK, *DATA, "--classes", "a,b,c"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "label id 7" in lines[0]
    assert json.loads((folder / "out/check.json").read_text())["data"]["unreadable"]


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gkd_lightning.files.os.fsync", full)
    before = contents(folder)
    assert main([*FIT, "distill.yaml"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "no space left on the disk" in lines[0]
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "quota"), (errno.EFBIG, "ulimit -f")]
)
def test_no_room_is_seen_behind_what_libraries_make_of_it(number: int, words: str) -> None:
    """PyTorch's writer complains of its own position, safetensors quotes the system."""
    try:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 - as PyTorch does
    except RuntimeError as error:
        message, status = message_and_status(error)
    assert (words in message, status) == (True, 2)
    message, status = message_and_status(ValueError(f"I/O error: {os.strerror(number)} (os error {number})"))
    assert (words in message, status) == (True, 2)


def test_ctrl_c_says_how_to_go_on(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tests.chain.toys import CONFIG

    (folder / "toy.yaml").write_text(CONFIG)
    assert main(["fit", "--config", "toy.yaml", "--trainer.default_root_dir", "out", "--model.fail", "true"]) == 130
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("gkd: interrupted, resume with: gkd fit --config toy.yaml")
    assert "--ckpt_path" not in lines[0]  # there is none yet
    (folder / "out/resume.ckpt").write_bytes(b"")
    assert main(["fit", "--config", "toy.yaml", "--trainer.default_root_dir", "out", "--model.fail", "true"]) == 130
    assert "--ckpt_path out/resume.ckpt" in capfd.readouterr().err


def test_resuming_a_chain_does_not_begin_once_more() -> None:
    for start in (["--from", "task"], ["--from=task"]):
        assert _resume_command(["run", "a.yaml", *start, "--jobs", "2"], "") == "gkd run a.yaml --jobs 2"


def test_traceback_shows_the_stack(folder: Path) -> None:
    from gkd_lightning.errors import UserError

    with pytest.raises(UserError):
        main(["run", "nowhere", "--traceback"])
    assert main(["run", "nowhere"]) == 2  # and only that once
