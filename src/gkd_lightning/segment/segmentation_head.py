"""What stage 2 asks of a head, whatever its architecture: from a pyramid of maps to losses and to class scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from gkd_lightning.class_paths import Recorded
from gkd_lightning.encoders import Joining
from gkd_lightning.ranges import Ranged
from gkd_lightning.segment.pyramid import Level


class TaskLosses(NamedTuple):
    """What a head says about its output on a batch."""

    total: Tensor
    """Scalar that is minimised."""
    terms: dict[str, Tensor]
    """Its weighted terms by the names under which they are logged, such as ``loss_masks``."""


class Moment(NamedTuple):
    """Which step of a training it is, and on what."""

    keys: Tensor
    """(B,) int64 on the host, of the samples: whatever is random about one is drawn from its key."""
    progress: float
    """Share of the training's steps that are done, from 0 on, below 1."""


class HeadSettings(Ranged, ABC):
    """What `model.head` may name: the settings of a Mask2Former head, or a `SegmentationHead` of any kind."""

    @property
    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Plain values from which the head is rebuilt, see `head_choice.settings_of`."""

    @property
    def panoptic(self) -> bool:
        """Whether it learns from segments and finds them: `loss` then gets their codes, see `panoptic.segments`."""
        return False


class SegmentationHead(Recorded, HeadSettings, nn.Module):
    """Levels of an encoder's pyramid in, class scores of every pixel out, and the loss that trains it.

    To add a head, derive from this class: take settings in the constructor (plain values, they become the head's
    record), make the layers in `attach`, and write `forward`, `loss` and `scores`. All else asks for nothing more:
    training, single-stage distillation, evaluation, artefacts, prediction, costs.
    """

    num_classes: int
    """K, set before `attach`."""

    @property
    def values_per_pixel(self) -> int:
        """Values that `scores` makes for every pixel of its answer: decides how many windows are seen at once."""
        return self.num_classes

    @property
    def joining(self) -> Joining | None:
        """Tokens of the head's own that go through the encoder's last blocks with those of the image.

        If there are any, `forward` is called with them, (B, Q, D) after each of these blocks, as its second argument,
        and the last level of the pyramid is the last block's.
        """
        return None

    def joining_at(self, moment: Moment) -> Joining | None:
        """`joining` in a training step, of a head that does it otherwise there than in use. Here: the same.

        What its `looking` tells, if it has any, is the third argument of `forward`.
        """
        return self.joining

    @property
    def linkable(self) -> nn.Parameter | None:
        """Learned queries (Q, C), in whose place those may come that are made of the encoder's tokens.

        If they do, `forward` is called with these, (Q, C), as its argument `queries`, and the head's own learn no more.
        """
        return None

    @abstractmethod
    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        """Make the layers; called once.

        Args:
            feature_dims: channels of the levels, finest first.
            num_classes: their number, K.
        """

    @abstractmethod
    def forward(self, pyramid: Sequence[Level]) -> Any:
        """Anything that `loss` and `scores` understand.

        Args:
            pyramid: four levels, finest first; `Level.enlarged` gives their maps (B, D, h, w).
        """

    @abstractmethod
    def loss(self, output: Any, labels: Tensor, keys: Tensor) -> TaskLosses:
        """Losses of a batch.

        Two ranks have to give the loss of one process with the whole batch: divide sums by the mean count of all ranks,
        see `mean_over_ranks`.

        Args:
            output: what `forward` gave.
            labels: (B, H, W) uint8 train ids, 255 without truth; for a panoptic head int32 codes, `class + 256 * k`.
            keys: (B,) int64 on the host: whatever is random about a sample is drawn from its key.
        """

    @abstractmethod
    def scores(self, output: Any, size: tuple[int, int]) -> Tensor:
        """Class scores ``(B, K, *size)`` float32, not negative: probabilities of the classes up to a factor.

        They are averaged over overlapping windows, and the logits of logit distillation are their logarithm.

        Args:
            output: what `forward` gave.
            size: (height, width).
        """

    def dry_loss(self, output: Any, labels: Tensor, keys: Tensor) -> Tensor:
        """A scalar that costs what `loss` costs, on tensors without content; for a loss that looks at values."""
        return self.loss(output, labels, keys).total

    def compile_parts(self) -> None:
        """Let `torch.compile` fuse what is worth it, in place, at the first use; no key changes. Here: nothing."""

    def release_parts(self) -> None:
        """Give back what `compile_parts` has taken on the device; called when a training has ended. Here: nothing."""
