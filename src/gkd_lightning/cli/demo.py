"""`gkd demo`: the shipped MiniCity recipe, and its student exported."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256

EXPORTED = "gkd"
"""The row of the recipe whose student is exported."""


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd demo --help`."""
    options = Options(
        verb,
        "Distil, compare and report on MiniCity, a procedural street world, and export the student: CPU, no downloads.",
    )
    options.add_argument("--quick", action="store_true", help="a few steps only; the numbers mean nothing")
    options.add_argument("--out", type=Path, help="folder of stages and results (default: runs/<recipe>)")
    options.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    found = options.read(arguments)
    from gkd_lightning.cli.study import Study, execute
    from gkd_lightning.machine import computes_bf16

    settings: tuple[str, ...] = ()
    if not computes_bf16():
        settings = ("trainer.precision=32-true",)
        print("no bf16 instructions in this processor: computed in fp32, as with --set trainer.precision=32-true")
    study = Study("minicity/demo_quick" if found.quick else "minicity/demo", settings, out=found.out)
    status = execute(study, dry_run=found.dry_run)
    if not found.dry_run:
        plan = study.plan()
        (segmenter,) = (each.stages[-1].artefact() for each in plan.runs if each.method.id == EXPORTED)
        _export(segmenter, plan.out / "exported")
    return status


def _export(segmenter: Path, out: Path) -> None:
    from gkd_lightning.deploy import EXPORT_RECORD, export_segmenter
    from gkd_lightning.inspection import find_domains

    if not _is_export_of(segmenter, out):
        if (out / EXPORT_RECORD).is_file():  # of an earlier student
            shutil.rmtree(out)
        onnx = all(find_spec(package) for package in ("onnx", "onnxscript", "onnxruntime"))
        domains = find_domains(None, "data/minicity_targets.yaml", None)
        for check in export_segmenter(segmenter, out, "onnx" if onnx else "torch", domains, count=4):
            print(check)
    print(f"exported: {out}\n  gkd predict --ckpt {out} --images FOLDER --out masks/", flush=True)


def _is_export_of(segmenter: Path, out: Path) -> bool:
    from gkd_lightning.deploy import read_record

    try:
        return bool(read_record(out)["source"]["sha256"] == file_sha256(segmenter))
    except UserError:  # none yet, or a damaged one
        return False
