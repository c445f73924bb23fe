from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.data import ImageDataset, ProxyImages
from gkd_lightning.errors import UserError
from tests.data.helpers import save

GREY = np.full((4, 5, 3), 7, dtype=np.uint8)


def names(data: ProxyImages) -> list[str]:
    return [data.name(index) for index in range(len(data))]


def test_a_tree(tmp_path: Path) -> None:
    for name in ("n02/b.JPEG", "n01/ä b.jpg", "n01/a.png"):
        save(tmp_path / name, GREY)
    data = ProxyImages(str(tmp_path))
    assert isinstance(data, ImageDataset)
    assert names(data) == ["n01/a.png", "n01/ä b.jpg", "n02/b.JPEG"]
    assert data.image(1).shape == (4, 5, 3)
    assert data.image_path(1) == tmp_path / "n01" / "ä b.jpg"


def test_a_list_file_is_relative_to_itself(tmp_path: Path) -> None:
    save(tmp_path / "pictures" / "x.png", GREY)
    elsewhere = save(tmp_path / "other" / "y.png", GREY)
    (tmp_path / "pictures" / "use.txt").write_text(f"# chosen\n\nx.png\n{elsewhere}\n")
    data = ProxyImages(str(tmp_path / "pictures" / "use.txt"))
    assert names(data) == ["x.png", str(elsewhere)]
    assert data.image(1).shape == (4, 5, 3)


def test_several_roots_keep_their_names_apart(tmp_path: Path) -> None:
    for root in ("a", "b", "a/sub"):
        save(tmp_path / root / "1.png", GREY)
    data = ProxyImages([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a" / "sub")])
    assert names(data) == ["0/1.png", "0/sub/1.png", "1/1.png", "2/1.png"]


def test_nothing_is_scanned_when_built_and_the_scan_travels_to_workers(tmp_path: Path) -> None:
    data = ProxyImages(str(tmp_path / "later"))
    save(tmp_path / "later" / "1.png", GREY)
    assert len(data) == 1
    save(tmp_path / "later" / "2.png", GREY)
    assert len(pickle.loads(pickle.dumps(data))) == 1


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("empty", "empty: no image in this folder"),
        ("nowhere.txt", "nowhere.txt: cannot be read"),
        ("blank.txt", "blank.txt: the list is empty"),
        ("wrong.txt", r"wrong.txt: 1 of 1 listed images do not exist, first .*gone.png"),
    ],
)
def test_bad_roots(tmp_path: Path, root: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("# nothing\n")
    (tmp_path / "wrong.txt").write_text("gone.png\n")
    with pytest.raises(UserError, match=message):
        len(ProxyImages(str(tmp_path / root)))


def test_no_root() -> None:
    with pytest.raises(UserError, match="root is empty"):
        ProxyImages([])
