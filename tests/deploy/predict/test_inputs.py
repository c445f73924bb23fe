"""What `--images` may be, and what its outputs are called."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from gkd_lightning.deploy.predict.inputs import find_inputs
from gkd_lightning.errors import UserError

FILES = ("one.png", "two.JPG", "deep/three.tif", "deep/clip.mp4", "deep/notes.md", ".hidden.png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*given: str) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in find_inputs(given, "out")]


def test_a_folder_keeps_its_sub_folders(folder: Path) -> None:
    found = [("video", "deep/clip"), ("image", "deep/three"), ("image", "one"), ("image", "two")]
    assert named("data") == found
    assert named("data/", str(folder / "data/one.png")) == found  # once each


def test_an_archive_is_a_folder_of_images(folder: Path) -> None:
    with zipfile.ZipFile(folder / "data.zip", "w") as opened:
        for name in FILES:
            opened.write(folder / "data" / name, name)
    assert named("data.zip") == [("image", "deep/three"), ("image", "one"), ("image", "two")]  # videos are not read
    assert named("data.zip/deep") == [("image", "three")]


def test_a_file_is_known_by_its_ending(folder: Path) -> None:
    assert named("data/one.png") == [("image", "one")]
    assert named("data/deep/clip.mp4") == [("video", "clip")]
    assert named("data/two.JPG", "data/deep/clip.mp4") == [("image", "two"), ("video", "deep/clip")]


def test_a_glob_begins_at_its_first_sign(folder: Path) -> None:
    assert named("data/**/*.*") == [("video", "deep/clip"), ("image", "deep/three"), ("image", "one"), ("image", "two")]
    assert named("data/d*/*.tif") == [("image", "deep/three")]
    (folder / "data/[1].png").touch()  # a file of that name is itself
    assert named("data/[1].png") == [("image", "[1]")]


def test_a_list_is_relative_to_itself_and_standard_input_to_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data/list.txt").write_text("# chosen\none.png\n\n  deep/three.tif\n")
    expected = [("image", "one"), ("image", "deep/three")]
    assert named("data/list.txt") == expected
    lines = io.TextIOWrapper(io.BytesIO(b"data/one.png\r\ndata/deep/three.tif\n"))
    monkeypatch.setattr(sys, "stdin", lines)
    assert named("-") == expected


def test_an_address_is_a_stream_whose_password_is_not_shown(folder: Path) -> None:
    (stream,) = find_inputs(["rtsp://me:secret@camera.local:554/live?token=secret"], "out")
    assert (stream.kind, stream.name, stream.shown) == ("stream", "camera.local", "rtsp://camera.local:554/live")
    assert "secret" not in repr(stream)
    assert [(each.kind, each.name) for each in find_inputs([os.devnull], "out")] == [("stream", "null")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere"], "--images nowhere: no such file or folder"),
        (["data/*.gif"], r"--images data/\*.gif: no image and no video fits"),
        (["data/deep/notes.md"], "data/deep/notes.md: not an image .*, a video .* or a list .*, by its ending"),
        (["empty"], "empty: no image and no video in this folder"),
        (["bare.txt"], "bare.txt: names no image; write one path per line"),
        (["lost.txt"], "lost.txt: 1 of 2 listed files do not exist, first gone.png"),
        (["odd.txt"], "odd.txt: data/deep/notes.md: not an image"),
        (["far.txt"], "far.txt: rtsp://camera/live: a stream is segmented alone"),
        (["binary.txt"], "binary.txt: cannot be read as a list"),
        (["rtsp://camera/live", "data"], "a stream is segmented alone; name nothing else"),
        (["twins"], "twins/a.jpg and twins/a.png: outputs of both would be called a; rename one"),
        (["."], "--out out: lies in ., where the next call would take predictions for images"),
        (["out/overlay/one.png"], "--out out: holds out/overlay/one.png, where predictions"),
        (["**/one.png"], "--out out: holds out/overlay/one.png"),
    ],
)
def test_mistakes(folder: Path, given: list[str], message: str) -> None:
    for name in ("empty", "twins", "out/overlay"):
        (folder / name).mkdir(parents=True)
    for name in ("twins/a.png", "twins/a.jpg", "out/overlay/one.png"):
        (folder / name).touch()
    (folder / "bare.txt").write_text("# nothing\n")
    (folder / "lost.txt").write_text("data/one.png\ngone.png\n")
    (folder / "odd.txt").write_text("data/deep/notes.md\n")
    (folder / "far.txt").write_text("rtsp://camera/live\n")
    (folder / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=message):
        find_inputs(given, "out")


def test_a_pipe_belongs_to_standard_input(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match="pipe a list of paths into --images -"):
        find_inputs(["pipe"], "out")
