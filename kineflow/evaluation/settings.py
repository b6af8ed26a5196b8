"""What an evaluation is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from kineflow.data.crops import Crops
from kineflow.evaluation.view_protocol import MOST_WINDOWS, ViewAggregation, ViewProtocol
from kineflow.spec.sampling import WindowLayout
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.storage.config import Params

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FusionSettings(Params):
    """One late fusion.

    Attributes:
        models: Names of the models, at least two, each once.
        weights: One for each model (scaled to sum to 1); ``val`` chooses those that are best on the validation
            split; absent: all equal.
        average: What is averaged: probabilities (``softmax``) or the scores before it (``logits``).
    """

    models: tuple[str, ...] = Field(min_length=2)
    weights: tuple[Weight, ...] | Literal["val"] | None = None
    average: Literal["softmax", "logits"] = "softmax"

    @model_validator(mode="after")
    def _weights_fit(self) -> FusionSettings:
        if len(set(self.models)) < len(self.models):
            raise ValueError("models must each be named once")
        if isinstance(self.weights, tuple) and (len(self.weights) != len(self.models) or not sum(self.weights)):
            raise ValueError(f"weights must be {len(self.models)} numbers, at least one above 0")
        return self


class ImportedScores(Params):
    """Scores of another tool, for fusion; see :mod:`kineflow.evaluation.imported` for the file.

    Attributes:
        name: What fusions call them, e.g. ``idt``.
        path: CSV file: a row a clip, a column a class.
        normalise: ``l2`` scales each clip's scores to length 1; ``none`` leaves them.
    """

    name: str = Field(min_length=1)
    path: str = Field(min_length=1, json_schema_extra={"is_input": True})
    normalise: Literal["none", "l2"] = "none"


class EvaluateSettings(Params):
    """One comparison of models on the same clips.

    Attributes:
        split: Which clips; results are those of ``test``, ``val`` and ``train`` are for looking into a model.
        clips_per_video: Windows over which a video's scores are averaged.
        clips_per_video_of: Of a model by its name, where it has another number of windows: ``{st_resnet: 1}``.
        windows: Where they lie: ``even`` from the first frame to the last, ``spread`` each in the middle of its share
            (VideoLSTM), ``covering`` as few as cover the video, ``clips_per_video`` at most, or ``dense`` from every
            frame on, whatever ``clips_per_video`` (ALSTM).
        view_aggregation: How the views of a video become one score a class: ``average`` of their probabilities (of
            their logits, for TSN), the average of their ``logits``, or ``majority`` of their best classes (ALSTM's
            released code).
        crops: Of each window: 1 for the centre, 5 with the corners, 2 and 10 with their mirror images, ``whole`` for
            the whole frame and its mirror image. Mirror images are for where left and right are not different classes.
        batch_size: Views, crops of windows, a forward pass, at most: fewer where their input would take over 512 MiB.
        workers: Decoding processes, at most: fewer where what they prepare would take over 768 MiB of shared memory; 0
            decodes in the evaluating process.
        fusion: Late fusions to report, each of other models.
        imported: Scores of other tools, such as IDT's, that fusions may name.
        student: Name of the model that the report is about; absent: the first one.
        choose_among: Names of models. The one with the lowest loss on ``val`` becomes the student; of equal ones, the
            first. Empty: the student is the one named.
        baseline: Name of the model that it is compared with; absent: none.
        examples: Clips that the report shows.
        baselines: Score trivial baselines too (how often each class occurs, how much moves, one frame, length and size
            of the clip), fitted on at most 2,000 labelled clips of ``train`` and ``val``.
    """

    renamed: ClassVar[Mapping[str, str]] = {"vote": "view_aggregation"}

    split: Literal["train", "val", "test"] = "test"
    clips_per_video: int = Field(4, ge=1, le=MOST_WINDOWS)
    clips_per_video_of: dict[str, Annotated[int, Field(ge=1, le=MOST_WINDOWS)]] = Field(default_factory=dict)
    windows: WindowLayout = "even"
    view_aggregation: ViewAggregation = "average"
    crops: Crops = 1
    batch_size: int = Field(16, ge=1, le=4096)
    workers: int = Field(0, ge=0, le=64)
    fusion: tuple[FusionSettings, ...] = ()
    imported: tuple[ImportedScores, ...] = ()
    student: str | None = None
    choose_among: tuple[str, ...] = ()
    baseline: str | None = None
    examples: int = Field(8, ge=0, le=24)
    baselines: bool = True

    @model_validator(mode="after")
    def _fusions_fit(self) -> EvaluateSettings:
        members = [fusion.models for fusion in self.fusion]
        if len(set(members)) < len(members):
            raise ValueError("fusion must not list the same models twice")
        names = {source.name for source in self.imported}
        if any(fusion.weights == "val" and names & set(fusion.models) for fusion in self.fusion):
            raise ValueError("fusion.weights must be numbers where scores are imported: there are none of val")
        if self.split != "test" and any(fusion.weights == "val" for fusion in self.fusion):
            raise ValueError("fusion.weights may be 'val' only where split is 'test'")
        return self

    @model_validator(mode="after")
    def _choice_fits(self) -> EvaluateSettings:
        if len(set(self.choose_among)) < len(self.choose_among):
            raise ValueError("choose_among must name each model once")
        if self.choose_among and self.split != "test":
            raise ValueError("choose_among chooses on val, and so is for the split test")
        return self

    @property
    def views(self) -> ViewProtocol:
        """Of which views of a video its scores are, for models that have no other number of windows."""
        return ViewProtocol(self.clips_per_video, self.windows, self.crops, self.view_aggregation)

    def views_of(self, model: str) -> ViewProtocol:
        """Of which views of a video a model's scores are."""
        return dataclasses.replace(self.views, clips_per_video=self.clips_per_video_of.get(model, self.clips_per_video))

    @property
    def protocol(self) -> ScoringProtocol:
        """What makes a video's scores."""
        facts = {"split": self.split, **self.views.plain()}
        if self.windows == "dense":
            return ScoringProtocol(self.views.words, {**facts, "clips_per_video": 0})
        others = [f"{windows} of {model}" for model, windows in sorted(self.clips_per_video_of.items())]
        if not others:
            return ScoringProtocol(self.views.words, facts)
        said = ", ".join(others)
        return ScoringProtocol(f"{self.views.words}; windows: {said}", {**facts, "clips_per_video_of": said})


def keys_that_need_val(values: Mapping[str, Any]) -> list[str]:
    """What of an evaluation's settings, as plain values, is decided on clips of ``val``."""
    weighed = any(fusion.get("weights") == "val" for fusion in values.get("fusion", ()))
    return [*(["choose_among"] if values.get("choose_among") else []), *(["fusion.weights"] if weighed else [])]
