import pytest
import torch

from gkd_lightning.encoders import EncoderSpec, Frozen, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.segment.mask_scores import semantic_scores
from gkd_lightning.segment.segmenter import Segmenter, best_classes
from gkd_lightning.segment.sliding import sliding_scores
from gkd_lightning.windows import plan_windows
from tests.segment.fake import HEAD, SPEC


def segmenter(window: int = 32, stride: int = 16) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter.for_encoder(Frozen(build_encoder(SPEC)), 3, HEAD, window=window, stride=stride).eval()


def images(height: int, width: int, batch: int = 2) -> torch.Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (33, 70), (20, 32), (5, 9), (1, 1)])
def test_scores_of_any_size(size: tuple[int, int]) -> None:
    """Smaller than a window, not a multiple of the patch, a single pixel."""
    with torch.inference_mode():
        scores = segmenter().scores(images(*size))
    assert scores.shape == (2, 3, *size)
    assert scores.dtype == torch.float32
    assert float(scores.min()) >= 0
    assert torch.isfinite(scores).all()


@torch.inference_mode()
def test_batching_windows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = segmenter(), images(48, 64)
    together = model.scores(batch)
    monkeypatch.setattr("gkd_lightning.segment.segmenter.SCORE_VALUES_AT_ONCE", 1)
    torch.testing.assert_close(model.scores(batch), together, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.scores(batch[1:])[0], together[1], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_uint8_and_float_images_are_the_same() -> None:
    model, batch = segmenter(), images(35, 40)
    torch.testing.assert_close(model.scores(batch / 255), model.scores(batch), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_prediction_at_another_size() -> None:
    model, batch = segmenter(), images(32, 32)
    prediction = model.predict(batch, (64, 80))
    assert prediction.shape == (2, 64, 80)
    assert prediction.dtype == torch.int64
    assert model.predict(batch, (32, 32)).equal(model.scores(batch).argmax(1))


def test_no_object_has_no_score() -> None:
    classes = torch.tensor([[[9.0, -9.0, -9.0], [-9.0, -9.0, 9.0]]])  # query 0: class 0, query 1: no object
    masks = torch.tensor([[[[9.0, -9.0]], [[9.0, 9.0]]]])
    scores = semantic_scores(classes, masks, (1, 2))
    torch.testing.assert_close(scores[0, 0, 0], torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0)
    assert float(scores[0, 1].max()) < 1e-3


def test_scores_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several images and queries at once, a few, or one by one."""
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(3, 7, 5, generator=generator), torch.randn(3, 7, 6, 4, generator=generator)
    whole = semantic_scores(classes, masks, (9, 10))
    for values in (90 * 14, 90 * 7, 90 * 3, 1):
        monkeypatch.setattr("gkd_lightning.segment.mask_scores.CACHED_MASK_VALUES", values)
        torch.testing.assert_close(semantic_scores(classes, masks, (9, 10)), whole, atol=1e-6, rtol=1e-6)


def test_every_pixel_is_covered_and_windows_fill_the_image() -> None:
    for size in ((1, 1), (31, 100), (32, 32), (33, 65), (90, 47)):
        covered = torch.zeros(size)
        for place in plan_windows(size, 32, 21):
            assert covered[place.area].shape == (min(size[0], 32), min(size[1], 32))
            covered[place.area] += 1
        assert int(covered.min()) >= 1


def test_agreeing_windows_average_to_themselves() -> None:
    batch = torch.rand(3, 2, 50, 41)
    scores = sliding_scores(batch, lambda crops: crops * 2, window=16, stride=9, batch=5)
    torch.testing.assert_close(scores, batch * 2)


def test_stride_beyond_the_window() -> None:
    with pytest.raises(UserError, match="stride: 40"):
        segmenter(window=32, stride=40)


@pytest.mark.parametrize("scales", [(4, 2, 1), (1, 2, 4, 8), (4, 2, 1, 0)])
def test_scales_are_four_and_fall(scales: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="scales"):
        Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD, scales=scales)


@torch.inference_mode()
def test_coarse_scales_still_take_a_single_pixel() -> None:
    model = Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD, scales=(2, 1, 0.5, 0.25)).eval()
    assert model.scores(images(1, 3)).shape == (2, 3, 1, 3)


@pytest.mark.parametrize("blocks", [[0, 1, 2], [0, 1, 2, 4]])
def test_blocks_must_exist(blocks: list[int]) -> None:
    with pytest.raises(UserError, match="blocks 0 to 3"):
        Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD, blocks)


@torch.inference_mode()
def test_encoder_of_one_size_only() -> None:
    spec = EncoderSpec("eva02_tiny_patch14_224", image_size=32, patch_size=8, options={"depth": 2})
    model = Segmenter.for_encoder(build_encoder(spec), 3, HEAD, window=32, stride=16).eval()
    assert model.scores(images(20, 50)).shape == (2, 3, 20, 50)


@torch.inference_mode()
def test_hierarchical_encoder_gives_its_own_maps() -> None:
    encoder = build_encoder(EncoderSpec("tf_efficientnet_lite0", image_size=64))
    model = Segmenter.for_encoder(encoder, 3, HEAD).eval()
    assert model.head.pixel_decoder.feature_channels == encoder.feature_dims
    assert model.scores(images(64, 96)).shape == (2, 3, 64, 96)


def test_of_equal_scores_the_first_class() -> None:
    scores = torch.randint(0, 3, (2, 19, 33, 40), generator=torch.Generator().manual_seed(0)).float()
    assert best_classes(scores).equal(scores.argmax(1))
