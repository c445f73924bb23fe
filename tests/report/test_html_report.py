"""The report is one file without a link to the outside, and shows every method, domain and class."""

from __future__ import annotations

import html
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Results, changes
from gkd_lightning.report.change_lines import change_text
from gkd_lightning.report.gallery import Gallery
from gkd_lightning.report.html_report import render_report, write_report
from gkd_lightning.report.table_cells import duration
from tests.evaluate.builders import DOMAINS, SCORES, SPACE, TITLES, domain_score, gallery, results, run
from tests.evaluate.judged import DOMAINS as DOMAINS_JUDGED
from tests.evaluate.judged import judged


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects text and everything that loads something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name.split(":")[-1] in ("src", "href", "data", "srcset")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(results(), gallery())


def test_loads_nothing_from_outside(page: str) -> None:
    reader = read(page)
    assert all(address.startswith(("data:image/", "#")) for address in reader.loads)
    assert len(reader.loads) > 15  # it does hold pictures
    code = re.sub(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//|@import|url\((?!#)", code)
    assert "<script" not in page


def test_shows_every_method_domain_class_and_the_facts(page: str) -> None:
    text = " ".join(read(page).text)
    for word in (*TITLES.values(), *DOMAINS, *SPACE.names):
        assert word in text
    for word in ("30.5", "± 1.0", "52 %", "29.5", "1.25 M", "4,800", "1 min 01 s", "2.0 GiB", "0123abcd", "gkd2"):
        assert word in text
    assert "randomised styles" in text  # what the teacher has seen
    assert "window" in text
    assert "last step" in text


def test_names_are_escaped(page: str) -> None:
    assert html.escape(TITLES["teacher"]) in page
    assert TITLES["teacher"] not in page


def test_the_best_student_is_marked_not_the_teacher() -> None:
    text = render_report(results())
    assert "<b>30.5</b>" in text
    assert "<b>40.0</b>" not in text


def test_oracle_selection_is_shouted() -> None:
    assert "ORACLE" in render_report(results({}, runs=[run("gkd", selection="oracle")]))
    assert "ORACLE" not in render_report(results({}, runs=[run("gkd")]))


def test_mistakes_and_the_worst_images_of_the_reported_method() -> None:
    made = gallery()
    scores = {"none": 1.0, "gkd": 34.5}
    worst = [replace(made.samples[1], scores=scores), replace(made.samples[0], predictions={}, name="of_another")]
    text = " ".join(read(render_report(results(), replace(made, worst=worst))).text)
    # sky and road are taken for each other as often; the share of sky is that of its wrong pixels, at 30.5 percent
    assert "What is taken for what" in text
    assert re.search(r"night\s+53\.3 %\s+sky → road\s+50 % of mistakes, 53 % of sky\s+road → sky", text)
    assert "game (in-domain)" in text
    assert "Worst images" in text
    assert "image_1, 34" in text
    assert "of_another" not in text
    assert "Worst images" not in " ".join(read(render_report(results(), made)).text)
    right = domain_score("day", 100.0)
    perfect = results({}, runs=[run("gkd", domains=[right])])
    assert "taken for" not in render_report(perfect)


def test_what_changed_against_another_run() -> None:
    before, after = judged({"gkd": 0.6}), judged({"gkd": 0.9}, luck=1)
    found = changes(before, after)
    text = " ".join(read(render_report(after.results, changed=("A <run>", found))).text)
    assert "Against A <run>." in text
    assert re.search(r"unseen mean\s+5\d\.\d\s+8\d\.\d\s+\+\d\d\.\d\s+–\s+–", text)
    assert re.search(r"night .* sky \+\d\d\.\d.*12 of 12: night_\d\d \+\d\d\.\d", text, re.DOTALL)
    assert "What changed" not in render_report(after.results)
    lines = change_text(changes(after, before)).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"GKD, {name}" for name in ("unseen mean", *DOMAINS_JUDGED)]
    assert re.search(r"classes won: none; lost: \w+ −\d\d.*images won 0 of 12, lost 12 of 12: night_", lines[2])


@pytest.mark.parametrize(
    "odd",
    [
        results({"none": SCORES["none"]}),
        results({"gkd": SCORES["gkd"]}, seeds=1, teacher={}),
        results({}, runs=[run("gkd", curves={}, provenance={}, protocol={}, domains=run("gkd").domains[1:])]),
        results({}, runs=[run("gkd", domains=run("gkd").domains[:1])]),
    ],
)
def test_reports_of_odd_collections(odd: Results) -> None:
    read(render_report(odd))
    read(render_report(odd, Gallery(SPACE, [])))


def test_write_report_leaves_readable_files(tmp_path: Path) -> None:
    path = write_report(results(), tmp_path / "out", gallery())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "gallery.npz",
        "report.html",
        "results.csv",
        "results.json",
        "summary.md",
    ]
    assert path == tmp_path / "out" / "report.html"
    assert Results.load(path.with_name("results.json")).runs == results().runs
    assert zipfile.is_zipfile(path.with_name("gallery.npz"))


def test_mixed_protocols_leave_the_folder_as_it_was(tmp_path: Path) -> None:
    mixed = results({}, runs=[run("none"), run("gkd", protocol={"window": 1})])
    with pytest.raises(UserError, match="different protocols"):
        write_report(mixed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.6, 412, 3600, 11220)] == [
        "0 s",
        "1 min 00 s",
        "6 min 52 s",
        "1 h 00 min",
        "3 h 07 min",
    ]


def test_no_difference_of_a_row_to_itself() -> None:
    assert "minus No distillation" in render_report(results())
    assert "minus No distillation" not in render_report(results({"none": (20.0, 1.0)}, highlight="none"))


def test_what_a_protocol_leaves_open_is_not_shown() -> None:
    runs = [run("gkd", protocol={"resize": "none", "split": "", "id_map": None, "window": 96})]
    page = render_report(results({}, runs=runs))
    assert "<code>none</code>, window <code>96</code>" in page
