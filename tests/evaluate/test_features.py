"""Principal components as colours: shared by an encoder's images, turned towards the teacher's."""

from __future__ import annotations

import numpy as np
import torch

from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.evaluate.features import patch_agreement, patch_maps, pca_pictures


def maps(width: int, seed: int, grid: tuple[int, int] = (6, 8)) -> list[np.ndarray]:
    """The same three hidden causes, mixed into `width` features by a rotation, for two images."""
    hidden = np.random.default_rng(0).normal(size=(2, *grid, 3)) * [3.0, 2.0, 1.0]
    mixing, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, 3)))
    return [(image @ mixing.T).astype(np.float32) for image in hidden]


def test_encoders_that_know_the_same_show_the_same_colours() -> None:
    pictures = pca_pictures({"teacher": maps(20, 1), "student": maps(9, 2)}, reference="teacher")
    for teacher, student in zip(pictures["teacher"], pictures["student"], strict=True):
        assert teacher.shape == (6, 8, 3)
        assert teacher.dtype == np.uint8
        assert np.abs(teacher.astype(int) - student.astype(int)).max() <= 1


def test_an_encoder_that_knows_something_else_does_not() -> None:
    other = [np.random.default_rng(5).normal(size=(6, 8, 9)).astype(np.float32) for _ in range(2)]
    pictures = pca_pictures({"teacher": maps(20, 1), "student": other}, reference="teacher")
    differences = np.abs(np.stack(pictures["teacher"]).astype(int) - np.stack(pictures["student"]))
    assert differences.mean() > 30


def test_one_basis_for_all_images_of_an_encoder() -> None:
    first, second = maps(20, 1)
    together = pca_pictures({"teacher": [first, second, first]}, reference="teacher")["teacher"]
    np.testing.assert_array_equal(together[0], together[2])
    assert (together[0] != together[1]).any()


def test_grids_may_differ() -> None:
    pictures = pca_pictures({"teacher": maps(20, 1), "student": maps(9, 2, (3, 4))}, reference="teacher")
    assert pictures["student"][0].shape == (3, 4, 3)


def test_patch_maps_of_an_encoder() -> None:
    torch.manual_seed(0)
    options = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    encoder = build_encoder(EncoderSpec("vit_tiny_patch16_224", image_size=32, patch_size=8, options=options)).train()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    first, second = patch_maps(encoder, [image, image])
    assert first.shape == (4, 4, 24)
    np.testing.assert_array_equal(first, second)
    assert encoder.training
    tokens = encoder.eval().tokens(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(first.reshape(16, 24), tokens.patches[0].detach().numpy(), atol=1e-6)


def test_a_shared_basis_compares_encoders_of_one_width() -> None:
    first = maps(9, 2)
    louder = [5 * image + 3 for image in first]  # the same directions, in other units
    features = {"teacher": maps(20, 1), "one": first, "two": louder}
    shared = pca_pictures(features, "teacher", "shared")
    for teacher, one, two in zip(shared["teacher"], shared["one"], shared["two"], strict=True):
        np.testing.assert_allclose(one.astype(int), two.astype(int), atol=1)
        assert np.abs(teacher.astype(int) - one.astype(int)).max() <= 1
    turned, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(9, 9)))
    features["two"] = [(image @ turned).astype(np.float32) for image in first]  # axes that mean something else
    assert patch_agreement(features, "teacher", "own")["two"] > 0.999
    assert patch_agreement(features, "teacher", "shared")["two"] < 0.9
    same_width = pca_pictures({"teacher": first, "two": louder}, "teacher", "shared")
    np.testing.assert_allclose(same_width["teacher"][0].astype(int), same_width["two"][0].astype(int), atol=1)


def test_agreement_with_itself_and_with_something_else() -> None:
    other = [np.random.default_rng(5).normal(size=(6, 8, 9)).astype(np.float32) for _ in range(2)]
    found = patch_agreement({"teacher": maps(20, 1), "same": maps(9, 2, (6, 8)), "other": other}, "teacher")
    assert found["teacher"] > 0.999
    assert found["same"] > 0.999
    assert found["other"] < 0.6
