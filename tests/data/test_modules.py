from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from gkd_lightning.data import (
    DistillAugmentation,
    FolderSegmentation,
    LabelSpace,
    Protocol,
    ProxyDataModule,
    ProxyImages,
    SourceDataModule,
    TargetDataModule,
)
from gkd_lightning.errors import UserError
from tests.data.helpers import TWO, Recorder, Scribbles, save, trainer, write_folder

PLAIN = DistillAugmentation(rand_augment="", erasing=0)


def test_proxy() -> None:
    module = ProxyDataModule(Scribbles(10), 8, 4, augmentation=PLAIN)
    assert module.label_space is None
    assert module.domain_names == module.seen == []
    assert module.steps_per_epoch == 2
    recorder = Recorder()
    trainer(max_steps=3).fit(recorder, datamodule=module)
    assert len(recorder.seen) == 3


def test_source_trains_and_validates() -> None:
    module = SourceDataModule(
        Scribbles(8), "segmentation", 8, 4, val={"home": Scribbles(2), "away": Scribbles(1, 9, 9)}
    )
    assert module.label_space == TWO
    assert module.domain_names == module.seen == ["home", "away"]
    recorder = Recorder()
    trainer(max_epochs=1).fit(recorder, datamodule=module)
    assert recorder.names == [("home", "scribble0"), ("home", "scribble1"), ("away", "scribble0")]


def test_source_without_validation_fits() -> None:
    recorder = Recorder()
    trainer(max_epochs=1).fit(recorder, datamodule=SourceDataModule(Scribbles(8), "distillation", 8, 4))
    assert len(recorder.seen) == 2
    assert recorder.names == []


def test_targets_are_tested_in_order() -> None:
    module = TargetDataModule({"night": Scribbles(2), "day": Scribbles(1)}, seen=["day"])
    recorder = Recorder()
    trainer().test(recorder, datamodule=module, verbose=False)
    assert recorder.names == [("night", "scribble0"), ("night", "scribble1"), ("day", "scribble0")]
    trainer().validate(recorder, datamodule=module, verbose=False)
    assert len(recorder.names) == 6
    assert module.label_space == TWO
    assert module.seen == ["day"]


def test_accumulation_divides_the_global_batch() -> None:
    module, recorder = SourceDataModule(Scribbles(8), "distillation", 8, 4), Recorder()
    trainer(max_epochs=1, accumulate_grad_batches=2).fit(recorder, datamodule=module)
    assert [len(step) - 1 for step in recorder.seen] == [2, 2, 2, 2]
    whole = Recorder()
    trainer(max_epochs=1).fit(whole, datamodule=SourceDataModule(Scribbles(8), "distillation", 8, 4))
    for step, big in enumerate(whole.seen):
        parts = recorder.seen[2 * step : 2 * step + 2]
        assert {key for part in parts for key in part[:-1]} == set(big[:-1])
        assert sum(part[-1] for part in parts) == big[-1]


def test_a_batch_that_cannot_be_divided_is_refused_before_training() -> None:
    with pytest.raises(UserError, match=r"batch of 4 cannot be divided by 1 devices x 3 accumulated batches"):
        trainer(max_epochs=1, accumulate_grad_batches=3).fit(
            Recorder(), datamodule=SourceDataModule(Scribbles(8), "distillation", 8, 4)
        )


def test_overfit_batches_is_refused() -> None:
    with pytest.raises(UserError, match=r"overfit_batches: not supported, use trainer\.limit_train_batches"):
        trainer(max_epochs=1, overfit_batches=1).fit(
            Recorder(), datamodule=SourceDataModule(Scribbles(8), "distillation", 8, 4)
        )


def test_missing_folders_are_found_at_setup() -> None:
    gone = FolderSegmentation("gone", "gone", ["road", "car"])
    modules: list[LightningDataModule] = [
        ProxyDataModule(ProxyImages("gone"), 8, 4),
        SourceDataModule(gone, "distillation", 8, 4),
        SourceDataModule(Scribbles(4), "distillation", 8, 4, val={"x": gone}),
        TargetDataModule({"x": gone}),
    ]
    for module in modules:
        with pytest.raises(UserError, match="gone: no such folder"):
            module.setup("fit")


@pytest.mark.parametrize("on_device", [False, True])
def test_images_of_several_sizes(on_device: bool) -> None:
    """All images of a step have one size, and the pixels that they have where it is the only one."""
    augmentation = DistillAugmentation(on_device=on_device)
    several, *single = (
        ProxyDataModule(Scribbles(40), sizes, 4, num_workers=0, augmentation=augmentation)
        for sizes in ([16, 24], 16, 24)
    )
    assert (several.sides, several.image_size) == ([16, 24], 24)
    seen = set()
    for batch, *others in zip(*(module.train_dataloader() for module in (several, *single)), strict=True):
        side = batch["image"].shape[-1]
        seen.add(side)
        assert batch["image"].shape == (4, 3, side, side)
        (alike,) = (place for place, other in enumerate(others) if other["image"].shape == batch["image"].shape)
        found = several.on_after_batch_transfer(batch, 0)
        expected = single[alike].on_after_batch_transfer(others[alike], 0)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert seen == {16, 24}


def test_a_list_of_one_size_is_that_size() -> None:
    listed, plain = (SourceDataModule(Scribbles(8), "segmentation", size, 4, num_workers=0) for size in ([16], 16))
    assert listed.sides == [16]
    for one, other in zip(listed.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(one["image"], other["image"])


class Other(Scribbles):
    label_space = LabelSpace(names=("road", "bus"), palette=TWO.palette)


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="b: its classes are road, bus, those of a road, car"):
        TargetDataModule({"a": Scribbles(1), "b": Other(1)})
    with pytest.raises(UserError, match="home: its classes are road, bus, those of dataset road, car"):
        SourceDataModule(Scribbles(4), "distillation", 8, 4, val={"home": Other(1)})
    with pytest.raises(UserError, match="domains: none given"):
        TargetDataModule({})
    with pytest.raises(UserError, match="seen: 'dusk' is none of the domains day"):
        TargetDataModule({"day": Scribbles(1)}, seen=["dusk"])
    with pytest.raises(UserError, match="image_size: an empty list"):
        ProxyDataModule(Scribbles(4), [], 4)
    with pytest.raises(UserError, match=r"image_size: \[16, 24\] is for view: distillation"):
        SourceDataModule(Scribbles(4), "segmentation", [16, 24], 4)
    with pytest.raises(UserError, match="num_workers: -1"):
        TargetDataModule({"day": Scribbles(1)}, num_workers=-1)


def test_manifest_follows_the_files(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])

    def manifests() -> list[dict[str, Any]]:
        data = FolderSegmentation(str(images), str(labels), ["road", "car"])
        return [SourceDataModule(data, view, 8, 2).manifest() for view in ("distillation", "segmentation")]

    before = manifests()
    assert before == manifests()
    assert [part["images"] for part in before] == [2, 2]
    assert before[0]["sha256"] != before[1]["sha256"]
    save(labels / "a.png", Scribbles(1, 2, 2).label(0))
    after = manifests()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]
    save(images / "c.png", Scribbles(1).image(0))
    save(labels / "c.png", Scribbles(1).label(0))
    assert manifests()[0]["images"] == 3


def test_manifest_of_data_without_files() -> None:
    first = TargetDataModule({"a": Scribbles(30), "b": Scribbles(5)}).manifest()
    assert first["images"] == 35
    assert first == TargetDataModule({"a": Scribbles(30), "b": Scribbles(5)}).manifest()
    assert first["domains"]["b"] == TargetDataModule({"x": Scribbles(5)}).manifest()["domains"]["x"]
    assert first["sha256"] != TargetDataModule({"a": Scribbles(30), "b": Scribbles(5, 21)}).manifest()["sha256"]


CONFIG = """
class_path: gkd_lightning.data.SourceDataModule
init_args:
  dataset:
    class_path: gkd_lightning.data.FolderSegmentation
    init_args: {images: IMAGES, labels: LABELS, classes: [road, car], class_map: {0: 0, 1: 1}}
  view: segmentation
  image_size: 16
  batch_size: 2
  segment_augmentation: {short_edges: [16, 32], largest_class: 1.0}
  val:
    home:
      class_path: gkd_lightning.data.FolderSegmentation
      init_args: {images: IMAGES, labels: LABELS, classes: [road, car]}
  protocol: {resize: fit, size: [24, 16]}
"""


def test_a_configuration_builds_a_module(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    config = yaml.safe_load(CONFIG.replace("IMAGES", str(images)).replace("LABELS", str(labels)))
    parsed = parser.parse_object({"data": config})
    module = parser.instantiate_classes(parsed).data
    assert isinstance(module, SourceDataModule)
    assert module.protocol == Protocol("fit", (24, 16))
    assert next(iter(module.train_dataloader()))["label"].shape == (2, 16, 16)
    assert next(iter(module.val_dataloader()[0]))["domain"] == "home"
    again = yaml.safe_load(parser.dump(parsed))
    assert again["data"]["init_args"]["segment_augmentation"]["short_edges"] == [16, 32]
    assert again["data"]["init_args"]["distill_augmentation"]["rand_augment"] == "rand-m9-mstd0.5-inc1"


def test_the_state_is_plain_numbers() -> None:
    module = SourceDataModule(Scribbles(8), "distillation", 8, 4)
    assert module.state_dict() == {}
    trainer(max_epochs=1).fit(Recorder(), datamodule=module)
    assert all(type(value) is int for value in module._sampler().state_dict().values())
