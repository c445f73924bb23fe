"""CIRKD: relations between pixels of different images, within the batch and to a memory (Yang et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.baselines.logit_kd import pixel_kl
from gkd_lightning.baselines.term import DistillationTerm, View
from gkd_lightning.distill import Variant
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Count, Positive, Weight

Permutation = Callable[[int], Tensor]
"""From n to 0 .. n-1 in random order."""


def pair_relation(student: Tensor, teacher: Tensor, tau: Positive = 0.1, pool: int = 1) -> Tensor:
    """Rows of cosine similarity between the pixels of any two images of the batch follow the teacher's.

    Args:
        student: (B, C_student, h, w).
        teacher: (B, C_teacher, h, w).
        tau: temperature; there is no factor tau^2.
        pool: side of an average pooling before (the last one of a row or column may be cut off by the border).

    Returns:
        Mean over B^2 ordered pairs, an image with itself included, and over the rows of each.
    """
    if pool > 1:
        student, teacher = (F.avg_pool2d(x, pool, ceil_mode=True) for x in (student, teacher))
    ours, theirs = (F.normalize(x.float().flatten(2), dim=1) for x in (student, teacher))
    batch, pixels = len(ours), ours.shape[-1]
    with full_precision(ours.device.type):  # autocast would round the cosines to bf16
        relations = [torch.einsum("icn,jcm->ijnm", x, x) / tau for x in (ours, theirs)]
    return _row_kl(*relations) / (batch * batch * pixels)


def _row_kl(student: Tensor, teacher: Tensor) -> Tensor:
    return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)


class ClassMemory(nn.Module):
    """Teacher vectors of every class: single pixels, and means over an image's region of the class.

    The banks are part of a checkpoint, so an interrupted training goes on with the same ones.

    Args:
        classes: their number, K.
        dim: width of a vector.
        pixels: places a class for single pixels.
        regions: places a class for regions.
        per_image: pixels that are put in, at most, for a class of an image.
        variant: ``official`` takes the pixels of a class from anywhere in the upper left of the image, for its code
            shuffles numbers from 0 instead of the class's own positions.
    """

    pixel_bank: Tensor
    region_bank: Tensor
    pixel_place: Tensor
    region_place: Tensor

    def __init__(
        self, classes: int, dim: int, pixels: int, regions: int, per_image: int = 16, variant: Variant = "paper"
    ) -> None:
        super().__init__()
        self.per_image, self.variant = per_image, variant
        self.register_buffer("pixel_bank", F.normalize(torch.randn(classes, pixels, dim), dim=2))
        self.register_buffer("region_bank", F.normalize(torch.randn(classes, regions, dim), dim=2))
        self.register_buffer("pixel_place", torch.zeros(classes, dtype=torch.long))
        self.register_buffer("region_place", torch.zeros(classes, dtype=torch.long))

    @torch.no_grad()
    def put(self, teacher: Tensor, labels: Tensor, permutation: Permutation) -> None:
        """Put in a batch of (B, D, h, w) vectors of length 1; (B, h, w) class ids beyond 0 .. K-1 are left out."""
        for image, label in zip(teacher.flatten(2).transpose(1, 2), labels.flatten(1), strict=True):
            for class_id in label.unique().tolist():  # ascending
                if 0 <= class_id < len(self.pixel_bank):
                    self._put(int(class_id), image, label, permutation)

    def _put(self, class_id: int, vectors: Tensor, label: Tensor, permutation: Permutation) -> None:
        positions = (label == class_id).nonzero().squeeze(1)
        bank, place = self.region_bank[class_id], int(self.region_place[class_id])
        bank[place] = F.normalize(vectors[positions].mean(0), dim=0)
        self.region_place[class_id] = (place + 1) % len(bank)
        chosen = permutation(len(positions)).to(positions.device)[: self.per_image]
        pixels = F.normalize(vectors[chosen if self.variant == "official" else positions[chosen]], dim=1)
        bank, place = self.pixel_bank[class_id], int(self.pixel_place[class_id])
        if place + len(pixels) >= len(bank):
            bank[-len(pixels) :] = pixels
            self.pixel_place[class_id] = 0
        else:
            bank[place : place + len(pixels)] = pixels
            self.pixel_place[class_id] = place + len(pixels)

    def sample(self, pixels: int, regions: int, permutation: Permutation) -> tuple[Tensor, Tensor]:
        """(K * pixels, D) and (K * regions, D) vectors: the same random places of every class."""
        banks = []
        for bank, count in ((self.pixel_bank, pixels), (self.region_bank, regions)):
            places = permutation(bank.shape[1]).to(bank.device)[:count]
            banks.append(bank[:, places].flatten(0, 1))
        return banks[0], banks[1]


def memory_relation(student: Tensor, teacher: Tensor, bank: Tensor, tau: Positive = 0.1) -> Tensor:
    """Similarities of the student's pixels, (M, D) vectors of length 1, to a bank (N, D) follow the teacher's.

    The mean over the M pixels; 0 if there are none.
    """
    with full_precision(student.device.type):
        relations = [each.float() @ bank.T / tau for each in (student, teacher)]
    return _row_kl(*relations) / max(len(student), 1)


class CIRKD(DistillationTerm):
    """``logit KD + pair_weight * pair_relation + pixel_weight * pixels' memory + region_weight * regions' memory``.

    The batch's own vectors are put into the memory before it is sampled. With several devices every rank keeps a memory
    of all ranks' pixels, and all memories are equal without being sent: each starts from the run's seed, takes in the
    same gathered vectors in the same order, and draws as the first rank does.

    Args:
        pair_weight: of `pair_relation`.
        pixel_weight: of `memory_relation` with single pixels.
        region_weight: of `memory_relation` with regions.
        logit_weight: of logit KD; 0 needs no teacher's head.
        tau: temperature of all relations.
        pixel_places: memory for pixels, places a class (official 20,000; 2,000 of width 1,024 take 155 MB for 19
            classes).
        region_places: memory for regions, places a class.
        pixel_samples: pixels sampled a step, over all classes.
        region_samples: regions sampled a step, over all classes.
        variant: see `ClassMemory`.

    Source: ``losses/cirkd_mini_batch.py`` and ``losses/cirkd_memory.py`` of the authors' repository.
    """

    def __init__(
        self,
        pair_weight: Weight = 1.0,
        pixel_weight: Weight = 0.1,
        region_weight: Weight = 0.1,
        logit_weight: Weight = 1.0,
        tau: Positive = 0.1,
        pixel_places: Count = 2000,
        region_places: Count = 2000,
        pixel_samples: Count = 4096,
        region_samples: Count = 1024,
        variant: Variant = "paper",
    ) -> None:
        super().__init__()
        self.pair_weight, self.pixel_weight, self.region_weight = pair_weight, pixel_weight, region_weight
        self.logit_weight, self.tau, self.variant = logit_weight, tau, variant
        self.places, self.samples = (pixel_places, region_places), (pixel_samples, region_samples)
        self.wants_logits = logit_weight > 0

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make the projector and the memory."""
        self.projector = nn.Sequential(
            nn.Conv2d(student_dim, teacher_dim, 1, bias=False),
            nn.BatchNorm2d(teacher_dim),
            nn.ReLU(),
            nn.Conv2d(teacher_dim, teacher_dim, 1, bias=False),
        )
        self.memory = ClassMemory(num_classes, teacher_dim, *self.places, variant=self.variant)
        self.per_class = tuple(
            min(count // num_classes + 1, places) for count, places in zip(self.samples, self.places, strict=True)
        )

    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """See `DistillationTerm.forward`."""
        ours, theirs = student.map, teacher.map
        pixel, region = self.memory_terms(ours, theirs, labels, _permutation(labels.device))
        terms = {
            "pairs": self.pair_weight * pair_relation(ours, theirs, self.tau),
            "pixels": self.pixel_weight * pixel,
            "regions": self.region_weight * region,
        }
        if self.logit_weight > 0:
            terms["logits"] = self.logit_weight * pixel_kl(student.scores(), teacher.scores())
        return terms

    def memory_terms(
        self, student: Tensor, teacher: Tensor, labels: Tensor, permutation: Permutation
    ) -> tuple[Tensor, Tensor]:
        """Unweighted terms with pixels and with regions, after the batch was put into the memory.

        Args:
            student: (B, D_student, h, w).
            teacher: (B, D_teacher, h, w).
            labels: (B, H, W) class ids; any that is no class has no truth.
            permutation: draws what is put in and what is taken out.
        """
        size = student.shape[-2:]
        small = F.interpolate(labels.float().unsqueeze(1), size=size, mode="nearest").squeeze(1).long()
        ours = F.normalize(self.projector(student).float(), dim=1)
        theirs = F.normalize(teacher.float(), dim=1)
        self.memory.put(_of_all_ranks(theirs), _of_all_ranks(small), permutation)
        banks = self.memory.sample(self.per_class[0], self.per_class[1], permutation)
        judged = ((small >= 0) & (small < len(self.memory.pixel_bank))).flatten()
        mine, target = (x.permute(0, 2, 3, 1).flatten(0, 2)[judged] for x in (ours, theirs))
        pixel, region = (memory_relation(mine, target, bank, self.tau) for bank in banks)
        return pixel, region


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _permutation(device: torch.device) -> Permutation:
    """The process's own draws; with several ranks those of the first, for every rank keeps the same memory."""
    if not _distributed():
        return torch.randperm
    seed = torch.randint(2**62, (1,)).to(device)
    torch.distributed.broadcast(seed, src=0)
    return partial(torch.randperm, generator=torch.Generator().manual_seed(int(seed)))


def _of_all_ranks(tensor: Tensor) -> Tensor:
    if not _distributed():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
