"""GKD's objective: features, masked patches and class token, each through a head of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gkd_lightning.distill.alignment import Aligned, Alignment, AlignmentHead, chosen_head
from gkd_lightning.distill.distance import Distance, DistanceName, chosen_distance
from gkd_lightning.distill.objective import Masking, Objective, Variant
from gkd_lightning.distill.passes import Passes
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Positive, SomeShare, Weight


class GKD(Objective):
    """``alpha * fea + beta * patch + gamma * token`` (distillation_models_deit.py:217-246 of the official code).

    * ``fea``: tokens of the whole images. ``official`` counts the class token among them (1 + N tokens), as the
      official code does; ``paper`` takes the N patch tokens.
    * ``patch``: tokens of the masked pass. ``official`` takes all tokens of all images, of which only half carry
      a mask; ``paper`` takes the masked tokens.
    * ``token``: the class token.

    Every term is the mean distance of aligned tokens from the teacher's. A term of weight 0 is neither computed nor
    given a head (under DDP its parameters would be unused); without the token term, ``fea`` has no class token.

    Args:
        alpha: weight of ``fea``.
        beta: weight of ``patch``; 0 leaves out the masked pass.
        gamma: weight of ``token``.
        variant: see above.
        alignment: head that lifts tokens to the teacher's width: ``qsd`` (the method), ``projection`` (two-stage MSE,
            with beta = gamma = 0), ``linear``, or an `AlignmentHead`.
        distance: ``mse`` (the method), ``smooth_l1``, ``cosine``, or a `Distance`.
        num_heads: attention heads of ``qsd``.
        attention_scale: of ``qsd``, see `QuerySoftDistillation`.
        mask_ratio: share of masked tokens in a masked image.
        mask_probability: share of masked images in a batch.

    Raises:
        UserError: no weight, or settings of another head.
    """

    def __init__(
        self,
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
    ) -> None:
        super().__init__()
        if alpha + beta + gamma == 0:
            raise UserError(f"alpha={alpha}, beta={beta}, gamma={gamma}: not all of the weights may be 0")
        self.weights = {"fea": alpha, "patch": beta, "token": gamma}
        self.variant = variant
        self.masking = Masking(mask_ratio, mask_probability) if beta > 0 else None
        self.distance = chosen_distance(distance)
        self.alignment = chosen_head(alignment, num_heads, attention_scale)

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make the heads."""
        names = [name for name, weight in self.weights.items() if weight > 0]
        heads = {name: self.alignment.attached(student.embed_dim, teacher.embed_dim) for name in names}
        self.heads = nn.ModuleDict(heads)

    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        return self._terms(passes, self.distance)

    def per_image(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.per_image`; in the paper's variant an image without a mask has a `patch` of 0."""
        terms = self._terms(passes, self.distance.per_image)
        if "patch" in terms and (others := len(passes.images) - len(terms["patch"])):
            terms["patch"] = F.pad(terms["patch"] * (len(passes.images) / len(terms["patch"])), (0, others))
        return terms

    def _terms(self, passes: Passes, distance: Callable[..., Tensor]) -> dict[str, Tensor]:
        student, teacher = passes.student, passes.teacher
        terms: dict[str, Tensor] = {}
        if "token" in self.heads:
            target = teacher.cls.unsqueeze(1)
            terms["token"] = distance(self._aligned("token", student.cls.unsqueeze(1), target).tokens, target)
        if "fea" in self.heads:
            passes.aligned = self._aligned("fea", student.patches, teacher.patches)
            terms["fea"] = distance(passes.aligned.tokens, teacher.patches)
            if "token" in terms and self.variant == "official":
                # The mean over 1 + N tokens, without a copy of all of them for the sake of one.
                count = teacher.patches.shape[1]
                terms["fea"] = (count * terms["fea"] + terms["token"]) / (count + 1)
        if "patch" in self.heads and self.variant == "official":
            aligned = self._aligned("patch", passes.all_masked, teacher.patches)
            terms["patch"] = distance(aligned.tokens, teacher.patches)
        elif "patch" in self.heads:
            target = teacher.patches[: len(passes.hidden)]
            terms["patch"] = distance(self._aligned("patch", passes.masked, target).tokens, target, passes.hidden)
        return terms

    def _aligned(self, name: str, student: Tensor, teacher: Tensor) -> Aligned:
        aligned: Aligned = self.heads[name](student, teacher)
        return aligned
