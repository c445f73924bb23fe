"""A call goes on where the last one ended; what something else made is not mixed with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gkd_lightning.deploy.predict.progress import FINISHED, RECORD, Progress
from gkd_lightning.errors import UserError

MADE_BY = {"kind": "gkd-prediction", "segmenter": {"a": "1"}, "resize": {"resize": "none", "size": None}}


def progress(out: Path, **changes: object) -> Progress:
    return Progress(out, {**MADE_BY, **changes})


def test_nothing_is_written_before_it_begins(tmp_path: Path) -> None:
    found = progress(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found.begin()
    assert json.loads((tmp_path / "out" / RECORD).read_text()) == MADE_BY


def test_a_finished_input_is_known_until_its_file_changes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    first = progress(tmp_path)
    first.begin()
    first.add("a", str(tmp_path / "a.png"), size=[1, 2])
    again = progress(tmp_path)
    line = again.of("a", str(tmp_path / "a.png"))
    assert line is not None
    assert line["size"] == [1, 2]
    assert again.of("b") is None
    os.utime(tmp_path / "a.png", ns=(5, 5))
    assert progress(tmp_path).of("a", str(tmp_path / "a.png")) is None


def test_a_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    first = progress(tmp_path)
    first.begin()
    first.add("a")
    first.add("b")
    whole = (tmp_path / FINISHED).read_bytes()
    (tmp_path / FINISHED).write_bytes(whole[:-5])
    again = progress(tmp_path)
    assert again.of("a") is not None
    assert again.of("b") is None
    again.add("b")
    assert (tmp_path / FINISHED).read_bytes() == whole


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    progress(tmp_path).begin()
    with pytest.raises(UserError, match=r"holds predictions of another segmenter .*; give another folder"):
        progress(tmp_path, segmenter={"a": "2"})
    with pytest.raises(UserError, match="another rule"):
        progress(tmp_path, resize={"resize": "fit", "size": [2, 2]})
    (tmp_path / RECORD).write_text("[]")
    with pytest.raises(UserError, match="not the record of predictions"):
        progress(tmp_path)
