from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gkd_lightning.deploy.arrays import resized_picture, resized_scores


@pytest.mark.parametrize("old", [(37, 91), (200, 400), (64, 64)])
@pytest.mark.parametrize("new", [(64, 64), (100, 200), (90, 33), (300, 500)])
def test_pictures_are_resized_as_opencv_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    ours = resized_picture(picture, (new[1], new[0]))
    theirs = cv2.resize(picture, (new[1], new[0]), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("new", [(9, 14), (20, 31), (5, 40)])
def test_scores_are_resized_as_pytorch_does(new: tuple[int, int]) -> None:
    scores = torch.randn(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(scores, size=new, mode="bilinear", align_corners=False)
    assert np.allclose(resized_scores(scores.numpy(), new), expected.numpy(), atol=1e-5)
