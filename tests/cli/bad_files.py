"""Every kind of file that the verbs read x {missing, empty, cut off, of another kind, a folder, a loop, unreadable}."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from tests.cli.bad_numbers import CONFIGURATIONS, HEAD, SMALL, SOURCE, TRAINER, built
from tests.cli.warm import Case

FOLDERS = built("data.FolderSegmentation", images="images", labels="labels", classes=["a", "b", "c"])
TASK = built("segment.TaskLearning", encoder={**SMALL, "weights": "student/student.safetensors"}, num_classes=3,
             head=HEAD, window=32, stride=32)  # fmt: skip
DATA = {"class_path": SOURCE["class_path"], "init_args": {
    "dataset": FOLDERS, "view": "segmentation", "image_size": 32, "batch_size": 4}}  # fmt: skip
LISTED = built("data.ProxyDataModule", dataset=built("data.ProxyImages", root="list.txt"), image_size=32, batch_size=4)


def template(folder: Path) -> Path:
    """Images and labels, configurations, a student, a segmenter, a published file, results and a checkpoint."""
    from tests.chain import artefacts
    from tests.evaluate.builders import results

    rng = np.random.default_rng(0)
    for kind, shape, most in (("images", (40, 40, 3), 256), ("labels", (40, 40), 3)):
        (folder / kind).mkdir()
        for index in range(4):
            values = rng.integers(0, most, shape, dtype=np.uint8)
            Image.fromarray(values).save(folder / kind / f"{index}.png")
    (folder / "list.txt").write_text("".join(f"images/{index}.png\n" for index in range(4)))
    artefacts.student(folder / "student")
    artefacts.teacher_yaml(folder)
    artefacts.segmenter(folder / "segmenter")
    results(seeds=1).save(folder / "results.json")
    torch.save({"model": {"x": torch.zeros(3)}}, folder / "published.pth")
    torch.save({"state_dict": {"x": torch.zeros(3)}, "pytorch-lightning_version": "2.6.6"}, folder / "resume.ckpt")
    files = {
        "task.yaml": {"model": TASK, "data": DATA, "trainer": TRAINER},
        "listed.yaml": {**CONFIGURATIONS["distil"], "data": LISTED, "trainer": TRAINER},
        "study.yaml": {"name": "study", "methods": {"one": {"stages": [{"name": "task", "configs": ["task.yaml"]}]}}},
    }
    for name, value in files.items():
        (folder / name).write_text(yaml.safe_dump(value))
    return folder


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def put(content: bytes, path: Path) -> None:
    removed(path)
    path.write_bytes(content)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def folder_instead(path: Path) -> None:
    removed(path)
    path.mkdir()


def loop(path: Path) -> None:
    removed(path)
    path.symlink_to(path.name)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": removed,
    "empty": partial(put, b""),
    "cut off": cut,
    "a pickle": partial(put, pickle.dumps({"weight": [1.0]})),
    "a list": partial(put, b"[]"),
    "noise": partial(put, bytes(range(256)) * 8),
    "a folder": folder_instead,
    "a loop": loop,
    **({} if os.geteuid() == 0 else {"unreadable": lambda path: path.chmod(0)}),
}

FIT = ["fit", "--trainer.default_root_dir", "out", "--config"]
LOOK = ["--teacher", "teacher.yaml", "--images", "images", "--out", "out"]
READ: dict[str, tuple[str, list[str]]] = {
    "configuration": ("task.yaml", [*FIT, "task.yaml"]),
    "configuration of a recipe": ("task.yaml", ["run", "study.yaml", "--out", "out", "--dry-run"]),
    "recipe": ("study.yaml", ["run", "study.yaml", "--out", "out", "--dry-run"]),
    "image": ("images/2.png", [*FIT, "task.yaml"]),
    "label": ("labels/2.png", [*FIT, "task.yaml"]),
    "list of images": ("list.txt", [*FIT, "listed.yaml"]),
    "weights of a student": ("student/student.safetensors", [*FIT, "task.yaml"]),
    "checkpoint": ("resume.ckpt", [*FIT, "task.yaml", "--ckpt_path", "resume.ckpt"]),
    "published weights": ("published.pth", ["weights", "check", "published.pth", "--model", "deit_tiny_patch16_224"]),
    "weights of a segmenter": (
        "segmenter/segmenter.safetensors",
        ["predict", "--ckpt", "segmenter/segmenter.safetensors", "--images", "images", "--out", "out"]),
    "record of a segmenter": (
        "segmenter/segmenter.json",
        ["predict", "--ckpt", "segmenter/segmenter.safetensors", "--images", "images", "--out", "out"]),
    "results": ("results.json", ["table", "results.json"]),
    "results of a report": ("results.json", ["report", "results.json", "--out", "out"]),
    "results to be timed": ("results.json", ["latency", "results.json"]),
    "counts per image": ("per_image.npz", ["table", "results.json"]),
    "record of a student": ("student/student.json", ["inspect", "features", "student/student.safetensors", *LOOK]),
    "student to look at": (
        "student/student.safetensors", ["inspect", "features", "student/student.safetensors", *LOOK]),
    "image to look at": ("images/0.png", ["inspect", "features", "student/student.safetensors", *LOOK]),
}  # fmt: skip
"""Kind of file -> the file, and a command that reads it."""


def cases(folder: Path) -> Iterator[Case]:
    for kind, (file, command) in READ.items():
        if not (folder / file).is_file():
            continue
        for name, damage in DAMAGE.items():
            told = TOLD_OTHERWISE.get(f"{kind}: {name}", Path(file).name)
            reason = ACCEPTED.get(f"{kind}: {name}", "")
            yield Case(f"{kind}: {name}", command, [told], lambda f, d=damage, p=file: d(f / p), reason)


ACCEPTED = {
    "image: missing": "a label without an image is left over",
    "image: a folder": "it holds no image",
    "image to look at: missing": "there are others",
    "image to look at: a folder": "it holds no image",
    "list of images: cut off": "its lines are whole, though fewer",
}
"""Why it is no mistake."""

TOLD_OTHERWISE = {
    "configuration: cut off": "model.num_classes",
    "configuration of a recipe: cut off": "model.num_classes",
}
"""What is told in the place of the file: half a configuration is one, but lacks a key."""
