"""f_miou: areas, IoU and accuracies of mmsegmentation's IoUMetric, and the official means over domains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gkd_lightning.evaluate.confusion import (
    ConfusionMatrix,
    accuracy,
    confusion_matrix,
    iou_per_class,
    mean_iou,
)
from gkd_lightning.evaluate.scores import DomainScore, from_confusion, unseen_mean
from tests.golden.harness import Golden, golden_json

golden = Golden("f_miou")
SPACES = {"c19": 19, "c6": 6}
EXPECTED = golden_json("f_miou.json")


def image(space: str, index: int) -> tuple[Tensor, Tensor]:
    """Prediction and label (24, 30); the fixture holds integers as float32."""
    return golden.input(f"{space}.img{index}.pred").long(), golden.input(f"{space}.img{index}.label").to(torch.uint8)


def matrix_of(space: str, images: list[int]) -> Tensor:
    metric = ConfusionMatrix(SPACES[space])
    for index in images:
        metric.update(*image(space, index))
    return metric.compute()


def accuracy_per_class(matrix: Tensor) -> Tensor:
    """In percent; NaN for a class without true pixels."""
    return 100 * matrix.diagonal() / matrix.sum(1, dtype=torch.float64)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_areas_of_each_image(space: str, index: int) -> None:
    matrix = confusion_matrix(*image(space, index), SPACES[space])
    truth, predicted, both = matrix.sum(1), matrix.sum(0), matrix.diagonal()
    for name, area in {
        "label": truth,
        "pred": predicted,
        "intersect": both,
        "union": truth + predicted - both,
    }.items():
        golden.compare(f"{space}.img{index}.area_{name}", area.float(), atol=0)


@pytest.mark.parametrize("space", SPACES)
def test_scores_of_the_dataset(space: str) -> None:
    matrix = matrix_of(space, [0, 1, 2])
    golden.compare(f"{space}.dataset.IoU", iou_per_class(matrix) / 100, atol=1e-7)
    golden.compare(f"{space}.dataset.Acc", accuracy_per_class(matrix) / 100, atol=1e-7)
    golden.compare(f"{space}.dataset.aAcc", torch.tensor(accuracy(matrix) / 100), atol=1e-7)
    rounded = EXPECTED["iou_metric"][space]
    assert round(mean_iou(matrix), 2) == pytest.approx(rounded["mIoU"], abs=1e-5)
    assert round(accuracy(matrix), 2) == pytest.approx(rounded["aAcc"], abs=1e-5)
    assert round(float(accuracy_per_class(matrix).nanmean()), 2) == pytest.approx(rounded["mAcc"], abs=1e-5)


RUNS = ("gta_512", "citys2acdc_512", "potsdam")  # citys2acdc_1024 has its own test below


def domains(run: str) -> dict[str, DomainScore]:
    """Domains of an official run by dataset id; image i of the fixture belongs to path i of the run."""
    space = "c6" if run == "potsdam" else "c19"
    names = ["cityscapes" if "data/cityscapes" in path else group for path, group in _paths(run)]
    seen = {"gta_512": set(), "potsdam": {"potsdam/RGB"}}.get(run, {"cityscapes"})
    classes = [str(index) for index in range(SPACES[space])]
    return {
        name: from_confusion(name, matrix_of(space, [index % 3]), classes, images=1, seen=name in seen)
        for index, name in enumerate(names)
    }


def _paths(run: str) -> list[tuple[str, str]]:
    return list(zip(EXPECTED["dg"][run]["paths"], EXPECTED["dg"][run]["group_of_path"], strict=True))


@pytest.mark.parametrize("run", RUNS)
def test_each_group_of_the_official_runs(run: str) -> None:
    metrics = EXPECTED["dg"][run]["metrics"]
    for score, (_, group) in zip(domains(run).values(), _paths(run), strict=True):
        assert round(score.miou, 2) == pytest.approx(metrics[f"{group}_mIoU"], abs=1e-5)
        assert round(score.accuracy, 2) == pytest.approx(metrics[f"{group}_aAcc"], abs=1e-5)
        class_accuracy = float(accuracy_per_class(score.matrix).nanmean())
        assert round(class_accuracy, 2) == pytest.approx(metrics[f"{group}_mAcc"], abs=1e-5)


def test_unseen_mean_equals_the_official_mean_to_its_rounding() -> None:
    """The official mean is taken over values already rounded to 0.01; ours is not rounded before the mean."""
    gta = domains("gta_512").values()
    assert unseen_mean(gta) == pytest.approx(EXPECTED["dg"]["gta_512"]["metrics"]["mean_mIoU"], abs=0.005)
    acdc = domains("citys2acdc_512").values()  # clean Cityscapes is in-domain and not part of the mean
    assert unseen_mean(acdc) == pytest.approx(EXPECTED["dg"]["citys2acdc_512"]["metrics"]["mean_mIoU"], abs=0.005)


def test_a_domain_is_a_dataset_not_a_substring_of_a_path() -> None:
    """Not as the official code on purpose: 'rain' in 'labelTrainIds' moves its Cityscapes images into rain."""
    official = EXPECTED["dg"]["citys2acdc_1024_bug"]["metrics"]
    merged = matrix_of("c19", [0, 1])  # images 3 and 4 of the run
    assert round(mean_iou(merged), 2) == pytest.approx(official["rain_mIoU"], abs=1e-5)
    assert round(accuracy(merged), 2) == pytest.approx(official["rain_aAcc"], abs=1e-5)
    ours = domains("citys2acdc_1024_bug")
    assert list(ours) == ["night", "snow", "fog", "rain", "cityscapes"]
    assert ours["rain"].miou < official["rain_mIoU"] - 0.2
    for name in ("night", "snow", "fog"):
        assert round(ours[name].miou, 2) == pytest.approx(official[f"{name}_mIoU"], abs=1e-5)


def test_the_source_is_not_an_unseen_domain() -> None:
    """Not as the official evaluator on purpose: its Potsdam mean includes the RGB source; the paper's does not."""
    official = EXPECTED["dg"]["potsdam"]["metrics"]
    scores = domains("potsdam").values()
    assert sum(score.miou for score in scores) / 3 == pytest.approx(official["mean_mIoU"], abs=0.005)
    paper = (official["potsdam/IRRG_mIoU"] + official["vaihingen_mIoU"]) / 2
    assert unseen_mean(scores) == pytest.approx(paper, abs=0.005)
