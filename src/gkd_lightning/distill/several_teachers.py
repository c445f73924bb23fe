"""One objective for each of several teachers, on one pass of the student; their losses balanced into one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gkd_lightning.distill.alignment import AlignmentHead
from gkd_lightning.distill.balance import Balance
from gkd_lightning.distill.objective import Objective
from gkd_lightning.distill.passes import Passes
from gkd_lightning.distill.standardisation import TokenStandardisation
from gkd_lightning.distill.teachers import Teachers, TeacherSpec
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError


class SeveralTeachers(Objective):
    """Each teacher's own objective, its terms under ``<teacher>/<term>``.

    Args:
        specs: what each teacher is and counts.
        teachers: the frozen encoders.
        student: that learns.
        objective: for teachers without one of their own; each gets a copy, with heads of its own.
        balance: how their losses become one.

    Raises:
        UserError: a teacher without any objective; objectives that hide different patches, or follow different
            variants; a rule of standardisation that does not fit a teacher's width.
    """

    def __init__(
        self,
        specs: Mapping[str, TeacherSpec],
        teachers: Teachers,
        student: Encoder,
        objective: Objective | None,
        balance: Balance,
    ) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleDict()
        self.standardise: Any = nn.ModuleDict()
        self.teacher_weights = {name: specs[name].weight for name in teachers}
        for name, encoder in zip(teachers, teachers.encoders, strict=True):
            spec = specs[name]
            own = copy.deepcopy(spec.objective or objective)
            if own is None:
                raise UserError(f"teachers.{name}: needs an objective, its own or the model's")
            try:
                own.attach(student, encoder)
                if spec.standardise != "none":
                    dim, steps = encoder.embed_dim, spec.statistics_steps
                    self.standardise[name] = TokenStandardisation(spec.standardise, dim, steps)
            except UserError as error:
                raise UserError(f"teachers.{name}: {error}") from error
            self.parts[name] = own
        if not any(self.teacher_weights.values()):
            raise UserError("teachers: not all of their weights may be 0")
        self.masking = self._agreed("masking", "hide different patches, but the student has one masked pass", None)
        self.variant = self._agreed("variant", "follow different variants, but optimiser and schedule are the same")
        self.balance = balance
        self.balance.attach(len(self.parts))

    def _agreed(self, what: str, problem: str, without: Any = ...) -> Any:
        found = {name: getattr(part, what) for name, part in self.parts.items()}
        values = {name: value for name, value in found.items() if value is not without}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{name}: {value}" for name, value in values.items())
            raise UserError(f"teachers: their objectives {problem} ({told})")
        return next(iter(values.values()), None)

    def begin_fit(self, steps: float) -> None:
        """See `Objective.begin_fit`."""
        for part in self.parts.values():
            part.begin_fit(steps)
        for name, rule in self.rules.items():
            try:
                rule.begin_fit(steps)
            except UserError as error:
                raise UserError(f"model.teachers.{name}.{error}") from error

    def begin_step(self, step: int) -> None:
        """See `Objective.begin_step`."""
        for standardise in self.standardise.values():
            standardise.begin_step(step)
        for part in self.parts.values():
            part.begin_step(step)
        self.balance.begin_step(step)

    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.forward`; the terms are (B,) for a balance that wants them so. Teachers run one by one."""
        teachers: Any = passes.teacher_encoder
        rules = self.rules
        terms: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            standardise = rules.get(name)
            seen = passes.taught_by(teachers[name], name, standardise)
            try:
                found = part.per_image(seen) if self.balance.per_image else part(seen)
            except UserError as error:
                raise UserError(f"model.teachers.{name}: {error}") from error
            if standardise is not None and "teacher" not in vars(seen):
                told = f"{type(part).__name__} looks at no tokens after the final norm; leave it out"
                raise UserError(f"model.teachers.{name}.standardise: {told}")
            terms.update({f"{name}/{term}": value for term, value in found.items()})
        return terms

    def alignment_heads(self) -> dict[str, AlignmentHead]:
        """See `Objective.alignment_heads`."""
        return {
            f"{name}/{term}": head for name, part in self.parts.items() for term, head in part.alignment_heads().items()
        }

    @property
    def rules(self) -> dict[str, TokenStandardisation]:
        """See `Objective.rules`."""
        return dict(self.standardise.items())

    def loss(self, terms: dict[str, Tensor], passes: Passes) -> Tensor:
        """See `Objective.loss`."""
        losses = []
        for name, part in self.parts.items():
            prefix = f"{name}/"
            own = {term.removeprefix(prefix): value for term, value in terms.items() if term.startswith(prefix)}
            losses.append(part.total(own))
        total: Tensor = self.balance(losses, list(self.teacher_weights.values()), passes.keys)
        return total
