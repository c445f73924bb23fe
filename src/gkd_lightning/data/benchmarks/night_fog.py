"""Small sets of real streets by night and in fog, for evaluation alone, in Cityscapes' classes."""

from __future__ import annotations

from collections.abc import Sequence

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import CLASS_MAP


class DarkZurich(PublishedSegmentation):
    """Dark Zurich's validation images (Sakaridis et al., ICCV 2019), all of one drive by night.

    Args:
        root: folder that holds `rgb_anon/` and `gt/`; default `$GKD_DATA/dark_zurich`.
    """

    card = Card(
        name="dark_zurich",
        title="Dark Zurich",
        homepage="https://www.trace.ethz.ch/publications/2019/GCMA_UIoU",
        licence="own licence, LICENSE.txt of the archive",
        counts={"val": 50},
        size=(1920, 1080),
        tree="""\
dark_zurich/
  rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png
  gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png""",
        other_folders=("Dark_Zurich", "DarkZurich", "Dark_Zurich_val_anon"),
        notes=("Dark_Zurich_val_anon.zip is enough: neither training nor test images have public labels.",),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "val")
        self.split_title = "night val"

    def layouts(self) -> Sequence[Layout]:
        """Train ids as published."""
        folder = f"{self.split}/night"
        return (Layout("published", f"rgb_anon/{folder}", f"gt/{folder}", "_rgb_anon.png", "_gt_labelTrainIds.png"),)


class NighttimeDriving(PublishedSegmentation):
    """The test images of Nighttime Driving (Dai and Van Gool, ITSC 2018), coarsely annotated.

    Args:
        root: folder that holds `leftImg8bit/` and `gtCoarse_daytime_trainvaltest/`; default
            `$GKD_DATA/nighttime_driving`.
    """

    card = Card(
        name="nighttime_driving",
        title="Nighttime Driving",
        homepage="http://people.ee.ethz.ch/~daid/NightDriving",
        licence="terms not stated, ask the authors",
        counts={"test": 50},
        size=(1920, 1080),
        tree="""\
nighttime_driving/
  leftImg8bit/test/night/0_frame_0075_leftImg8bit.png
  gtCoarse_daytime_trainvaltest/test/night/0_frame_0075_gtCoarse_labelTrainIds.png        (or _labelIds.png)""",
        other_folders=("NighttimeDrivingTest",),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "test")
        self.split_title = "night test"

    def layouts(self) -> Sequence[Layout]:
        """Train ids, else label ids; both are published."""
        images, labels = "leftImg8bit/test/night", "gtCoarse_daytime_trainvaltest/test/night"
        return (
            Layout("published", images, labels, "_leftImg8bit.png", "_gtCoarse_labelTrainIds.png"),
            Layout("label ids", images, labels, "_leftImg8bit.png", "_gtCoarse_labelIds.png", CLASS_MAP),
        )


class FoggyZurich(PublishedSegmentation):
    """Foggy Zurich's test images (Sakaridis et al., ECCV 2018), second version: the 40 that a list names of 3808.

    Args:
        root: folder that holds `RGB/`, `gt_labelTrainIds/` and `lists_file_names/`; default `$GKD_DATA/foggy_zurich`.

    Raises:
        UserError: as `PublishedSegmentation`; no list, or a listed image that is not there.
    """

    card = Card(
        name="foggy_zurich",
        title="Foggy Zurich",
        homepage="https://people.ee.ethz.ch/~csakarid/Model_adaptation_SFSU_dense",
        licence="own licence, non-commercial",
        counts={"test": 40},
        size=(1920, 1080),
        tree="""\
foggy_zurich/
  lists_file_names/RGB_testv2_filenames.txt
  RGB/GP010229/1508040913.0_frame_000955.png
  gt_labelTrainIds/GP010229/1508040913.0_frame_000955.png        (or gt_labelIds/)""",
        other_folders=("Foggy_Zurich",),
        notes=("The list names the second version of the test, which contains the first one's 16 images.",),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "test")
        self.split_title = "testv2"

    def layouts(self) -> Sequence[Layout]:
        """Train ids, else label ids; both are published."""
        listed = "lists_file_names/RGB_testv2_filenames.txt"
        return (
            Layout("published", "RGB", "gt_labelTrainIds", ".png", ".png", list_file=listed),
            Layout("label ids", "RGB", "gt_labelIds", ".png", ".png", CLASS_MAP, list_file=listed),
        )


class FoggyDriving(PublishedSegmentation):
    """Foggy Driving (Sakaridis et al., IJCV 2018): `test` with fine and `test_extra` with coarse labels, judged as one.

    Args:
        root: folder that holds `leftImg8bit/`, `gtFine/` and `gtCoarse/`; default `$GKD_DATA/foggy_driving`.
    """

    card = Card(
        name="foggy_driving",
        title="Foggy Driving",
        homepage="https://people.ee.ethz.ch/~csakarid/SFSU_synthetic",
        licence="own licence, non-commercial",
        counts={"test": 101},
        size=(1280, 960),
        tree="""\
foggy_driving/
  leftImg8bit/test/{public,pedestrian}/public_20161213_083206_leftImg8bit.png
  gtFine/test/{public,pedestrian}/public_20161213_083206_gtFine_labelIds.png
  leftImg8bit/test_extra/{web,pedestrian}/web_fog_1_leftImg8bit.png
  gtCoarse/test_extra/{web,pedestrian}/web_fog_1_gtCoarse_labelIds.png""",
        other_folders=("Foggy_Driving",),
        notes=("33 images have fine labels and 68 coarse ones.", "Sizes differ; none is larger than that."),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "test")
        self.split_title = "test and test_extra"

    def layouts(self) -> Sequence[Layout]:
        """Label ids as published; labels are named from the root on, for they lie in two folders."""
        suffixes = ("_leftImg8bit.png", "_labelIds.png")
        return (Layout("published", "leftImg8bit", ".", *suffixes, CLASS_MAP, label_stem=_foggy_label),)


def _foggy_label(stem: str) -> str:
    kind = "gtCoarse" if stem.startswith("test_extra/") else "gtFine"
    return f"{kind}/{stem}_{kind}"
