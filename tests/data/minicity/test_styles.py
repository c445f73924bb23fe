"""No target style shares a point of the parameter space with anything that a model is trained on."""

import pytest

from gkd_lightning.data.minicity import STYLES, TARGET_STYLES, augmentation_box, boxes_disjoint
from gkd_lightning.data.minicity.parts import PARTS, TABLE, Material
from gkd_lightning.data.minicity.styles import PARAMETERS, style
from gkd_lightning.errors import UserError

DECISIVE = {"day": "light.shadow", "night": "night.lamps", "fog": "fog.density", "rain": "rain.streaks",
            "snow": "snow.cover"}  # fmt: skip


@pytest.mark.parametrize("target", TARGET_STYLES)
@pytest.mark.parametrize("trained_on", ["wild", "game"])
def test_targets_are_disjoint_from_training(target: str, trained_on: str) -> None:
    seen = boxes_disjoint(STYLES[target].parameter_box(), STYLES[trained_on].parameter_box())
    assert DECISIVE[target] in seen


@pytest.mark.parametrize("target", TARGET_STYLES)
@pytest.mark.parametrize("trained_on", ["wild", "game"])
def test_no_photometric_augmentation_reaches_a_target(target: str, trained_on: str) -> None:
    assert DECISIVE[target] in boxes_disjoint(STYLES[target].parameter_box(), augmentation_box(trained_on))


@pytest.mark.parametrize(("name", "apart"), [("val", {"fog.density"}), ("frost", {"snow.cover", "rain.streaks"})])
def test_a_validation_style_is_neither_trained_on_nor_a_target(name: str, apart: set[str]) -> None:
    val = STYLES[name].parameter_box()
    for trained_on in ("wild", "game"):
        assert apart <= set(boxes_disjoint(val, augmentation_box(trained_on)))
    for other in {*TARGET_STYLES, "val", "frost"} - {name}:
        found = set(boxes_disjoint(val, STYLES[other].parameter_box()))
        assert found & set(DECISIVE.values()), other  # by what is in the scene, not by a camera


def test_the_augmentation_box_contains_the_style_and_moves_only_colours() -> None:
    plain, augmented = STYLES["game"].parameter_box(), augmentation_box("game")
    assert all(augmented[key][0] <= low and high <= augmented[key][1] for key, (low, high) in plain.items())
    moved = {key for key in plain if plain[key] != augmented[key]}
    assert not moved & set(DECISIVE.values())
    assert not boxes_disjoint(plain, augmented)


def test_every_style_fills_the_same_space_with_proper_intervals() -> None:
    for name, one in STYLES.items():
        box = one.parameter_box()
        assert set(box) == set(PARAMETERS), name
        assert all(low <= high for low, high in box.values()), name
    assert PARAMETERS[-5 * len(Material) :: 5] == tuple(f"{material.name.lower()}.hue" for material in Material)
    assert len(TABLE) <= PARTS


def test_boxes_of_different_spaces_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same parameter space"):
        boxes_disjoint({"a": (0, 1)}, {"b": (0, 1)})


def test_an_unknown_style_is_named_together_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'sunny'.*game.*snow"):
        style("sunny")
