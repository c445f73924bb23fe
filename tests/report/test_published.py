"""Our table beside the paper's: Potsdam with both of its averages, missing numbers, seeds."""

from __future__ import annotations

from gkd_lightning.evaluate import Results
from gkd_lightning.recipes import Rival
from gkd_lightning.report.published import as_record, beside_published, rivals_table
from tests.evaluate.builders import domain_score, run

SCORES = {"potsdam-rgb": 90.0, "potsdam-irrg": 70.0, "vaihingen-irrg": 50.0}
PUBLISHED = {"gkd": {"potsdam-irrg": 74.5, "vaihingen-irrg": 55.6, "mean": 65.1}}


def judged(*seeds: float) -> Results:
    """GKD with these points added to every score, one seed each; the student alone with one seed."""

    def scored(method: str, seed: int, more: float) -> object:
        domains = [domain_score(name, value + more, name == "potsdam-rgb") for name, value in SCORES.items()]
        return run(method, seed, domains=domains)

    runs = [scored("gkd", seed, more) for seed, more in enumerate(seeds)]
    return Results(recipe="experiments/f2l/potsdam.yaml", title="Potsdam", runs=[*runs, scored("none", 0, 0.0)])  # type: ignore[list-item]


def test_the_papers_average_leaves_the_source_out_and_the_official_evaluators_does_not() -> None:
    header, _, ours, alone = beside_published(judged(0.0), PUBLISHED).strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, ours, alone)]
    assert cells[0][1:] == ["potsdam-irrg", "vaihingen-irrg", "mean", "potsdam-rgb", "mean of all"]
    assert cells[1][1:] == ["70.0 / 74.5 (−4.5)", "50.0 / 55.6 (−5.6)", "60.0 / 65.1 (−5.1)", "90.0", "70.0"]
    assert cells[2][1:] == ["70.0", "50.0", "60.0", "90.0", "70.0"]  # nothing is published for this row


def test_the_record_has_no_nan_and_names_the_seeds() -> None:
    ours, alone = as_record(judged(-1.0, 0.0, 1.0), PUBLISHED)
    assert ours["seeds"] == [0, 1, 2]
    assert ours["scores"]["mean"] == {"ours": 60.0, "std": 1.0, "published": 65.1}
    assert alone["scores"]["mean"] == {"ours": 60.0, "std": None, "published": None}


def test_rivals_with_and_without_all_of_their_numbers() -> None:
    rivals = [
        Rival("Rein", "DINOv2-L", "paper", {"night": 50.0, "fog": 60.04, "mean": 55.02}, crop=512),
        Rival("Other", "CLIP-L", "table", {"mean": 41.5}),
    ]
    header, _, whole, bare = rivals_table(rivals, ["night", "fog"]).strip().splitlines()
    assert header == "| published, not run here | backbone | crop | night | fog | mean | source |"
    assert whole == "| Rein | DINOv2-L | 512 | 50.0 | 60.0 | 55.0 | paper |"
    assert bare == "| Other | CLIP-L | – | – | – | 41.5 | table |"
