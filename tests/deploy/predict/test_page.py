"""The commands of docs/predict.md do what stands beside them."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.deploy.predict.inputs import find_inputs
from tests.deploy.predict.made import acdc, checkpoint, of_cityscapes, picture, small_servers, video

pytest.importorskip("av")
PAGE = (Path(__file__).parents[3] / "docs/predict.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    checkpoint(tmp_path)
    (tmp_path / "last_run").touch()
    (tmp_path / "holiday/deep").mkdir(parents=True)
    for name in ("one.jpg", "deep/two.jpg"):
        Image.fromarray(picture(1)).save(tmp_path / "holiday" / name)
    video(tmp_path / "drive.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_every_line_runs(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith("pip install"):
        assert shlex.split(line)[2] == "gkd-lightning[video]"
        return
    words = shlex.split(line, comments=True)
    if "|" in words:
        first, words = line.partition("|")[0], words[words.index("|") + 1 :]
        piped = subprocess.run(["bash", "-c", first], capture_output=True, check=True).stdout
        assert len(piped.splitlines()) == 2
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    if any("://" in word for word in words):
        assert [each.kind for each in find_inputs([words[words.index("--images") + 1]], "masks")] == ["stream"]
        return
    if "--archive" in words:
        small_servers(monkeypatch)
        of_cityscapes(folder)
        assert words[words.index("--images") + 1] == str(Path(acdc(folder / "data/acdc")).relative_to(folder))
    assert main(words[1:]) == 0
    out = folder / words[words.index("--out") + 1]
    assert (out / "acdc.zip").exists() == ("--archive" in words)
    assert list(out.rglob("overlay/*"))
    assert (out / "coco.json").exists() == ("--json" in words)


def test_every_product_of_the_page_is_written(folder: Path) -> None:
    command = ["predict", "--ckpt", ".", "--images", "holiday", "drive.mp4", "--out", "masks"]
    assert main([*command, "--ids", "--scores", "--confidence", "--json"]) == 0
    rows = re.findall(r"^\| (`\S*(?:NAME|coco)\S*.*?) \| (?!`--panoptic`)", PAGE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) == 8
    for name in named:
        path = name.replace("NAME", "drive" if "000000" in name or "mp4" in name else "holiday/one")
        assert (folder / "masks" / path).is_file(), name
