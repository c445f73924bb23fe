"""`gkd fit|validate|test`: one stage, from configuration files and options."""

from __future__ import annotations

from gkd_lightning.errors import UserError


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd fit --help`."""
    if not arguments:
        raise UserError(f"gkd {verb} needs --config FILE (see `gkd {verb} --help`)")
    from gkd_lightning.pipeline.stage import StageCLI

    assert verb in ("fit", "validate", "test")
    stage = StageCLI(arguments, verb)  # type: ignore[arg-type]  # narrowed by the line above
    stage.run()
    for score in getattr(stage.model, "domain_scores", {}).values():
        if verb != "fit":
            print(f"{score.domain:<16} mIoU {score.miou:6.2f}  accuracy {score.accuracy:6.2f}  {score.images} images")
    return 0
