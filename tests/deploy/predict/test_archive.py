"""`gkd predict --archive`: a file for a benchmark's server, or one line that says why there is none."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.data import CITYSCAPES_19
from gkd_lightning.deploy.predict.archive import SERVERS, server_of
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.errors import UserError
from tests.deploy.predict.made import CONDITIONS, acdc, checkpoint, of_cityscapes, picture, small_servers


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_cityscapes(tmp_path_factory.mktemp("made"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_servers(monkeypatch)


def test_acdcs_test_images_become_one_file(weights: Path, small: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["predict", "--ckpt", str(weights), "--images", acdc(tmp_path / "acdc"), "--out", str(out)]
    assert main([*command, "--archive", "acdc"]) == 0
    first = (out / "acdc.zip").read_bytes()
    with zipfile.ZipFile(out / "acdc.zip") as made:
        assert made.namelist() == [f"labelTrainIds/GOPR047{n}_frame_000247_rgb_anon.png" for n in range(4)]
        for number, condition in enumerate(CONDITIONS):
            ids = out / f"ids/{condition}/test/GOPR047{number}/GOPR047{number}_frame_000247_rgb_anon.png"
            assert made.read(made.namelist()[number]) == ids.read_bytes()
    (out / "acdc.zip").unlink()
    assert main([*command, "--archive", "acdc"]) == 0  # of what is segmented already
    assert (out / "acdc.zip").read_bytes() == first


def test_cityscapes_wants_label_ids(weights: Path, small: None, tmp_path: Path) -> None:
    folder, out = tmp_path / "leftImg8bit/test/berlin", tmp_path / "out"
    folder.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(picture(number)).save(folder / f"berlin_00000{number}_000019_leftImg8bit.png")
    command = ["predict", "--ckpt", str(weights), "--images", str(folder), "--out", str(out)]
    assert main([*command, "--archive", "cityscapes"]) == 0
    label_ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
    with zipfile.ZipFile(out / "cityscapes.zip") as made:
        assert made.namelist() == [f"berlin_00000{number}_000019_leftImg8bit.png" for number in range(2)]
        for name in made.namelist():
            stored = np.array(Image.open(BytesIO(made.read(name))))
            assert np.array_equal(stored, label_ids[np.array(Image.open(out / "ids" / name))])


def test_what_the_server_would_refuse_is_refused_before_anything_is_segmented(
    weights: Path, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = acdc(tmp_path / "acdc"), tmp_path / "out"
    other = checkpoint(tmp_path / "minicity")
    for ckpt, given, options, words in (
        (weights, images, ["--archive", "acdx"], "no such benchmark, did you mean 'acdc'? (acdc, cityscapes)"),
        (other, images, ["--archive", "acdc"], "wants Cityscapes' 19 classes"),
        (weights, images, ["--archive", "acdc", "--classes", "road"], "leave --classes out"),
        (weights, str(tmp_path / "acdc"), ["--archive", "acdc"], "rgb_ref_anon.png is no test image of ACDC; give"),
        (weights, images, ["--archive", "cityscapes"], "is no test image of Cityscapes"),
        (weights, images.replace("rgb_anon/*", "rgb_anon/[fr]*"), ["--archive", "acdc"], "0 of 1 in night, 0 of 1"),
    ):  # fmt: skip
        assert main(["predict", "--ckpt", str(ckpt), "--images", given, "--out", str(out), *options]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if words in line]
        assert "--archive" in line
        assert not out.exists()


def test_id_maps_that_the_server_would_refuse_make_no_file(
    weights: Path, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["predict", "--ckpt", str(weights), "--images", acdc(tmp_path / "acdc"), "--out", str(out)]
    assert main(command) == 0
    path = next((out / "ids/rain").rglob("*.png"))
    whole = path.read_bytes()
    for pixels, words in (
        (np.zeros((48, 32), np.uint8), "is 32x48, and ACDC's images are 64x48"),
        (np.full((48, 64), 19, np.uint8), "has id 19, and the last class is 18"),
    ):
        Image.fromarray(pixels).save(path)
        assert main([*command, "--archive", "acdc"]) == 2
        assert words in capsys.readouterr().err
        assert not list(out.glob("*.zip*"))
    path.write_bytes(whole)
    assert main([*command, "--archive", "acdc"]) == 0


def test_the_real_numbers() -> None:
    found = [
        Input("image", f"/acdc/rgb_anon/{condition}/test/GOPR0{number // 100}/G_{condition}_{number}_rgb_anon.png", "x")
        for condition in CONDITIONS
        for number in range(500)
    ]
    assert server_of("acdc", CITYSCAPES_19.names, 19, found) is SERVERS["acdc"]
    with pytest.raises(UserError, match="499 of 500 in snow"):
        server_of("acdc", CITYSCAPES_19.names, 19, found[:-1])
    twice = replace(found[0], source=found[0].source.replace("GOPR00", "GOPR01"))
    with pytest.raises(UserError, match="share their name"):
        server_of("acdc", CITYSCAPES_19.names, 19, [*found, twice])
