"""One term of what a student learns from its teachers: at which layer, by which loss, with which weight."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from kineflow.models.stage_names import StageName
from kineflow.storage.config import Params

Layer = Literal["logits", "features", StageName]
DistanceName = Literal["mse", "kl", "cosine", "pseudo_label"]

_VECTORS = ("logits", "features")


class TermSettings(Params):
    """How far the student is from a teacher at one layer.

    Attributes:
        loss: ``mse`` (D3D; MARS for features), ``kl`` of softened probabilities (Hinton et al. 2015), for logits,
            ``cosine``, or ``pseudo_label``: the cross entropy with the class that the teacher gives; for logits, too.
            :mod:`kineflow.training.distances` has the equations.
        weight: Of the term, beside the others; ``kd_weight`` multiplies them all.
        layer: Of the student: ``logits``, ``features`` (what the classifier sees, pooled), or a stage of S3D or S3D-G,
            ``Mixed4f``.
        teacher_layer: Of the teacher; empty: of the same name.
        pooled: Average a stage's map over time and space first. Else maps are compared place by place, for which the
            teacher must see as long a piece of video as the student; its map is brought to the size of the student's.
        temperature: Of ``kl``: logits are divided by it.
        threshold: Of ``pseudo_label``: clips count to whose class the teacher gives at least this probability; 0: all.
        teacher: Name of the one teacher that this is about, as in its ``model.json``; empty: each of them.
        schedule: The weight over the training: ``constant``, or falling to zero by a ``cosine``.
        warmup_ratio: Share of all steps over which the weight rises linearly from zero.
    """

    loss: DistanceName = "mse"
    weight: float = Field(default=1.0, ge=0)
    layer: Layer = "logits"
    teacher_layer: Literal["", Layer] = ""
    pooled: bool = False
    temperature: float = Field(default=1.0, gt=0, le=1000)
    threshold: float = Field(default=0.0, ge=0, le=1)
    teacher: str = Field(default="", max_length=150)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)

    @property
    def asked_layer(self) -> Layer:
        """Of the teacher."""
        return self.teacher_layer or self.layer

    @property
    def compares_maps(self) -> bool:
        """Whether maps are compared place by place."""
        return self.layer not in _VECTORS and not self.pooled

    @property
    def is_scheduled(self) -> bool:
        """Whether the weight changes from step to step."""
        return self.schedule != "constant" or self.warmup_ratio > 0

    def described(self) -> str:
        """In words, for a model's card: ``2 × kl of logits, temperature 4``."""
        layers = " to ".join(dict.fromkeys((self.layer, self.asked_layer)))
        words = [f"{self.weight:g} × {self.loss} of {'pooled ' if self.pooled else ''}{layers}"]
        words += [f"by {self.teacher}"] if self.teacher else []
        words += [f"temperature {self.temperature:g}"] if self.loss == "kl" else []
        words += [f"above {self.threshold:g}"] if self.threshold else []
        words += [f"warm-up {self.warmup_ratio:g}"] if self.warmup_ratio else []
        words += [self.schedule] if self.schedule != "constant" else []
        return ", ".join(words)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        layers = (self.layer, self.asked_layer)
        if self.loss in ("kl", "pseudo_label") and layers != ("logits", "logits"):
            raise ValueError(f"{self.loss} compares probabilities: give it layer logits")
        if self.temperature != 1 and self.loss != "kl":
            raise ValueError("temperature is for kl")
        if self.threshold and self.loss != "pseudo_label":
            raise ValueError("threshold is for pseudo_label")
        if layers.count("logits") == 1:
            raise ValueError("logits are compared with logits: give both layers, or neither, so")
        if self.pooled and set(layers) <= set(_VECTORS):
            raise ValueError(f"pooled is for the map of a stage, and {self.layer} are a vector already")
        if layers.count("features") == 1 and not self.pooled:
            raise ValueError("features are a vector, and a stage gives a map: set pooled to true")
        return self
