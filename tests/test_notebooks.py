"""Every notebook runs from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SHORTER = {
    "01_first_distillation": {
        "train(distillation, proxy, 60)": "train(distillation, proxy, 6)",
        "train(task, source, 60)": "train(task, source, 6)",
    },
    "02_your_own_data": {
        "task_agnostic:trainer.max_steps: 30": "task_agnostic:trainer.max_steps: 4",
        "domain_agnostic:trainer.max_steps: 10": "domain_agnostic:trainer.max_steps: 2",
        "task:trainer.max_steps: 80": "task:trainer.max_steps: 4",
    },
    "03_look_inside": {
        "data.batch_size=8": "data.batch_size=4",
        "task_agnostic:trainer.max_steps=40": "task_agnostic:trainer.max_steps=4",
        "domain_agnostic:trainer.max_steps=5": "domain_agnostic:trainer.max_steps=2",
        "task:trainer.max_steps=10": "task:trainer.max_steps=3",
        "joint:trainer.max_steps=41": "joint:trainer.max_steps=21",
        '"trainer.limit_val_batches=1"]': '"trainer.limit_val_batches=1", "evaluate:data.batch_size=4"]',
    },
    "04_read_a_results_table": {},
}
"""What tests run in place of a notebook's own numbers of steps and images: every line, for less time."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """One for all: each would import everything again."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


def shortened(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs = []
    for usual, shorter in SHORTER[path.stem].items():
        (cell,) = [cell for cell in cells if usual in cell.source]
        cell.source = cell.source.replace(usual, shorter)
    return notebook


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, kernel: KernelManager) -> None:
    notebook = shortened(path)
    fresh = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}\n%matplotlib inline\nimport os; os.listdir()")
    notebook.cells.insert(0, fresh)
    NotebookClient(notebook, timeout=600, km=kernel).execute()
    assert fresh.outputs[0].data["text/plain"] == "[]"  # in its own empty folder
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3


def test_there_are_notebooks_with_their_results() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert any(cell.outputs for cell in cells), f"{path.name} was committed without outputs"
