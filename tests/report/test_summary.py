"""Results as Markdown: the table, and who is ahead."""

from __future__ import annotations

from gkd_lightning.evaluate import Results
from gkd_lightning.report import headline, markdown_table
from gkd_lightning.report.summary import summary
from tests.evaluate.builders import results, run


def test_markdown_table() -> None:
    lines = markdown_table(results()).splitlines()
    assert lines[0] == "| method | unseen mean | day | night | fog | rain | snow | in-domain | gap | recovered % |"
    assert lines[4].startswith("| GKD | 30.5 ± 1.0 | 30.5 ± 1.0 |")
    assert len({line.count("|") for line in lines}) == 1


def test_summary_says_who_is_ahead_and_lists_every_seed() -> None:
    text = summary(results())
    lines = text.splitlines()
    assert text.startswith(headline(results()))
    assert markdown_table(results()) in text
    (line,) = (line for line in lines if line.startswith("| No distillation − GKD "))
    assert line.endswith("| GKD |")
    assert "**−" in line
    assert len([line for line in lines if line.startswith("| GKD | ")]) == 3 + 2  # a line per seed, a score, a cost
    one = summary(results({"gkd": (30, 1), "none": (20, 1)}, seeds=1))
    assert "±" not in one
    assert "Differences" not in one


def test_an_export_has_a_score_and_no_cost_of_training() -> None:
    export = run("gkd-int8", title="GKD, ONNX int8", role="export")
    both = summary(Results("test.yaml", "A test", [run("gkd"), export]))
    scores, costs = both.split("\nCosts:\n")
    assert "| GKD, ONNX int8 |" in scores
    assert "| GKD | 1.25 M |" in costs
    assert "ONNX" not in costs
    alone = summary(Results("test.yaml", "A test", [export]))
    assert "| GKD, ONNX int8 | 1.25 M |" in alone.split("\nCosts:\n")[1]
