"""Pixels of unknown objects on their way from label files to a judged batch."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from gkd_lightning.chain.judging.evaluation import Evaluation
from gkd_lightning.data import Corrupted, FolderSegmentation, Joined, TargetDataModule
from gkd_lightning.data.common_corruptions import CommonCorrupted
from gkd_lightning.data.loading import EvaluationView, collate_domain
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.sampling import ShardedBatches
from gkd_lightning.data.types import MINICITY_8
from gkd_lightning.data.unknown import has_unknown, unknown_of
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles, save, write_folder
from tests.deploy.predict.made import checkpoint


def folder(root: Path, **changes: object) -> FolderSegmentation:
    """Three images of 24x16; a square of id 7 in the first two."""
    images, labels = write_folder(root, ["a", "b", "c"])
    for name in ("a", "b"):
        stored = np.zeros((16, 24), np.uint8)
        stored[4:9, 3:9] = 7
        save(labels / f"{name}.png", stored)
    options: dict[str, object] = {"classes": ["road", "car"], "unknown_ids": [7, 9], **changes}
    return FolderSegmentation(str(images), str(labels), **options)  # type: ignore[arg-type]


def test_ids_that_are_named_have_no_truth_and_are_known_to_be_unknown(tmp_path: Path) -> None:
    data = folder(tmp_path)
    assert has_unknown(data)
    assert data.unknown(0).sum() == 30
    assert (data.label(0)[data.unknown(0)] == 255).all()
    assert (data.label(0)[~data.unknown(0)] == 0).all()
    assert not data.unknown(2).any()
    plain = FolderSegmentation(str(data.images), str(data.labels), ["road", "car"])
    assert not has_unknown(plain)
    with pytest.raises(UserError, match=r"a\.png: .*label id 7 .*belongs to no class"):
        plain.label(0)


def test_an_id_is_not_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown_ids: 1 is also the id of the class 'car'"):
        folder(tmp_path, unknown_ids=[7, 1])
    with pytest.raises(UserError, match="unknown_ids: 7 is also the id of the class 'car'"):
        folder(tmp_path, class_map={0: 0, 7: 1})
    assert folder(tmp_path, class_map={0: 0, 1: 1, 7: 255}).unknown(0).sum() == 30


def test_colours_have_no_ids(tmp_path: Path) -> None:
    data = folder(tmp_path, palette=[[0, 0, 0], [0, 0, 142]])
    save(data.label_path(0), np.zeros((16, 24, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.png: holds colours; unknown_ids are ids"):
        data.unknown(0)


def test_batches_have_them_where_a_set_knows_of_them(tmp_path: Path) -> None:
    view = EvaluationView(folder(tmp_path), Protocol())
    samples = [view[0], view[2], view[ShardedBatches.PADDING]]
    batch = collate_domain("day", samples)
    assert batch["unknown"].dtype == torch.bool
    assert batch["unknown"].sum((1, 2)).tolist() == [30, 0, 30]  # padding has no name and is not judged
    assert "unknown" not in EvaluationView(Scribbles(2), Protocol())[0]


def test_sets_of_sets_hand_them_on(tmp_path: Path) -> None:
    data = folder(tmp_path)
    for other in (Corrupted(data, "fog"), Joined([data, data]), CommonCorrupted(data, "fog")):
        assert has_unknown(other)
        assert (other.unknown(1) == data.unknown(1)).all()
    moved = CommonCorrupted(data, "elastic", 4)
    assert (moved.unknown(0) != data.unknown(0)).any()
    assert unknown_of(moved, 0, moved.label(0)).any()
    assert (moved.unknown(0) == (moved.label(0) == 255)).all()  # the label has moved along
    assert not has_unknown(Joined([data, FolderSegmentation(str(data.images), str(data.labels), ["road", "car"])]))


class Odd(Scribbles):
    has_unknown = True
    shape = (20, 30)

    def unknown(self, index: int) -> np.ndarray:
        return np.ones(self.shape, bool)


def test_what_contradicts_itself_is_one_line() -> None:
    data = Odd(1)
    with pytest.raises(UserError, match="pixels of unknown objects have a class as well"):
        unknown_of(data, 0, data.label(0))
    data.shape = (4, 5)
    with pytest.raises(UserError, match="the label is 30x20 but its unknown objects 5x4"):
        unknown_of(data, 0, data.label(0))


def test_the_trainer_judges_them(tmp_path: Path) -> None:
    names = list(MINICITY_8.names)
    domains = {
        "strange": folder(tmp_path / "a", classes=names, unknown_ids=[9, 7], class_map={0: 0, 1: 1, 7: 255}),
        "plain": folder(tmp_path / "b", classes=names, unknown_ids=None, class_map={0: 0, 1: 1, 7: 255}),
    }
    judge = Evaluation(str(checkpoint(tmp_path / "made")))
    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.test(judge, TargetDataModule(domains, num_workers=0), verbose=False)
    strange, plain = judge.domain_scores["strange"], judge.domain_scores["plain"]
    assert strange.unknown is not None
    assert strange.unknown.unknown_pixels == 60
    assert plain.unknown is None
    assert strange.confusion == plain.confusion
    assert strange.trust == plain.trust
