import numpy as np
import pytest

from gkd_lightning.data import Joined, JoinedImages, MiniCity, MiniCityShapes, SegmentationDataset
from gkd_lightning.errors import UserError


def test_one_after_the_other() -> None:
    first, second = MiniCity("game", 2), MiniCity("day", 3)
    joined = Joined([first, second])
    assert isinstance(joined, SegmentationDataset)
    assert len(joined) == 5
    assert np.array_equal(joined.image(1), first.image(1))
    assert np.array_equal(joined.image(2), second.image(0))
    assert np.array_equal(joined.label(4), second.label(2))
    assert len({joined.name(index) for index in range(5)}) == 5
    with pytest.raises(IndexError):
        joined.image(5)


def test_a_small_set_repeated() -> None:
    first, second = MiniCity("game", 2), MiniCity("day", 3)
    joined = Joined([first, second], repeats=[3, 1])
    assert len(joined) == 9
    names = [joined.name(index) for index in range(9)]
    assert names[:6] == [f"0/{first.name(index % 2)}" for index in range(6)]
    assert names[6:] == [f"1/{second.name(index)}" for index in range(3)]
    assert np.array_equal(joined.label(5), first.label(1))
    with pytest.raises(UserError, match="repeats: 1 numbers for 2 datasets; give one for each"):
        Joined([first, second], repeats=[2])
    with pytest.raises(UserError, match=r"repeats\S*: 0; give a number at least 1"):
        Joined([first, second], repeats=[1, 0])


def test_nothing_to_join_and_other_classes() -> None:
    class Other(MiniCity):
        label_space = type(MiniCity.label_space)(("one",), ((0, 0, 0),))

    with pytest.raises(UserError, match="none given"):
        Joined([])
    with pytest.raises(UserError, match=r"datasets\[1\]"):
        Joined([MiniCity("game", 1), Other("game", 1)])


def test_images_alone_need_no_classes() -> None:
    shapes, streets = MiniCityShapes(2), MiniCity("game", 1)
    joined = JoinedImages([shapes, streets])
    assert not isinstance(joined, SegmentationDataset)
    assert [joined.name(index) for index in range(3)] == [
        f"0/{shapes.name(0)}", f"0/{shapes.name(1)}", f"1/{streets.name(0)}",
    ]  # fmt: skip
    assert np.array_equal(joined.image(1), shapes.image(1))
    assert np.array_equal(joined.image(2), streets.image(0))
    with pytest.raises(UserError, match="none given"):
        JoinedImages([])
