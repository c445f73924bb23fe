"""A class is compared with a protocol once in a process, and the answer stays what it was."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import _typehints

from gkd_lightning.chain.config_check import check_config
from gkd_lightning.data import MiniCity, MiniCityShapes
from gkd_lightning.data.types import ImageDataset
from gkd_lightning.recipes.fragments import compose
from gkd_lightning.recipes.yaml_text import dump_yaml


class Nameless:
    """Images without names."""

    def __len__(self) -> int:
        return 0

    def image(self, index: int) -> object:
        return index


def test_a_check_asks_about_no_class_twice(tmp_path: Path) -> None:
    remembered = _typehints.implements_protocol.remembered
    encoders = [{"model.teacher": "teacher/minicity.yaml"}, {"model.student": "student/minicity_tiny.yaml"}]
    (tmp_path / "a.yaml").write_text(
        dump_yaml(compose(["stage/task_agnostic_small.yaml", *encoders, "data/minicity_proxy.yaml"]))
    )
    remembered.cache_clear()
    check_config(tmp_path / "a.yaml")
    asked = remembered.cache_info()
    assert asked.misses == asked.currsize < 10
    assert asked.hits > asked.misses


def test_the_answers_are_the_same() -> None:
    compare = _typehints.implements_protocol
    for value, answer in ((MiniCity, True), (MiniCityShapes, True), (Nameless, False), (object, False), ({}, False)):
        for _ in range(2):
            assert compare(value, ImageDataset) is answer
            assert compare.__wrapped__(value, ImageDataset) is answer
