"""Videos in and out: every frame, upright, at its time; broken ones told; a camera until somebody stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.deploy.predict import videos
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.errors import UserError
from tests.deploy.predict.made import camera, checkpoint, look, turned, video, with_a_broken_frame

pytest.importorskip("av")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint(tmp_path_factory.mktemp("made")))


def predict(weights: str, out: Path, *arguments: str) -> int:
    return main(["predict", "--ckpt", weights, "--device", "cpu", "--out", str(out), "--images", *arguments])


def opened(path: Path, kind: str = "video") -> videos.Video:
    return videos.Video(Input(kind, str(path), path.stem))  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [25, 12])
def test_an_overlay_has_the_videos_frames_rate_and_size(weights: str, tmp_path: Path, rate: int) -> None:
    source = video(tmp_path / "clip.mp4", rate=rate)
    assert predict(weights, tmp_path / "out", str(source), "--ids", "--batch", "5") == 0
    (found, width, height), frames = look(tmp_path / "out/overlay/clip.mp4")
    assert (found, width, height, len(frames)) == (rate, 64, 48, 12)
    assert [path.name for path in sorted((tmp_path / "out/ids/clip").iterdir())] == [f"{i:06d}.png" for i in range(12)]
    assert not list(tmp_path.rglob("*.partial"))


def test_frames_are_segmented_as_images_are(weights: str, tmp_path: Path) -> None:
    source = video(tmp_path / "clip.mp4", frames=3)
    (tmp_path / "frames").mkdir()
    for frame in opened(source).frames():
        Image.fromarray(frame.image).save(tmp_path / f"frames/{frame.index}.png")
    assert predict(weights, tmp_path / "out", str(source), "--ids") == 0
    assert predict(weights, tmp_path / "images", str(tmp_path / "frames")) == 0
    for index in range(3):
        of_video, of_image = (tmp_path / name for name in (f"out/ids/clip/{index:06d}.png", f"images/ids/{index}.png"))
        assert np.array_equal(np.asarray(Image.open(of_video)), np.asarray(Image.open(of_image)))


def test_a_telephones_video_is_upright(tmp_path: Path) -> None:
    plain = video(tmp_path / "plain.mp4", frames=2)
    upright = turned(plain, tmp_path / "turned.mp4")
    for stored, shown in zip(opened(plain).frames(), opened(upright).frames(), strict=True):
        assert shown.image.shape == (64, 48, 3)
        assert np.array_equal(shown.image, np.rot90(stored.image, -1))


def test_odd_sides_and_uneven_times_are_kept(tmp_path: Path) -> None:
    source = opened(video(tmp_path / "clip.mp4", frames=4))
    times = [Fraction(0), Fraction(1, 30), Fraction(1, 2), Fraction(1, 2)]  # the last repeats one: a camera's mistake
    overlay = videos.OverlayVideo(tmp_path / "odd.mp4", source, (47, 63))
    for frame, seconds in zip(source.frames(), times, strict=True):
        overlay.add(frame.image[:47, :63], seconds)
    overlay.close()
    found = [(frame.image.shape, frame.seconds) for frame in opened(tmp_path / "odd.mp4").frames()]
    assert [shape for shape, _ in found] == [(48, 64, 3)] * 4
    assert [float(seconds) for _, seconds in found] == pytest.approx([0, 1 / 30, 0.5, 0.5], abs=1e-3)


def test_colours_are_kept_and_said(tmp_path: Path) -> None:
    source = opened(video(tmp_path / "clip.mp4", frames=1))
    flat = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    overlay = videos.OverlayVideo(tmp_path / "red.mp4", source, (48, 64))
    overlay.add(flat, Fraction(0))
    overlay.close()
    with source.av.open(str(tmp_path / "red.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - flat).max() < 6


def test_without_an_encoder_for_h264_mpeg4_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "ENCODERS", ("none", "mpeg4"))
    source = opened(video(tmp_path / "clip.mp4", rate=24, frames=5))
    overlay = videos.OverlayVideo(tmp_path / "old.mp4", source, (48, 64))
    pictures = []
    for frame in source.frames():
        overlay.add(frame.image, frame.seconds)
        pictures.append(frame.image)
    overlay.close()
    (rate, *_), frames = look(tmp_path / "old.mp4")
    assert (rate, len(frames)) == (24, 5)
    assert np.abs(frames[3].astype(int) - pictures[3]).mean() < 12


def test_broken_videos_are_told_and_the_others_done(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    whole = video(folder / "whole.mp4", frames=40, movflags="faststart")
    (folder / "middle.mp4").write_bytes(with_a_broken_frame(whole, 26))
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mkv").touch()
    cut = video(tmp_path / "cut.mkv", frames=40).read_bytes()
    (folder / "cut.mkv").write_bytes(cut[: len(cut) // 2])
    end = video(tmp_path / "end.mp4", frames=40).read_bytes()
    (folder / "end.mp4").write_bytes(end[: len(end) // 2])
    assert predict(weights, tmp_path / "out", str(folder)) == 2
    error = capsys.readouterr().err
    for part in (
        "5 of 6 not (wholly) segmented",
        "cut.mkv: ends after 0.",
        "empty.mkv: cannot be opened as a video",
        "end.mp4: cannot be opened as a video",
        "middle.mp4: ",
        "cannot be decoded; its other",
        "text.mp4: cannot be opened as a video: Invalid data",
    ):
        assert part in error.replace("end.mp4: holds no video", "end.mp4: cannot be opened as a video"), part
    assert sorted(path.name for path in (tmp_path / "out/overlay").iterdir()) == ["cut.mp4", "middle.mp4", "whole.mp4"]
    assert 5 < len(look(tmp_path / "out/overlay/cut.mp4")[1]) < 40
    assert predict(weights, tmp_path / "out", str(folder)) == 2  # told again, but what is whole is not done again
    assert "(1 were finished before)" in capsys.readouterr().err


def test_sound_alone_is_no_video(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert predict(weights, tmp_path / "out", str(tmp_path / "song.mp4")) == 2
    assert "song.mp4: holds no video" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_video_leaves_nothing_and_is_begun_again(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = video(tmp_path / "clip.mp4")
    add, seen = videos.OverlayVideo.add, []

    def interrupted(*arguments: object) -> None:
        seen.append(1)
        if len(seen) == 6:
            raise KeyboardInterrupt
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(videos.OverlayVideo, "add", interrupted)
    assert predict(weights, tmp_path / "out", str(source)) == 130
    assert "interrupted, resume with: gkd predict" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.mp4*"))
    assert predict(weights, tmp_path / "out", str(source)) == 0
    assert len(look(tmp_path / "out/overlay/clip.mp4")[1]) == 12


@pytest.mark.slow
def test_a_camera_that_is_stopped_leaves_a_whole_video(weights: str, tmp_path: Path) -> None:
    with camera() as address:
        command = [sys.executable, "-m", "gkd_lightning", "predict", "--ckpt", weights, "--device", "cpu"]
        command += ["--images", address, "--out", str(tmp_path / "out"), "--ids", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        frames = tmp_path / "out/ids"
        try:
            for _ in range(600):
                time.sleep(0.1)
                if len(list(frames.rglob("*.png"))) > 10 or process.poll() is not None:
                    break
            process.send_signal(signal.SIGINT)
            printed, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, error
    (path,) = (tmp_path / "out/overlay").iterdir()
    assert printed.strip() == str(path)
    assert len(look(path)[1]) == len(list(frames.rglob("*.png"))) > 10
    assert (tmp_path / "out/coco.json").is_file()
    assert "secret" not in printed + error
    assert not any("secret" in file.read_text() for file in (tmp_path / "out").glob("*.json*"))


def test_a_stream_that_ends_is_kept_and_one_that_is_not_there_told(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with camera(frames=30) as address:
        status = predict(weights, tmp_path / "out", address)
    (path,) = (tmp_path / "out/overlay").iterdir()
    assert len(look(path)[1]) > 5
    error = capsys.readouterr().err
    assert status == 0 or "the stream broke off" in error  # this server says no length
    assert predict(weights, tmp_path / "none", "rtsp://someone:secret@127.0.0.1:9/live") == 2
    error = capsys.readouterr().err
    assert "rtsp://127.0.0.1:9/live: cannot be opened as a video: " in error
    assert "secret" not in error
    assert not (tmp_path / "none").exists()


def test_a_device_is_opened_as_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    asked: dict[str, object] = {}

    def instead(file: str, **settings: object) -> None:
        asked.update(settings, file=file)
        raise OSError(6, "No such device or address")

    monkeypatch.setattr(av, "open", instead)
    with pytest.raises(UserError, match="/dev/null: cannot be opened as a video: No such device or address"):
        opened(Path(os.devnull), "stream")
    assert asked == {"file": os.devnull, "format": "v4l2"}


def test_without_pyav_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/one.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    assert predict("none", tmp_path / "out", str(tmp_path / "clips")) == 2
    assert capsys.readouterr().err == "gkd: av is not installed: pip install 'gkd-lightning[video]'\n"
