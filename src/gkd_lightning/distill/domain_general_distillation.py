"""GKD's stage 1 under its own name: the objective's settings beside those of every stage 1."""

from __future__ import annotations

from typing import Any

from gkd_lightning.distill.alignment import Alignment, AlignmentHead
from gkd_lightning.distill.distance import Distance, DistanceName
from gkd_lightning.distill.distillation import Distillation
from gkd_lightning.distill.gkd import GKD
from gkd_lightning.distill.objective import Variant
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.ranges import Count, Positive, SomeShare, Weight


class DomainGeneralDistillation(Distillation):
    """GKD's stage 1 (CVPR 2026, arXiv 2603.02554): a frozen teacher's tokens into a small student.

    A `Distillation` whose objective is `GKD`. The defaults are the official settings of stage 1a.

    Args:
        teacher: the frozen vision foundation model; not together with `teachers`, see `Distillation`.
        student: the encoder that learns; in stage 1b its `weights` are stage 1a's artefact.
        alpha: weight of the feature term.
        beta: weight of the masked-patch term; 0 leaves out the masked pass.
        gamma: weight of the class-token term.
        variant: ``official`` follows the released code, ``paper`` the text: patch tokens only in the feature
            term, masked tokens only in the masked term, no schedule delay, no decay of position and token
            embeddings. The only switch of its kind.
        alignment: head that lifts tokens to the teacher's width, see `GKD`.
        distance: of aligned tokens from the teacher's, see `GKD`.
        num_heads: attention heads of ``qsd``.
        attention_scale: factor on the attention logits of ``qsd``; 1.0 is official, null means 1/sqrt(d).
        mask_ratio: share of masked tokens in a masked image.
        mask_probability: share of masked images in a batch.
        kwargs: everything else that `Distillation` takes: rate, schedule, moving average, name of the stage,
            several teachers in the place of one.
    """

    def __init__(
        self,
        teacher: EncoderSpec | None,
        student: EncoderSpec,
        alpha: Weight = 1.0,
        beta: Weight = 1.0,
        gamma: Weight = 1.0,
        variant: Variant = "official",
        alignment: Alignment | AlignmentHead = "qsd",
        distance: DistanceName | Distance = "mse",
        num_heads: Count = 1,
        attention_scale: Positive | None = 1.0,
        mask_ratio: SomeShare = 0.5,
        mask_probability: SomeShare = 0.5,
        **kwargs: Any,
    ) -> None:
        objective = GKD(
            alpha, beta, gamma, variant, alignment, distance, num_heads, attention_scale, mask_ratio, mask_probability
        )
        super().__init__(teacher, student, objective, **kwargs)
