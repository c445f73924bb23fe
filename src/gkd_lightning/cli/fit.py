"""`gkd fit|validate|test`: one stage, from configuration files and options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from lightning import LightningDataModule


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd fit --help`."""
    if not arguments:
        raise UserError(f"gkd {verb} needs --config FILE (see `gkd {verb} --help`)")
    if verb == "test" and arguments[0] in ("-h", "--help"):
        print("gkd test RUN EXPORT...   score exports as that run was judged (see gkd test RUN --help)\nor:")
    if verb == "test" and not arguments[0].startswith("-"):
        return _test_exports(arguments)
    from gkd_lightning.chain import StageCLI

    assert verb in ("fit", "validate", "test")
    stage = StageCLI(arguments, verb)  # type: ignore[arg-type]  # narrowed by the line above
    if verb != "fit":
        _require_domains(stage.datamodule, verb)
    stage.run()
    told = getattr(stage.model, "domain_scores", {}) if verb != "fit" and stage.trainer.is_global_zero else {}
    for score in told.values():
        parts = (score.panoptic, score.trust, score.tempered, score.shapes, score.unknown)
        further = "".join(f"  {part}" for part in parts if part is not None)
        print(
            f"{score.domain:<16} mIoU {score.miou:6.2f}  accuracy {score.accuracy:6.2f}{further}  {score.images} images"
        )
    return 0


def _test_exports(arguments: list[str]) -> int:
    options = Options(
        "test", "Score exports as the run was judged whose segmenters they are; gkd table then takes both."
    )
    options.add_argument("run", type=Path, help="the run's folder")
    options.add_argument("exports", type=Path, nargs="+", metavar="EXPORT", help="folders that gkd export wrote")
    found = options.read(arguments)
    from gkd_lightning.chain.judging import judge_exports

    for export, result in zip(found.exports, judge_exports(found.run, found.exports), strict=True):
        scores = "  ".join(f"{score.domain} {score.miou:.2f}" for score in result.domains)
        print(f"{result.title}: {scores}\n{export / 'results.json'}")
    return 0


def _require_domains(data: LightningDataModule, verb: str) -> None:
    from lightning.pytorch.utilities.model_helpers import is_overridden

    if verb == "test" and not is_overridden("test_dataloader", data):
        raise UserError("data: `gkd test` takes a TargetDataModule; `gkd validate` takes a source with data.val")
    if not getattr(data, "domain_names", ()):
        raise UserError(f"data: no domain to {verb} on; add data.val, or take a TargetDataModule")
