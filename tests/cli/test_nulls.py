"""A key with nothing behind it is null: what that means is in the constructor's signature, and else it is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gkd_lightning.chain.config_check import UnbuiltStage, check_config
from gkd_lightning.cli.study import Study
from gkd_lightning.data import DistillAugmentation, MiniCity, SourceDataModule
from gkd_lightning.distill.teachers import TeacherSpec
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.errors import UserError

MEANING = {
    "model.teacher.weights",
    *(f"model.{network}.{key}" for network in ("teacher", "student") for key in ("image_size", "patch_size")),
}
"""What of this stage's may be null, and is not so already: random weights, and as the model has it."""


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif value is not None:
        yield path


def with_null(config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    spoiled = copy.deepcopy(config)
    section: Any = spoiled
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = None
    return spoiled


def problem_of(path: Path) -> str:
    try:
        check_config(path)
    except UserError as error:
        return str(error)
    return ""


def test_a_null_means_something_or_is_refused(tmp_path: Path) -> None:
    stage = Study("minicity/methods", (), seeds="0").plan().stages[0]
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(stage.config))
    whole = UnbuiltStage(["--config", str(tmp_path / "stage.yaml")]).config.as_dict()
    config = yaml.safe_load(yaml.safe_dump({key: whole[key] for key in ("model", "data", "title")}))
    del config["data"]["init_args"]["seed"]  # follows seed_everything
    path = tmp_path / "null.yaml"
    taken, refused = set(), 0
    for leaf in leaves(config):
        path.write_text(yaml.safe_dump(with_null(config, leaf)))
        told = problem_of(path)
        assert "\n" not in told
        if not told:
            taken.add(".".join(key for key in leaf if key != "init_args"))
            continue
        assert leaf[-1] in told or leaf[-1] == "class_path", leaf
        refused += 1
    assert taken == MEANING
    assert refused >= 20


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("trainer.gradient_clip_val", ""),  # Lightning's own default: gradients are not clipped
        ("trainer.max_steps", "trainer.max_steps: null"),
        ("resume_every", "resume_every: null"),
        ("selection", "selection: null"),
    ],
)
def test_of_the_run_too(key: str, told: str, tmp_path: Path) -> None:
    stage = Study("minicity/methods", (), seeds="0").plan().stages[0]
    path = tmp_path / "stage.yaml"
    path.write_text(yaml.safe_dump(with_null(stage.config, tuple(key.split(".")))))
    assert problem_of(path).partition(";")[0] == told


def test_and_whoever_builds_the_object() -> None:
    """A rule of null was once taken for the one that comes last: whitening."""
    encoder = EncoderSpec("vit_tiny_patch16_224", image_size=None, weights=None)
    assert encoder.weights is None
    with pytest.raises(UserError, match="standardise: null"):
        TeacherSpec(encoder, standardise=None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="flip: null"):
        DistillAugmentation(flip=None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="batch_size: null"):
        SourceDataModule(MiniCity("game", 4), view="segmentation", image_size=32, batch_size=None)  # type: ignore[arg-type]
