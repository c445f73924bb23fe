"""Is the distillation healthy? Numbers that tell a saturated attention or a starving term early."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gkd_lightning.distill.alignment import attention_entropy
from gkd_lightning.distill.passes import Passes


class DistillationHealth:
    """Cosine to the teacher, entropy of QSD's attention, gradient norm of every term at the student's outputs.

    Args:
        every_n_steps: how often to measure, at most in every step that is logged; 0 never.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps

    def due(self, step: int, logged_every: int) -> bool:
        """Whether a logged step measures: the first of all, and then the first after every `every_n_steps` steps.

        Steps are counted from 1; this one is a multiple of `logged_every`.
        """
        before = step - logged_every
        return self.every_n_steps > 0 and before // self.every_n_steps > (before - logged_every) // self.every_n_steps

    def measure(self, terms: dict[str, torch.Tensor], passes: Passes) -> dict[str, torch.Tensor]:
        """Values for the log, of an objective's unweighted terms (scalars) and the passes that they were computed from.

        ``health/cosine`` (mean over patches between aligned student and teacher tokens) and ``health/entropy`` (first
        image, 0 = one-hot, 1 = uniform) for an objective that aligns tokens; ``health/grad_<term>``, norm of the
        unweighted term's gradient with respect to the student's outputs, for a term that starts from them. Of several
        teachers each has its own: ``health/<teacher>/cosine``.
        """
        values: dict[str, torch.Tensor] = {}
        for teacher, part in (passes.parts or {"": passes}).items():
            if part.aligned is not None:
                prefix = f"health/{teacher}/" if teacher else "health/"
                with torch.no_grad():
                    tokens, attention = part.aligned
                    target = part.teacher.patches.float()
                    values[f"{prefix}cosine"] = F.cosine_similarity(tokens.float(), target, -1).mean()
                    if attention is not None:
                        values[f"{prefix}entropy"] = attention_entropy(attention[0])
        outputs = [output for output in passes.outputs if output.requires_grad]
        for name, term in terms.items():
            gradients = torch.autograd.grad(term, outputs, retain_graph=True, allow_unused=True) if outputs else ()
            if norms := [gradient.float().norm() for gradient in gradients if gradient is not None]:
                values[f"health/grad_{name}"] = torch.stack(norms).norm()
        return values
