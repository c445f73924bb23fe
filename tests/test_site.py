"""The documentation site: it builds without a warning, leads nowhere that is not there, and fetches nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from gkd_lightning.cli import VERBS

ROOT = Path(__file__).parents[1]
FETCHED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """Where a page leads, what it loads and what can be linked in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in FETCHED and FETCHED[tag] in found:
            self.loads.append(found[FETCHED[tag]])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_builds_without_a_warning_and_holds_together(tmp_path: Path) -> None:
    """Built once for all that is asked of it, as `make docs` does it, but elsewhere."""
    site = tmp_path / "html"
    command = ["-m", "sphinx", "-b", "html", "-q", "-c", "docs", "--fail-on-warning", "--keep-going", "-d"]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "doctrees"), ".", str(site)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path) for path in site.rglob("*.html")}
    links_lead_somewhere(site, pages)
    nothing_is_fetched_from_elsewhere(site, pages)
    reference_has_verbs_and_names(site, pages)
    notebooks_show_their_pictures(site, pages)


def links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    lost = []
    for path, page in pages.items():
        for link in page.links:
            place, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", place):
                continue
            target = (path.parent / unquote(place)).resolve() if place else path
            found = pages.get(target)
            if not target.is_file() or (anchor and found is not None and unquote(anchor) not in found.anchors):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost
    assert sum(len(page.links) for page in pages.values()) > 5000


def nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """Scripts, styles, fonts and pictures lie in the site, or in the page itself."""
    for path, page in pages.items():
        for place in page.loads:
            if not place.startswith("data:"):
                assert not re.match(r"([a-z]+:)?//", place), (path, place)
                assert (path.parent / unquote(place.partition("?")[0].partition("#")[0])).exists(), (path, place)
    styles = list(site.rglob("*.css"))
    assert len(styles) >= 4
    for path in styles:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"@import|@font-face|url\(['\"]?(?!['\"]?data:)", text), path


def reference_has_verbs_and_names(site: Path, pages: dict[Path, Page]) -> None:
    commands = pages[site / "docs/reference/command_line.html"].anchors
    assert {f"gkd-{verb}" for verb in VERBS} <= commands
    assert {
        "cmdoption-gkd-run-set",
        "cmdoption-gkd-data-check-images",
        "cmdoption-gkd-inspect-features-basis",
    } <= commands
    assert "cmdoption-gkd-predict-ckpt" in commands
    rooms = {path.stem: page.anchors for path, page in pages.items() if path.parent.name == "python"}
    for room, name in (
        ("distill", "GKD"),
        ("data", "FolderSegmentation"),
        ("segment", "TaskLearning"),
        ("ranges", "Share"),
    ):
        assert f"gkd_lightning.{room}.{name}" in rooms[f"gkd_lightning.{room}"]
    assert "gkd_lightning.load" in rooms["gkd_lightning"]
    shown = (site / "docs/reference/python/gkd_lightning.distill.html").read_text(encoding="utf-8")
    signature = shown.partition('id="gkd_lightning.distill.DomainGeneralDistillation"')[2].partition("</dt>")[0]
    assert "mask_ratio" in signature  # not *args


def notebooks_show_their_pictures(site: Path, pages: dict[Path, Page]) -> None:
    notebook = json.loads((ROOT / "notebooks/03_look_inside.ipynb").read_text(encoding="utf-8"))
    kept = [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    shown = [each for each in pages[site / "notebooks/03_look_inside.html"].loads if each.startswith("data:image/png")]
    assert len(shown) == len(kept) > 0
