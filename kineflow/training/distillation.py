"""What a student learns from frozen teachers, and by which losses (D3D, Stroud et al. 2020, §3; MARS; FitNets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from kineflow.models.folding import fold_norms
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.distances import distance
from kineflow.training.layers import LOGITS, Place, outputs_at, projector, width_at
from kineflow.training.optimisers import rate_factor
from kineflow.training.settings import DistillSettings, OptimiserSettings
from kineflow.training.tasks import Batch, Classification, Losses, Normalise
from kineflow.training.term_settings import TermSettings

_OF_TEACHERS = "teachers."


@dataclass(frozen=True)
class Teacher:
    """A network that teaches.

    Attributes:
        network: It is frozen, and its normalisations are folded.
        preprocessing: How what it sees is normalised.
        name: By which terms are about it.
        key: Under which a batch has what it sees; empty: under its modality, as the student's.
    """

    network: nn.Module
    preprocessing: Preprocessing
    name: str = "teacher"
    key: str = ""


class Distillation(Classification):
    """Frozen teachers instruct a student.

    L = w · CE(s, y) + λ · Σᵢ wᵢ · dᵢ(sᵢ, tᵢ), dᵢ a distance of what student and teacher give at a layer
    (:mod:`kineflow.training.distances`); by default one, MSE of the logits. The first term is over labelled clips and
    the others over all: a teacher needs no label to teach. Teachers stay in evaluation mode, or their targets would
    move with every batch. Where a student's layer is of another width than the teacher's, a projector between them
    learns with the student.

    Args:
        network: The student.
        preprocessing: Of its clips.
        teachers: Each with as many classes as the student where logits are compared.
        settings: λ, w and the terms.
        options: Of the loss of the labels, see :class:`~kineflow.training.tasks.Classification`.

    Raises:
        KineflowError: A network has no stage of a term's name.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        teachers: Sequence[Teacher],
        settings: DistillSettings,
        **options: Any,
    ) -> None:
        super().__init__(network, preprocessing, **options)
        self.settings = settings
        self.terms = nn.ModuleList(
            _Term(term, number, network, teacher)
            for term in settings.all_terms
            for number, teacher in enumerate(teachers)
            if term.teacher in ("", teacher.name)
        )
        self.teachers = nn.ModuleList(_AskedTeacher(teacher) for teacher in teachers)
        self.can_mix = not any(teacher.key for teacher in teachers)  # in another geometry a mixture is another one
        self._learnt_at = {LOGITS, *(term.place for term in self._terms)}

    @property
    def beside(self) -> nn.Module:
        """The projectors."""
        return self.terms

    @property
    def _terms(self) -> list[_Term]:
        return [term for term in self.terms if isinstance(term, _Term)]

    def train(self, mode: bool = True) -> Self:
        """Set the student's mode; the teachers' never changes."""
        super().train(mode)
        self.teachers.eval()
        return self

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """All that learns; the teachers, which may be large, never change."""
        whole: dict[str, Any] = super().state_dict(*args, **options)
        return {name: value for name, value in whole.items() if not name.startswith(_OF_TEACHERS)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take what :meth:`state_dict` gave; the teachers stay."""
        teachers = {f"{_OF_TEACHERS}{name}": value for name, value in self.teachers.state_dict().items()}
        return super().load_state_dict({**teachers, **state_dict}, strict=strict, assign=assign)

    def at_step(self, steps_done: int, of: int) -> None:
        """Set the weights of the step after ``steps_done`` of all steps."""
        for term in self._terms:
            term.at_step(steps_done, of)

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``; ``distillation``, the sum of its terms with their weights; and each term, if several."""
        answers = self.answers(batch)
        learnt = outputs_at(self.network, self.inputs(batch), self._learnt_at)
        label_loss = self.label_loss(learnt[LOGITS], batch)
        distances = [term(learnt[term.place], answers[term.key]) for term in self._terms]
        weighted = torch.stack([term.weight * each for term, each in zip(self._terms, distances, strict=True)]).sum()
        loss = self.settings.ce_weight * label_loss + self.settings.kd_weight * weighted
        losses = {"loss": loss, self.label_term: label_loss.detach(), "distillation": weighted.detach()}
        if len(distances) > 1:
            losses |= {f"distillation_{n}": each.detach() for n, each in enumerate(distances, 1)}
        return losses

    def answers(self, batch: Batch) -> dict[str, torch.Tensor]:
        """What the teachers say of clips, by key, without a gradient; what the batch has of it is not asked again."""
        known: Any = batch
        found = {term.key: known[term.key] for term in self._terms if term.key in known}
        for number, teacher in enumerate(self.teachers):
            asked = {term.key: term.asked for term in self._terms if term.teacher == number and term.key not in found}
            if asked:
                outputs = teacher(batch, set(asked.values()))
                found |= {key: outputs[place] for key, place in asked.items()}
        return found


class _AskedTeacher(nn.Module):
    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.network = teacher.network.eval().requires_grad_(False)
        fold_norms(self.network)
        self.normalise = Normalise(teacher.preprocessing, key=teacher.key)

    @torch.no_grad()
    def forward(self, batch: Batch, places: set[Place]) -> dict[Place, torch.Tensor]:
        return outputs_at(self.network, self.normalise(batch), places)


class _Term(nn.Module):
    """A distance between what the student gives at a place and what a teacher gives at one."""

    scheduled: torch.Tensor

    def __init__(self, settings: TermSettings, number: int, student: nn.Module, teacher: Teacher) -> None:
        super().__init__()
        self.settings, self.teacher = settings, number
        self.place, self.asked = (Place(settings.layer, settings.pooled), Place(settings.asked_layer, settings.pooled))
        self.key = f"taught_{number}_{self.asked.layer}{'_pooled' if self.asked.pooled else ''}"
        self.project: nn.Module = nn.Identity()
        if self.place != LOGITS:
            width = width_at(student, self.place, of="layer of the student")
            to = width_at(teacher.network, self.asked, of=f"layer of the teacher {teacher.name!r}")
            self.project = projector(width, to, of_maps=settings.compares_maps)
        self.register_buffer("scheduled", torch.tensor(settings.weight), persistent=False)

    @property
    def weight(self) -> float | torch.Tensor:
        """Of the next step."""
        return self.scheduled if self.settings.is_scheduled else self.settings.weight

    def at_step(self, steps_done: int, of: int) -> None:
        settings = self.settings
        if settings.is_scheduled:
            course = OptimiserSettings(schedule=settings.schedule, warmup_ratio=settings.warmup_ratio)
            self.scheduled.fill_(settings.weight * rate_factor(course, of)(steps_done))

    def forward(self, learnt: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        learnt = self.project(learnt)
        taught = taught.to(learnt.dtype)
        if self.settings.compares_maps and taught.shape[2:] != learnt.shape[2:]:
            _, _, time, height, width = learnt.shape
            taught = F.adaptive_avg_pool3d(taught, (time, height, width))
        settings = self.settings
        return distance(learnt, taught, settings.loss, temperature=settings.temperature, threshold=settings.threshold)
